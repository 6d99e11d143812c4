// Package imagekit speaks ImageKit.io's API: uploads that stream from disk,
// the answers, the errors with their classes, and the mapping of local paths to
// names that ImageKit keeps as they are. It knows nothing of iksync.
//
// A call is one request: nothing is retried here. Whether and when to try
// again is decided by who owns the schedule, with [Error.Class] and
// [Error.RetryAfter].
package imagekit
