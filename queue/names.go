package queue

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// A remote path is reserved for one local path in all its forms: by its key, see package
// names. In the statements "remote_key" is NULL where the key is the remote path itself.

// keyOf is the key of a remote path as the file has it; nil for the path itself.
func keyOf(remote string) any {
	if key := names.Key(remote); key != remote {
		return key
	}
	return nil
}

// Kept says what the library does with names that ImageKit is documented to change.
type Kept int

// What it does.
const (
	NamesUnknown Kept = 0 // nothing has been sent yet under such a name
	NamesKept    Kept = 1
	NamesChanged Kept = 2 // such names are not sent any more
)

// Names returns what the library does with the names of a root that ImageKit is
// documented to change.
func (q *Queue) Names(rootID int64) Kept {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.names[rootID]
}

// ReadNames reads what is known of every root. [Queue.Recover] does so, too.
func (q *Queue) ReadNames(ctx context.Context) error {
	rows, err := q.db.Query(ctx, `SELECT id, names FROM roots WHERE names <> 0`)
	if err != nil {
		return fmt.Errorf("read what the library does with names: %w", err)
	}
	defer rows.Close()
	all := make(map[int64]Kept)
	for rows.Next() {
		var id int64
		var kept Kept
		if err := rows.Scan(&id, &kept); err != nil {
			return fmt.Errorf("read what the library does with names: %w", err)
		}
		all[id] = kept
	}
	q.mu.Lock()
	q.names = all
	q.mu.Unlock()
	return rows.Err()
}

// NoteNames notes what the library did with a name. That it changes names is final: it
// may change only some, and iksync sends none of them then.
func (q *Queue) NoteNames(ctx context.Context, rootID int64, kept Kept) error {
	if have := q.Names(rootID); have >= kept {
		return nil
	}
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error { return q.noteNames(tx, rootID, kept) })
	if err != nil {
		return err
	}
	q.notify()
	return nil
}

func (q *Queue) noteNames(tx *state.Tx, rootID int64, kept Kept) error {
	err := tx.Exec(`UPDATE roots SET names = ?2 WHERE id = ?1 AND names < ?2`, rootID, int(kept))
	if err == nil && kept == NamesChanged {
		err = sendSafe(tx)
	}
	if err != nil {
		return fmt.Errorf("note what the library does with names: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.names[rootID] = max(q.names[rootID], kept)
	return nil
}

// sendSafe gives jobs the keys of their remote paths as such, where the library changes
// names. Nobody else has reserved these keys.
func sendSafe(tx *state.Tx) error {
	return tx.Exec(`UPDATE OR IGNORE jobs SET remote_path = remote_key, remote_key = NULL
		WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_remote_key WHERE remote_key IS NOT NULL) AND EXISTS (SELECT 1 FROM roots r WHERE r.id = jobs.root_id AND r.names = 2)`)
}

// learnNames learns from where the file of a job was stored.
func (q *Queue) learnNames(tx *state.Tx, job *Job, remote string) error {
	key := names.Key(job.RemotePath)
	if key == job.RemotePath {
		return nil
	}
	kept := NamesUnknown
	switch {
	case remote == job.RemotePath:
		kept = NamesKept
	case names.Key(remote) == key:
		kept = NamesChanged
	}
	if q.Names(job.RootID) >= kept {
		return nil
	}
	return q.noteNames(tx, job.RootID, kept)
}

// unknownNames lists those of some roots of which it is not known what the library does
// with names.
func (q *Queue) unknownNames(roots []int64) []int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	unknown := []int64{}
	for _, id := range roots {
		if q.names[id] == NamesUnknown {
			unknown = append(unknown, id)
		}
	}
	return unknown
}

// probing reports whether a job that was claimed to learn what the library does with
// names is being worked on still.
func (q *Queue) probing(tx *state.Tx, rootID int64) (is bool, err error) {
	q.mu.Lock()
	job := q.probe[rootID]
	q.mu.Unlock()
	if job == 0 {
		return false, nil
	}
	err = tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ? AND leased <> 0)`, job).Scan(&is)
	return is, err
}

func (q *Queue) probes(rootID, job int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.probe[rootID] = job
}

// keyed returns changes with the keys of their remote paths. Where the library changes
// names, the remote path is the key.
func (q *Queue) keyed(changes []Change) []Change {
	var own []Change // most batches have no such name
	for i := range changes {
		c := &changes[i]
		key := names.Key(c.Remote)
		if key == c.Remote {
			continue
		}
		if own == nil {
			own = slices.Clone(changes)
		}
		if q.Names(c.RootID) == NamesChanged {
			own[i].Remote = key
		} else {
			own[i].key = key
		}
	}
	if own != nil {
		return own
	}
	return changes
}

// storedKey is what a job has as its key.
func (c *Change) storedKey() any {
	if c.key == "" {
		return nil
	}
	return c.key
}

// reserved is what is reserved for the path: the key of its remote path.
func (c *Change) reserved() string { return cmp.Or(c.key, c.Remote) }

// Vacated returns a record whose asset has a suffix in its name, where the name without it
// may have become free; nil when there is none. One that is in use, or whose file is absent,
// waits.
func (q *Queue) Vacated(ctx context.Context, roots []int64) (f *state.File, err error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return nil, err
	}
	if any, err := q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE vacated <> 0)`); err != nil || !any {
		return nil, err
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		f = nil
		files, err := tx.FilesWhere(`f.vacated <> 0 AND +f.root_id IN (SELECT value FROM json_each(?)) AND f.absent = 0 AND f.astray = 0
			AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.donor = f.id) AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = f.root_id AND j.path = f.path)
			AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.file = f.id) ORDER BY f.id LIMIT 1`, string(ids))
		if len(files) > 0 {
			f = files[0]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for names that have become free: %w", err)
	}
	return f, nil
}

// IsVacant reports whether no other path has, or has reserved, a remote path in any form.
func (q *Queue) IsVacant(ctx context.Context, f *state.File, remote string) (is bool, err error) {
	return q.holds(ctx, `SELECT NOT EXISTS (SELECT 1 FROM files WHERE (remote_path IN (?1, ?2) OR remote_key = ?2) AND id <> ?3)
		AND NOT EXISTS (SELECT 1 FROM jobs WHERE (remote_path IN (?1, ?2) OR remote_key = ?2) AND NOT (root_id = ?4 AND path = ?5))
		AND NOT EXISTS (SELECT 1 FROM intents WHERE coalesce(target_key, target) = ?2)`, remote, names.Key(remote), f.ID, f.RootID, []byte(f.Path))
}

// Shortened notes that a name that had become free was looked at. done tells that the asset
// has no suffix in its name any more; else it is looked at when the name becomes free again.
func (q *Queue) Shortened(ctx context.Context, f *state.File, done bool) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.ShortenedCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE files SET vacated = 0, wanted_key = iif(?2, NULL, wanted_key), astray = iif(?2, 0, astray) WHERE id = ?1 AND wanted_key IS ?3`, f.ID, done, f.WantedKey)
	})
	if err != nil {
		return fmt.Errorf("note the name of the asset of %q: %w", f.Path, err)
	}
	return nil
}

// folders returns the folder of every root.
func folders(tx *state.Tx) (map[int64]string, error) {
	rows, err := tx.Query(`SELECT id, folder FROM roots`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make(map[int64]string)
	for rows.Next() {
		var id int64
		var folder string
		if err := rows.Scan(&id, &folder); err != nil {
			return nil, err
		}
		all[id] = folder
	}
	return all, rows.Err()
}

// listedJob returns the job of the local file that a listed one is the asset of, by its
// path; 0 when there is none. It is the job that has reserved the path, or that of the
// file with just this name, or one to whose file the library may have given it, whatever
// it does with names. One of the listed size comes before others.
func listedJob(tx *state.Tx, roots map[int64]string, remote string, listed int64) (int64, error) {
	var first int64
	candidate := func(anyName bool, query string, args ...any) (bool, error) {
		var id, root, size int64
		var path []byte
		err := tx.QueryRow(query, args...).Scan(&id, &root, &path, &size)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !anyName && !hasForm(roots[root], string(path), remote) {
			return false, nil
		}
		if first == 0 || size == listed {
			first = id
		}
		return size == listed, nil
	}
	done, err := candidate(true, `SELECT id, root_id, path, size FROM jobs WHERE remote_path = ? AND state IN (0, 2) AND leased = 0`, remote)
	for root, folder := range roots {
		if below, ok := strings.CutPrefix(remote, strings.TrimSuffix(folder, "/")+"/"); ok && !done && err == nil {
			done, err = candidate(true, `SELECT id, root_id, path, size FROM jobs WHERE root_id = ? AND path = ? AND remote_path IS NOT NULL AND state IN (0, 2) AND leased = 0`, root, []byte(below))
		}
	}
	for _, query := range []string{
		`SELECT id, root_id, path, size FROM jobs WHERE remote_path = ? AND state IN (0, 2) AND leased = 0`,
		`SELECT id, root_id, path, size FROM jobs WHERE remote_key = ? AND state IN (0, 2) AND leased = 0`,
	} {
		if !done && err == nil {
			done, err = candidate(false, query, names.Key(remote))
		}
	}
	return first, err
}

// hasForm reports whether a remote path is that of a local one in any mode.
func hasForm(folder, local, remote string) bool {
	for _, mode := range []names.Mode{names.Safe, names.Keep} {
		if at, err := names.Path(folder, local, mode); err == nil && at == remote {
			return true
		}
	}
	return false
}

// FormOf returns the record of the local path that has a remote path in one mode or the
// other, while its asset is elsewhere; 0 when there is none.
func (q *Queue) FormOf(ctx context.Context, remote string) (file int64, err error) {
	f, err := q.db.KeyOwner(ctx, remote, 0)
	if err != nil || f == nil || f.RemotePath == remote {
		return 0, err
	}
	roots, err := q.db.Roots(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range roots {
		if r.ID == f.RootID && hasForm(r.Folder, f.Path, remote) {
			return f.ID, nil
		}
	}
	return 0, nil
}
