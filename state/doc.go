// Package state owns iksync's one SQLite file: its schema and migrations, the
// lock that keeps a second process out, the one writer, and the record of each
// uploaded file.
//
// # One writer
//
// Every change goes through [DB.Write] or [DB.WriteLater]. A single goroutine
// collects what is waiting, runs it in one transaction and commits once
// (group commit), so a worker never waits for another worker's fsync and
// SQLITE_BUSY can't happen inside the process. Readers use their own
// connections and see the last committed state (WAL).
//
// # What is durable
//
// A transaction that records a fileId is committed with synchronous=FULL: once
// [DB.Write] has returned, or the callback of [DB.WriteLater] has been called
// with nil, it survives a power cut. Operations marked [Relaxed] (leases,
// say), which lose nothing but work if they are lost, are committed with
// synchronous=NORMAL.
package state
