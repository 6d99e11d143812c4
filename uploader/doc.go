// Package uploader runs the queue's jobs: a bounded pool of workers opens each
// file through its root, streams it to ImageKit while hashing it, and finishes
// the job with what became of it.
//
// One attempt of a job is one request at most, with the file opened anew. What
// to do after a failure is decided here, once, from its class (see settle), and
// kept in the queue, so that it survives a restart.
package uploader
