// Package watcher finds what differs between a local directory and the
// records: it walks the root, applies the filters, compares with a sorted merge
// of records and jobs, and queues the differences and nothing else.
//
// The walk is depth-first with the names of each directory in the order of
// their bytes, a directory's name counted with a "/" at its end. That makes it
// the order of the whole paths' bytes, the order in which the state file gives
// its rows: the two are merged without a look-up per file, and memory holds one
// directory of each level and one page of rows, however many files there are.
package watcher
