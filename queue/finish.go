package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
)

// Each way to finish a job ends its lease. All return at once and call done
// from the state file's writer once it is committed, or with the error. When
// the job took a later change meanwhile it is made ready again instead of
// removed, failed or held. When the lease has ended and the job is somebody
// else's by now, the result is recorded and the job left alone.

// ready again: the path changed while the worker had it.
const again = `UPDATE jobs SET state = 0, leased = 0, not_before = 0, attempts = 0, wrong_answers = 0, unsure = ? WHERE id = ? AND leased = ?`

// ready again as it is, whether the path has changed or not: what may have been sent
// of the file before a change is not what the file is by now.
const asItIs = `UPDATE jobs SET state = 0, leased = 0, not_before = 0, attempts = 0, unsure = iif(gen = ?4, ?1, min(?1, -?1)) WHERE id = ?2 AND leased = ?3`

// Complete records the uploaded file and removes its job, durably and in one
// transaction. When ImageKit put the file where another local path's asset
// was, that path's record is not taken over: this job is tried again under
// another remote path, and the other path is queued so that its content is
// restored.
func (q *Queue) Complete(job *Job, file *state.File, done func(error)) {
	q.db.WriteLater(state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.CompleteRecord); err != nil {
			return err
		}
		if err := q.learnNames(tx, job, file.RemotePath); err != nil {
			return err
		}
		plain, err := tx.PutPlainFile(file)
		if err == nil && !plain {
			var failed bool
			if failed, err = q.putFile(tx, job, file); failed {
				return err
			}
		}
		if errors.Is(err, state.ErrRemoteTaken) {
			return q.evict(tx, job, file, err)
		}
		if err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.CompleteRemove); err != nil {
			return err
		}
		if err := q.remove(tx, job); err != nil {
			return err
		}
		return failpoint.Hit(failpoint.CompleteCommit)
	}, done)
}

// putFile records an uploaded file whose fileId another record has, or where there are
// aliases. failed tells that the job was made to fail instead.
func (q *Queue) putFile(tx *state.Tx, job *Job, file *state.File) (failed bool, err error) {
	var other bool
	err = tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM files WHERE file_id = ? AND NOT (root_id = ? AND path = ?))`, file.FileID, file.RootID, []byte(file.Path)).Scan(&other)
	if err == nil && other && file.RemotePath == job.RemotePath {
		return true, q.fail(tx, job, Failure{Class: "conflict", Resend: true, Dead: job.Attempts >= maxEvictions, NotBefore: q.now().Add(time.Second),
			Reason: fmt.Sprintf("ImageKit's answer names the fileId %s, which is another file's", file.FileID)})
	}
	if err == nil {
		err = tx.PutFile(file)
	}
	if err == nil {
		err = q.dealias(tx, file)
	}
	return false, err
}

// Touch records that the content is as recorded although the stat differs, and
// removes the job.
func (q *Queue) Touch(job *Job, st state.Stat, done func(error)) {
	q.db.WriteLater(state.Durable, func(tx *state.Tx) error {
		if err := tx.TouchFile(job.RootID, job.Path, st, q.now()); err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.TouchCommit); err != nil {
			return err
		}
		return q.remove(tx, job)
	}, done)
}

// Drop removes a job that has nothing to do any more: its file is gone. there, when
// not nil, looks once more: a file that is back just as it was by the time its job is
// removed has been seen to have one, and nobody would queue it again. Then the job is
// ready again.
func (q *Queue) Drop(job *Job, there func() bool, done func(error)) {
	q.db.WriteLater(state.Relaxed, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.DropCommit); err != nil {
			return err
		}
		if there != nil && there() {
			if err := tx.Exec(asItIs, unsure(job, Failure{}), job.ID, job.lease, job.Gen); err != nil {
				return fmt.Errorf("return the job of %q: %w", job.Path, err)
			}
			q.notify()
			return nil
		}
		return q.remove(tx, job)
	}, done)
}

func (q *Queue) remove(tx *state.Tx, job *Job) error {
	n, err := tx.ExecRows(`DELETE FROM jobs WHERE id = ? AND gen = ? AND leased = ?`, job.ID, job.Gen, job.lease)
	if err == nil && n == 0 {
		err = tx.Exec(again, 0, job.ID, job.lease)
		q.notify()
	}
	if err != nil {
		return fmt.Errorf("finish the job of %q: %w", job.Path, err)
	}
	return nil
}

func (q *Queue) evict(tx *state.Tx, job *Job, file *state.File, cause error) error {
	owner, err := tx.RemoteOwner(file.RemotePath)
	if err != nil {
		return err
	}
	other := q.alternate(job.RemotePath, job.Path, job.Attempts)
	if err := tx.Exec(`UPDATE jobs SET remote_path = ?, remote_key = ? WHERE id = ? AND leased = ?`, other, keyOf(other), job.ID, job.lease); err != nil {
		return fmt.Errorf("give %q another remote path: %w", job.Path, err)
	}
	now := q.now().UnixMilli()
	if owner != nil {
		// The owner's stat is set to one that no file has, so that its content is compared and sent again.
		err := tx.Exec(doubt+` WHERE remote_path = ?`, file.RemotePath)
		var remote string
		if err == nil {
			remote, err = q.freeRemote(tx, owner.RootID, owner.Path, file.RemotePath)
		}
		if err == nil {
			err = tx.Exec(`INSERT INTO jobs (root_id, path, gen, state, leased, priority, not_before, attempts,
					size, mtime_ns, ctime_ns, dev, ino, remote_path, class, reason, request_id, created_at, updated_at, mount, remote_key)
				SELECT root_id, path, 1, 0, 0, 0, 0, 0, size, 0, 0, dev, 0, ?2, '', '', '', ?3, ?3, mount, ?4 FROM files WHERE remote_path = ?1
				ON CONFLICT (root_id, path) DO UPDATE SET gen = gen + 1, state = 0, remote_path = ?2, remote_key = ?4, not_before = iif(leased, not_before, 0)`,
				file.RemotePath, remote, now, keyOf(remote))
		}
		if err != nil {
			return fmt.Errorf("queue %q again: %w", owner.Path, err)
		}
	}
	return q.fail(tx, job, Failure{Class: "conflict", Resend: true, Reason: cause.Error(), Dead: job.Attempts >= maxEvictions})
}

// maxEvictions bounds how often a job is given another remote path.
const maxEvictions = 3

// Failure is why and for how long a job can't go on. What it does not mention stays as
// the job has it: one that is given back, for whatever reason, keeps the reason of its
// last failed attempt (no Class) and what ImageKit has accepted of it.
type Failure struct {
	Class     string
	Reason    string    // in words for the user, with ImageKit's message where there is one
	RequestID string    // ImageKit's; "" when there is none
	NotBefore time.Time // when to try again
	Dead      bool      // don't try again by itself
	Free      bool      // the attempt does not count: it was not the file's fault
	// Wrong counts an answer that contradicts what was sent. The count ends when the file
	// changes or is recorded, and not with a restart or [Queue.Retry].
	Wrong bool
	// Stored, when not nil, is recorded all the same: ImageKit has stored something
	// that is not what the file is by now. Its Stat must be one that no file has.
	Stored *state.File
	// Doubt tells that the library may have another content by now than is recorded.
	Doubt bool
	// Unsure, when not zero, is when an upload began whose answer never came: the
	// library may have what was sent.
	Unsure time.Time
	// Accepted is the content that ImageKit took without naming a fileId yet; nil
	// leaves what it took before.
	Accepted *state.Hash
	// Resend tells that what it took before will not come, or is not wanted any more.
	Resend bool
}

// Fail ends an attempt that did not succeed: the job waits for its backoff,
// or is a dead letter.
func (q *Queue) Fail(job *Job, f Failure, done func(error)) {
	durability := state.Relaxed
	if f.Stored != nil || f.Doubt {
		durability = state.Durable
	}
	q.db.WriteLater(durability, func(tx *state.Tx) error { return q.fail(tx, job, f) }, done)
}

// unsure is what the file says of what may have been sent without an answer: what
// was unclear before stays so.
func unsure(job *Job, f Failure) int64 {
	since := job.Unsure
	if since.IsZero() {
		since = f.Unsure
	}
	switch {
	case since.IsZero():
		return 0
	case job.Changed:
		return -since.UnixMilli()
	}
	return since.UnixMilli()
}

// superseded is what becomes of that when the file is another one by now.
func superseded(unsure int64) int64 { return min(unsure, -unsure) }

func (q *Queue) fail(tx *state.Tx, job *Job, f Failure) error {
	if err := failpoint.Hit(failpoint.FailCommit); err != nil {
		return err
	}
	if f.Stored != nil {
		// Where it lies on another path's asset, that path has the fileId already.
		if err := tx.PutFile(f.Stored); err != nil && !errors.Is(err, state.ErrRemoteTaken) {
			return err
		}
	}
	if f.Doubt {
		if err := tx.Exec(doubt+` WHERE root_id = ? AND path = ?`, job.RootID, []byte(job.Path)); err != nil {
			return fmt.Errorf("note the doubt about %q: %w", job.Path, err)
		}
	}
	next, attempts := Ready, 1
	if f.Dead {
		next = Failed
	}
	if f.Free {
		attempts = 0
	}
	var accepted []byte
	if f.Accepted != nil {
		accepted = f.Accepted[:]
	}
	n, err := tx.ExecRows(`UPDATE jobs SET state = ?3, leased = 0, not_before = ?4, attempts = attempts + ?5,
			class = iif(?6 = '', class, ?6), reason = iif(?6 = '', reason, ?7), request_id = iif(?6 = '', request_id, ?8),
			accepted = iif(?13, NULL, coalesce(?9, accepted)), updated_at = ?10, unsure = ?12, wrong_answers = wrong_answers + ?14 WHERE id = ?1 AND gen = ?2 AND leased = ?11`,
		job.ID, job.Gen, int(next), max(f.NotBefore.UnixMilli(), 0), attempts, f.Class, f.Reason, f.RequestID, accepted, q.now().UnixMilli(), job.lease, unsure(job, f), f.Resend, f.Wrong)
	if err == nil && n == 0 {
		err = tx.Exec(again, superseded(unsure(job, f)), job.ID, job.lease)
	}
	if err == nil {
		err = q.holdIfIgnored(tx, job)
	}
	if err == nil {
		err = q.noteAttempt(tx, job, &f)
	}
	if err != nil {
		return fmt.Errorf("note the failure of %q: %w", job.Path, err)
	}
	q.notify()
	return nil
}

// Hold sets a job aside until its file changes: it can't be uploaded as it is.
func (q *Queue) Hold(job *Job, st state.Stat, class, reason string, done func(error)) {
	q.db.WriteLater(state.Relaxed, func(tx *state.Tx) error {
		n, err := tx.ExecRows(`UPDATE jobs SET state = 3, leased = 0, not_before = 0, class = ?3, reason = ?4, remote_path = iif(unsure <> 0, remote_path, NULL), remote_key = iif(unsure <> 0, remote_key, NULL),
				size = ?5, mtime_ns = ?6, ctime_ns = ?7, dev = ?8, ino = ?9, mount = ?12, updated_at = ?10 WHERE id = ?1 AND gen = ?2 AND leased = ?11`,
			job.ID, job.Gen, class, reason, st.Size, st.MtimeNs, st.CtimeNs, int64(st.Dev), int64(st.Ino), q.now().UnixMilli(), job.lease, st.Mount)
		if err == nil && n == 0 {
			err = tx.Exec(again, superseded(unsure(job, Failure{})), job.ID, job.lease)
			q.notify()
		}
		if err != nil {
			return fmt.Errorf("hold %q: %w", job.Path, err)
		}
		return nil
	}, done)
}

// PutAside lets a job wait without an attempt, with a look at its file that was taken
// since it was claimed: it is seen to be as st has it since a time of [state.Uptime].
func (q *Queue) PutAside(job *Job, st state.Stat, since time.Duration, notBefore time.Time, done func(error)) {
	q.db.WriteLater(state.Relaxed, func(tx *state.Tx) error {
		n, err := tx.ExecRows(`UPDATE jobs SET leased = 0, not_before = ?4, size = ?5, mtime_ns = ?6, ctime_ns = ?7, dev = ?8, ino = ?9, mount = ?10, seen_at = ?11
			WHERE id = ?1 AND gen = ?2 AND leased = ?3`, job.ID, job.Gen, job.lease, max(notBefore.UnixMilli(), 0),
			st.Size, st.MtimeNs, st.CtimeNs, int64(st.Dev), int64(st.Ino), st.Mount, since.Milliseconds())
		if err == nil && n == 0 {
			err = tx.Exec(again, superseded(unsure(job, Failure{})), job.ID, job.lease)
		}
		if err != nil {
			return fmt.Errorf("put the job of %q aside: %w", job.Path, err)
		}
		q.notify()
		return nil
	}, done)
}

// Release returns jobs that were claimed and not begun, or whose upload was
// broken off: they are ready at once and no attempt is counted.
//
// It wakes whoever waits for jobs even if there are none: the caller may have
// taken a wake-up that was meant for another.
func (q *Queue) Release(ctx context.Context, jobs []Job) error {
	defer q.notify()
	if len(jobs) == 0 {
		return nil
	}
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE jobs SET leased = 0, not_before = 0 WHERE leased <> 0 AND id IN (SELECT value FROM json_each(?))`, jobIDs(jobs))
	})
	if err != nil {
		return fmt.Errorf("return jobs to the queue: %w", err)
	}
	return nil
}
