// Package imagekit speaks ImageKit.io's API: uploads that stream from disk,
// the management of files and folders, the answers, the errors with their classes, and the mapping of local paths to
// names that ImageKit keeps as they are. It knows nothing of iksync.
//
// A call is one request: nothing that failed is retried here. Whether and when
// to try again is decided by who owns the schedule, with [Error.Class] and
// [Error.RetryAfter]. Calls of the management API wait for their turn, so that
// ImageKit's rate limits hold whoever makes them.
package imagekit
