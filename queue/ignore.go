package queue

import (
	"context"
	"fmt"
	"iter"
	"time"

	"iksync/state"
)

// ClassIgnored is the class of held jobs that somebody has told to leave out.
const ClassIgnored = "ignored"

const reasonIgnored = "left out by iksync ignore"

// inPlace wants the four arguments of [Place.args]: a path and what is below it; "" is all of the root.
const inPlace = ` root_id = ?1 AND (?2 = x'' OR path = ?2 OR path > ?3 AND path < ?4)`

func (p Place) args() []any {
	return []any{p.RootID, []byte(p.Path), []byte(p.Path + "/"), []byte(p.Path + "0")}
}

// Ignore leaves a file out from now on, whatever happens to it: a path that has a job
// or a record; and those below it that have a job. What the library has of it stays.
// It returns how many files are left out that were not before. One that is on its way
// may come.
func (q *Queue) Ignore(ctx context.Context, at Place) (n int64, err error) {
	q.ignoring.Store(true) // before the commit: who queues right after it must look
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) (err error) {
		args := at.args()
		n, err = tx.ExecRows(`INSERT OR IGNORE INTO ignored (root_id, path, at)
			SELECT root_id, path, ?5 FROM jobs WHERE`+inPlace+`
			UNION SELECT root_id, path, ?5 FROM files WHERE root_id = ?1 AND path = ?2`, append(args, q.now().UnixMilli())...)
		if err != nil {
			return err
		}
		return tx.Exec(holdIgnored+` AND`+inPlace, append(args, ClassIgnored, reasonIgnored)...)
	})
	if err != nil {
		return 0, fmt.Errorf("leave out %q: %w", at.Path, err)
	}
	return n, nil
}

// holdIgnored holds jobs that nobody has; ?5 and ?6 are class and reason.
const holdIgnored = `UPDATE jobs SET state = 3, not_before = 0, class = ?5, reason = ?6, request_id = '', donor = NULL, move = 0,
	remote_path = iif(unsure <> 0, remote_path, NULL), remote_key = iif(unsure <> 0, remote_key, NULL) WHERE leased = 0`

// Unignore takes files up again: a path, and what is below it. A scan finds them. It
// returns how many they are.
func (q *Queue) Unignore(ctx context.Context, at Place) (n int64, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) (err error) {
		if n, err = tx.ExecRows(`DELETE FROM ignored WHERE`+inPlace, at.args()...); err != nil {
			return err
		}
		// Of a job without a remote path there is nothing to go on with; of one of which the
		// library may have something, a worker looks.
		if err := tx.Exec(`DELETE FROM jobs WHERE`+inPlace+` AND state = 3 AND class = ?5 AND leased = 0 AND (unsure = 0 OR remote_path IS NULL)`,
			append(at.args(), ClassIgnored)...); err != nil {
			return err
		}
		return tx.Exec(`UPDATE jobs SET state = 0, attempts = 0, class = '', reason = '' WHERE`+inPlace+` AND state = 3 AND class = ?5 AND leased = 0`,
			append(at.args(), ClassIgnored)...)
	})
	if err != nil {
		return 0, fmt.Errorf("take up %q again: %w", at.Path, err)
	}
	q.notify()
	return n, nil
}

// Ignored is a file that is left out.
type Ignored struct {
	Place
	At time.Time // since when
}

// IgnoredFiles returns the files that are left out, by root and path. The sequence
// ends after the first error.
func (q *Queue) IgnoredFiles(ctx context.Context) iter.Seq2[Ignored, error] {
	return func(yield func(Ignored, error) bool) {
		rows, err := q.db.Query(ctx, `SELECT root_id, path, at FROM ignored ORDER BY root_id, path`)
		if err != nil {
			yield(Ignored{}, fmt.Errorf("list what is left out: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var i Ignored
			var at int64
			if err := rows.Scan(&i.RootID, &i.Path, &at); err != nil {
				yield(Ignored{}, fmt.Errorf("list what is left out: %w", err))
				return
			}
			i.At = time.UnixMilli(at)
			if !yield(i, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Ignored{}, fmt.Errorf("list what is left out: %w", err))
		}
	}
}

// isIgnored reports whether a path is left out.
func (q *Queue) isIgnored(tx *state.Tx, rootID int64, path string) (is bool, err error) {
	if !q.ignoring.Load() {
		return false, nil
	}
	err = tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM ignored WHERE root_id = ? AND path = ?)`, rootID, []byte(path)).Scan(&is)
	return is, err
}

// holdIfIgnored holds a job that was given back if its path is left out by now.
func (q *Queue) holdIfIgnored(tx *state.Tx, job *Job) error {
	if ignored, err := q.isIgnored(tx, job.RootID, job.Path); err != nil || !ignored {
		return err
	}
	return tx.Exec(holdIgnored+` AND`+inPlace, append(Place{job.RootID, job.Path}.args(), ClassIgnored, reasonIgnored)...)
}

// lookForIgnored notes whether anything is left out at all, so that nobody else need ask.
func (q *Queue) lookForIgnored(ctx context.Context) error {
	rows, err := q.db.Query(ctx, `SELECT 1 FROM ignored LIMIT 1`)
	if err != nil {
		return fmt.Errorf("look for what is left out: %w", err)
	}
	defer rows.Close()
	q.ignoring.Store(rows.Next())
	return rows.Err()
}
