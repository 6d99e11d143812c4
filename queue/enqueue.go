package queue

import (
	"context"
	"database/sql"
	"fmt"
	"path"
	"slices"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// maxAlternates bounds the search for a free remote path; each step has a
// different suffix of 32 bits, so a second step is rare and a fifth never seen.
const maxAlternates = 16

// Enqueue turns changes into jobs, in one transaction. What the records or the
// queue show already is left alone. Batches of some hundred to a thousand are the
// fastest. A job survives the death of the process at once and a power cut with
// the next fsync; one that a power cut takes is found again by the scan with which
// every start begins.
func (q *Queue) Enqueue(ctx context.Context, changes []Change) (Enqueued, error) {
	var result Enqueued
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		result = Enqueued{}
		changes := q.keyed(changes)
		now := q.now().UnixMilli()
		for some := range slices.Chunk(changes, bulk) {
			known, err := q.knownAmong(tx, some)
			if err != nil {
				return err
			}
			for at := 0; at < len(some); at++ {
				run := at
				for at < len(some) && !known[at] {
					at++
				}
				if err := insertJobs(tx, some[run:at], now, &result); err != nil {
					return err
				}
				if at == len(some) {
					break
				}
				if err := q.enqueue(tx, &some[at], now, &result); err != nil {
					return fmt.Errorf("queue %q: %w", some[at].Path, err)
				}
			}
		}
		return failpoint.Hit(failpoint.EnqueueCommit)
	})
	if err != nil {
		return Enqueued{}, err
	}
	if result.Queued > 0 {
		if slices.ContainsFunc(changes, func(c Change) bool { return c.Priority > 0 }) {
			q.fresh.Store(true)
		}
		q.notify()
	}
	return result, failpoint.Hit(failpoint.EnqueueAfter)
}

// alike is the condition for records f of other paths that the file of a change may be
// the file of: see [state.Prove].
const alike = `f.mtime_ns = ?6 AND f.size = ?5 AND ?3 = 0 AND NOT (f.root_id = ?1 AND f.path = ?2) AND f.unproven = 0 AND f.hash <> zeroblob(16)
			AND NOT (?14 <> 0 AND EXISTS (SELECT 1 FROM files s WHERE s.root_id = ?1 AND s.path = ?2 AND s.mtime_ns = ?6 AND s.size = ?5))`

// insertJob does nothing when the record or the job shows the change already,
// and when the remote path is taken, in any form: zero rows then. ?17 is its key. It is not taken by a record
// whose asset is to go elsewhere with its file; the job waits for that. Of a path
// with a record the remote path is that record's, whatever the job has reserved.
//
// A leased job stays leased; its worker will find its generation raised.
//
// m.d is the donor: the record of another path whose file this may be. A donor has the
// file's size and modification time, and a content that is proven. Where identity is
// proven (?14 is 0) one with the file's inode is preferred, then one with the file's
// name. A file that is alike only gets a donor that no other job has; of several files
// with a donor's inode some are not there any more. Where identity is not proven a file
// whose own record is alike has no donor: it is compared with that record.
// The job of a file with a donor is a move: nothing is moved before state.Prove has
// decided, and the remote path may be the donor's.
const insertJob = `
INSERT INTO jobs (root_id, path, gen, state, leased, priority, not_before, attempts,
	size, mtime_ns, ctime_ns, dev, ino, remote_path, class, reason, request_id, created_at, updated_at, donor, move, mount, seen_at, remote_key)
SELECT ?1, ?2, 1, ?3, 0, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, '', ?13, ?13, m.d, m.d IS NOT NULL, ?14, ?15, nullif(?17, ?10)
FROM (SELECT coalesce(
		(SELECT f.id FROM files f WHERE ` + alike + ` AND ?14 = 0 AND f.mount = 0 AND f.ino = ?9 LIMIT 1),
		(SELECT f.id FROM files f WHERE ` + alike + ` AND substr(f.path, -length(?16)) = ?16
			AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.donor = f.id AND NOT (o.root_id = ?1 AND o.path = ?2)) LIMIT 1),
		(SELECT f.id FROM files f WHERE ` + alike + `
			AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.donor = f.id AND NOT (o.root_id = ?1 AND o.path = ?2)) LIMIT 1)) AS d) AS m
WHERE NOT EXISTS (SELECT 1 FROM files WHERE root_id = ?1 AND path = ?2
		AND size = ?5 AND mtime_ns = ?6 AND ctime_ns = ?7 AND ino = ?9)
	AND NOT EXISTS (SELECT 1 FROM files f WHERE (f.remote_path IN (?10, ?17) OR f.remote_key = ?17) AND NOT (f.root_id = ?1 AND f.path = ?2) AND f.id IS NOT m.d
		AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.donor = f.id AND NOT (o.root_id = ?1 AND o.path = ?2)))
	AND NOT EXISTS (SELECT 1 FROM jobs  WHERE (remote_path IN (?10, ?17) OR remote_key = ?17) AND NOT (root_id = ?1 AND path = ?2))
ON CONFLICT (root_id, path) DO UPDATE SET
	gen = gen + 1, state = iif(leased, 0, ?3), priority = max(priority, ?4),
	not_before = iif(leased, not_before, 0), attempts = 0, wrong_answers = 0, size = ?5, mtime_ns = ?6, ctime_ns = ?7, dev = ?8, ino = ?9, mount = ?14, seen_at = ?15,
	remote_path = iif(leased OR unsure <> 0, coalesce(?10, remote_path), ?10), remote_key = iif((leased OR unsure <> 0) AND ?10 IS NULL, remote_key, nullif(?17, ?10)), class = ?11, reason = ?12, request_id = '', accepted = NULL, updated_at = ?13, unsure = -abs(iif(leased AND unsure = 0, max(updated_at, 1), unsure)),
	donor = iif(leased, NULL, excluded.donor), move = iif(leased, 0, excluded.move)
	WHERE size <> ?5 OR mtime_ns <> ?6 OR ctime_ns <> ?7 OR ino <> ?9 AND NOT (mount <> 0 AND mount = ?14) OR (remote_path IS NOT ?10 AND (?10 IS NOT NULL OR unsure = 0))
		OR (state = 3) <> (?3 = 3) OR (state = 3 AND reason <> ?12)`

func (q *Queue) enqueue(tx *state.Tx, c *Change, now int64, result *Enqueued) error {
	want := Ready
	var remote, key any = c.Remote, c.reserved()
	if ignored, err := q.isIgnored(tx, c.RootID, c.Path); err != nil {
		return err
	} else if ignored {
		left := *c
		left.Hold, left.HoldClass = reasonIgnored, ClassIgnored
		c = &left
	}
	if c.Hold != "" {
		want, remote, key = Held, nil, nil
	}
	insert := func(remote, key any) (bool, error) {
		n, err := tx.ExecRows(insertJob, c.RootID, []byte(c.Path), int(want), c.Priority,
			c.Stat.Size, c.Stat.MtimeNs, c.Stat.CtimeNs, int64(c.Stat.Dev), int64(c.Stat.Ino),
			remote, c.HoldClass, c.Hold, now, c.Stat.Mount, c.SeenAt.Milliseconds(), []byte(path.Base(c.Path)), key)
		return n > 0, err
	}
	changed, err := insert(remote, key)
	if err != nil {
		return err
	}
	if !changed && want == Ready {
		given, err := q.freeRemote(tx, c.RootID, c.Path, c.Remote)
		if err != nil {
			return err
		}
		if given == "" || given == c.Remote {
			return nil
		}
		if changed, err = insert(given, names.Key(given)); err != nil {
			return err
		}
		if changed {
			result.Renamed = append(result.Renamed, Renamed{RootID: c.RootID, Path: c.Path, Wanted: c.Remote, Given: given})
		}
	}
	switch {
	case !changed:
	case want == Held:
		result.Held++
	default:
		result.Queued++
		result.Bytes += c.Stat.Size
	}
	return nil
}

// freeRemote returns the remote path that the job of a path may reserve: its
// record's, else the one that its job has, else the first free one.
func (q *Queue) freeRemote(tx *state.Tx, rootID int64, path, wanted string) (string, error) {
	var recorded, queued sql.NullString
	err := tx.QueryRow(`SELECT (SELECT remote_path FROM files WHERE root_id = ?1 AND path = ?2),
		(SELECT remote_path FROM jobs WHERE root_id = ?1 AND path = ?2)`, rootID, []byte(path)).Scan(&recorded, &queued)
	if err != nil {
		return "", err
	}
	if recorded.Valid {
		free, err := remoteFree(tx, rootID, path, recorded.String)
		if err != nil || free {
			return recorded.String, err
		}
	}
	remote := wanted
	for n := range maxAlternates {
		free, err := remoteFree(tx, rootID, path, remote)
		if err != nil || free {
			return remote, err
		}
		remote = q.alternate(wanted, path, n)
		if queued.String == remote {
			return remote, nil
		}
	}
	return "", fmt.Errorf("no free remote path near %s after %d tries", wanted, maxAlternates)
}

func remoteFree(tx *state.Tx, rootID int64, path, remote string) (free bool, err error) {
	err = tx.QueryRow(`SELECT NOT EXISTS (SELECT 1 FROM files f WHERE (f.remote_path IN (?3, ?4) OR f.remote_key = ?4) AND NOT (f.root_id = ?1 AND f.path = ?2)
			AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.donor = f.id AND NOT (o.root_id = ?1 AND o.path = ?2)))
		AND NOT EXISTS (SELECT 1 FROM jobs WHERE (remote_path IN (?3, ?4) OR remote_key = ?4) AND NOT (root_id = ?1 AND path = ?2))`,
		rootID, []byte(path), remote, names.Key(remote)).Scan(&free)
	return free, err
}

// Cancel removes the jobs of paths that are not to be uploaded any more (gone,
// or filtered out by now), unless a worker has them or they were made or changed
// at or after the given time: what a scan that began then did not see may have
// come since. Nor is one of which the library may have something: a worker looks.
// there, when not nil, looks once more whether the file of a path is wanted after all:
// one that is back just as it was changes no job.
func (q *Queue) Cancel(ctx context.Context, rootID int64, paths []string, before time.Time, there func(path string) bool) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		for _, path := range paths {
			if there != nil && there(path) {
				continue
			}
			if err := tx.Exec(`DELETE FROM jobs WHERE root_id = ? AND path = ? AND leased = 0 AND unsure = 0 AND NOT updated_at BETWEEN ? AND ?`,
				rootID, []byte(path), before.UnixMilli(), q.now().UnixMilli()); err != nil {
				return fmt.Errorf("cancel the job of %q: %w", path, err)
			}
			err := tx.Exec(`UPDATE jobs SET state = 0, not_before = 0, attempts = 0 WHERE root_id = ? AND path = ? AND leased = 0 AND unsure <> 0 AND state <> 0 AND remote_path IS NOT NULL`,
				rootID, []byte(path))
			if err != nil {
				return fmt.Errorf("look into the job of %q: %w", path, err)
			}
		}
		return failpoint.Hit(failpoint.CancelCommit)
	})
}
