// Package queue is the durable job queue between the watcher and the uploader,
// in the same SQLite file as the records.
//
// There is one job per path at most, and a path that is in step has none. A
// later change of the same path supersedes the earlier one in place and raises
// the job's generation; a job is done only at the generation it was claimed
// with, so a change during an upload is never lost: the result is recorded and
// the job is ready again.
//
// # Ordering invariants
//
// They are what makes a crash at any point harmless.
//
//  1. A fileId is recorded and its job removed in one durable transaction
//     (TestCompleteRecordsAndRemovesInOneTransaction).
//  2. A job is leased, in the file, before its upload begins; a lease that a
//     dead process left comes back at the next start
//     (TestLeasesOfADeadProcessComeBack).
//  3. A change is enqueued only if, inside the same transaction, neither the
//     record nor the job of its path shows it already, so a scan that looked at
//     the records earlier can't bring back what was uploaded meanwhile
//     (TestEnqueueIgnoresWhatIsAlreadyRecorded).
//  4. A remote path is reserved in the file for one local path before anything
//     is sent to it (TestTwoPathsNeverShareARemotePath), and nothing is sent to
//     where the asset of another record is
//     (TestAnUploadWaitsUntilTheAssetInItsPlaceHasLeft).
package queue
