package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"iksync/state"
)

// Claim leases up to n ready jobs of the roots for the given time, the highest
// priority first, then the longest waiting. When it returns none, next is when
// the earliest backoff ends; the zero time when no job waits.
func (q *Queue) Claim(ctx context.Context, roots []int64, n int, lease time.Duration) (jobs []Job, next time.Time, err error) {
	ids, err := json.Marshal(roots)
	if err != nil || n <= 0 {
		return nil, time.Time{}, errors.Join(err)
	}
	token := rand.Int64N(1<<62) + 1
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		now := q.now()
		jobs, next = nil, time.Time{}
		var err error
		if jobs, err = ready(tx, string(ids), n, now); err != nil {
			return err
		}
		if len(jobs) == 0 {
			next, err = earliest(tx, string(ids))
			return err
		}
		// The lease is the time until which nobody else claims the job: one whose
		// lease has ended is ready again by itself.
		for i := range jobs {
			jobs[i].lease = token
		}
		return tx.Exec(`UPDATE jobs SET leased = ?, not_before = ? WHERE id IN (SELECT value FROM json_each(?))`,
			token, now.Add(lease).UnixMilli(), jobIDs(jobs))
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("claim jobs: %w", err)
	}
	return jobs, next, nil
}

// jobIDs lists the ids of jobs as a JSON array.
func jobIDs(jobs []Job) string {
	b := make([]byte, 0, 12*len(jobs)+2)
	b = append(b, '[')
	for i := range jobs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, jobs[i].ID, 10)
	}
	return string(append(b, ']'))
}

func ready(tx *state.Tx, roots string, n int, now time.Time) ([]Job, error) {
	rows, err := tx.Query(`SELECT j.id, j.root_id, j.path, j.gen, j.size, j.mtime_ns, j.ctime_ns, j.dev, j.ino,
			j.remote_path, j.attempts, j.accepted, f.size, f.hash
		FROM jobs j LEFT JOIN files f ON f.root_id = j.root_id AND f.path = j.path
		WHERE j.state = 0 AND j.not_before <= ? AND j.remote_path IS NOT NULL AND +j.root_id IN (SELECT value FROM json_each(?))
		ORDER BY j.priority DESC, j.not_before, j.id LIMIT ?`, now.UnixMilli(), roots, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	jobs := make([]Job, 0, n)
	for rows.Next() {
		var j Job
		var path, accepted, hash []byte
		var dev, ino int64
		var remote sql.NullString
		var size sql.NullInt64
		if err := rows.Scan(&j.ID, &j.RootID, &path, &j.Gen, &j.Stat.Size, &j.Stat.MtimeNs, &j.Stat.CtimeNs, &dev, &ino,
			&remote, &j.Attempts, &accepted, &size, &hash); err != nil {
			return nil, err
		}
		j.Path, j.RemotePath = string(path), remote.String
		j.Stat.Dev, j.Stat.Ino = uint64(dev), uint64(ino)
		if len(accepted) == len(j.Hash) {
			j.Accepted = (*state.Hash)(accepted)
		}
		if len(hash) == len(j.Hash) {
			j.Recorded, j.Size, j.Hash = true, size.Int64, state.Hash(hash)
		}
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

func earliest(tx *state.Tx, roots string) (time.Time, error) {
	var ms sql.NullInt64
	err := tx.QueryRow(`SELECT min(not_before) FROM jobs WHERE state = 0 AND leased = 0 AND +root_id IN (SELECT value FROM json_each(?))`, roots).Scan(&ms)
	if err != nil || !ms.Valid {
		return time.Time{}, err
	}
	return time.UnixMilli(ms.Int64), nil
}

// Renew extends the leases of jobs that are still being worked on.
func (q *Queue) Renew(ctx context.Context, jobIDs []int64, lease time.Duration) error {
	ids, err := json.Marshal(jobIDs)
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE jobs SET not_before = ? WHERE leased <> 0 AND id IN (SELECT value FROM json_each(?))`,
			q.now().Add(lease).UnixMilli(), string(ids))
	})
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	return nil
}

// Recover makes every leased job ready again. Only the process that holds the
// state file's lock may call it, before its workers start: then the leases are
// those of a process that died.
func (q *Queue) Recover(ctx context.Context) (int64, error) {
	var n int64
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) (err error) {
		n, err = tx.ExecRows(`UPDATE jobs SET leased = 0, not_before = 0 WHERE leased <> 0`)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("recover leases: %w", err)
	}
	return n, nil
}

// RetryFailed makes the failed jobs of the roots, and those that wait for
// their backoff, ready at once with no attempts counted.
func (q *Queue) RetryFailed(ctx context.Context, roots []int64) error {
	ids, err := json.Marshal(roots)
	if err != nil {
		return fmt.Errorf("retry failed jobs: %w", err)
	}
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE jobs SET state = 0, attempts = 0, not_before = 0
			WHERE (state = 2 OR state = 0 AND leased = 0 AND not_before > 0) AND root_id IN (SELECT value FROM json_each(?))`, string(ids))
	})
	if err != nil {
		return fmt.Errorf("retry failed jobs: %w", err)
	}
	q.notify()
	return nil
}
