package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"iksync/state"
)

const (
	// keptAttempts is how many failed attempts of a path are kept.
	keptAttempts = 20
	// allAttempts bounds them over all paths.
	allAttempts = 200_000
	// tidyEvery is after how many attempts it is looked whether they are too many.
	tidyEvery = 1000
)

// Attempt is one that did not succeed.
type Attempt struct {
	Began, Ended time.Time
	Class        string
	Reason       string
	RequestID    string // ImageKit's; "" when there is none
	Dead         bool   // the last: it is not tried again by itself
}

// noteAttempt keeps a failed attempt for [Queue.History].
func (q *Queue) noteAttempt(tx *state.Tx, job *Job, f *Failure) error {
	if f.Reason == "" {
		return nil // given back: nothing had gone wrong
	}
	now := q.now()
	began := job.Began
	if began.IsZero() {
		began = now
	}
	var id int64
	err := tx.QueryRow(`INSERT INTO attempts (root_id, path, began_at, ended_at, class, reason, request_id, dead)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, job.RootID, []byte(job.Path), began.UnixMilli(), now.UnixMilli(), f.Class, f.Reason, f.RequestID, f.Dead).Scan(&id)
	if err == nil {
		err = tx.Exec(`DELETE FROM attempts WHERE root_id = ?1 AND path = ?2
			AND id <= (SELECT id FROM attempts WHERE root_id = ?1 AND path = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)`, job.RootID, []byte(job.Path), keptAttempts)
	}
	if err == nil && id%tidyEvery == 0 {
		err = tx.Exec(`DELETE FROM attempts WHERE id <= ?`, id-allAttempts)
	}
	if err != nil {
		return fmt.Errorf("note an attempt of %q: %w", job.Path, err)
	}
	return nil
}

// History is all that the state file knows of a path.
type History struct {
	Record   *state.File // with its response; nil when it was never uploaded
	Job      *Item       // what is to be done; nil when nothing is
	Alias    *state.File // the file whose asset has its content; nil when it is none of those
	Attempts []Attempt   // that did not succeed, the oldest first
	Ignored  time.Time   // since when it is left out by [Queue.Ignore]; the zero time when it is not
	Intent   *Intent     // what is about to be done with its asset
	MovesTo  string      // whole local path of the file whose job is to move its asset there; "" when there is none
	Removed  *Removed    // what was last removed from the library of this path; nil when nothing was
}

// Removed is an asset that was deleted in the library, or moved to its trash, since its
// file was gone or left out.
type Removed struct {
	Place
	FileID     string
	RemotePath string // where it was
	TrashPath  string // where it is in the trash; "" when it was deleted
	At         time.Time
}

// History reads what is known of a path.
func (q *Queue) History(ctx context.Context, at Place) (h *History, err error) {
	h = &History{}
	path := []byte(at.Path)
	if h.Record, err = q.db.FileAt(ctx, at.RootID, at.Path); err != nil {
		return nil, err
	}
	rows, err := q.db.Query(ctx, `SELECT root_id, path, iif(leased, 1, state), size, attempts, class, reason, request_id, not_before, updated_at
		FROM jobs WHERE root_id = ? AND path = ?`, at.RootID, path)
	scanItems(rows, err, func(it Item, e error) bool {
		if err = e; e == nil {
			h.Job = &it
		}
		return e == nil
	})
	if err != nil {
		return nil, err
	}
	if h.Attempts, err = q.attempts(ctx, at); err != nil {
		return nil, err
	}
	var since, of int64
	if err := q.one(ctx, &since, `SELECT at FROM ignored WHERE root_id = ? AND path = ?`, at.RootID, path); err != nil {
		return nil, err
	}
	if since != 0 {
		h.Ignored = time.UnixMilli(since)
	}
	if err := q.one(ctx, &of, `SELECT of FROM aliases WHERE root_id = ? AND path = ?`, at.RootID, path); err != nil {
		return nil, err
	}
	if of != 0 {
		if h.Alias, err = q.db.FileByID(ctx, of); err != nil {
			return nil, err
		}
	}
	if h.Removed, err = q.RemovedAt(ctx, at); err != nil {
		return nil, err
	}
	if h.Record == nil {
		return h, nil
	}
	if h.MovesTo, err = q.movesTo(ctx, h.Record.ID); err != nil {
		return nil, err
	}
	intents, err := q.Intents(ctx)
	if err != nil {
		return nil, err
	}
	for i := range intents {
		if intents[i].File == h.Record.ID {
			h.Intent = &intents[i]
		}
	}
	return h, nil
}

// RemovedAt returns what was last removed from the library of a path; nil when nothing
// was. It reads all that was removed of the root.
func (q *Queue) RemovedAt(ctx context.Context, at Place) (*Removed, error) {
	return q.removed(ctx, `root_id = ? AND path = ?`, at.RootID, []byte(at.Path))
}

// RemovedAsset returns what was last removed from the library with a fileId, or a remote
// path, then or in the trash; nil when nothing was. It reads all that was removed.
func (q *Queue) RemovedAsset(ctx context.Context, name string) (*Removed, error) {
	return q.removed(ctx, `file_id = ?1 OR remote_path = ?1 OR trash_path = ?1 AND trash_path <> ''`, name)
}

func (q *Queue) removed(ctx context.Context, where string, args ...any) (*Removed, error) {
	rows, err := q.db.Query(ctx, `SELECT root_id, path, file_id, remote_path, trash_path, removed_at FROM removed WHERE `+where+` ORDER BY id DESC LIMIT 1`, args...)
	if err != nil {
		return nil, fmt.Errorf("read what was removed from the library: %w", err)
	}
	defer rows.Close()
	var r *Removed
	if rows.Next() {
		var at int64
		r = &Removed{}
		if err := rows.Scan(&r.RootID, &r.Path, &r.FileID, &r.RemotePath, &r.TrashPath, &at); err != nil {
			return nil, fmt.Errorf("read what was removed from the library: %w", err)
		}
		r.At = time.UnixMilli(at)
	}
	return r, rows.Err()
}

// movesTo is the whole local path that the asset of a record is to follow its file to.
func (q *Queue) movesTo(ctx context.Context, record int64) (path string, err error) {
	rows, err := q.db.Query(ctx, `SELECT r.path, j.path FROM jobs j JOIN roots r ON r.id = j.root_id WHERE j.donor = ? AND j.move <> 0 AND j.state = 0 LIMIT 1`, record)
	if err != nil {
		return "", fmt.Errorf("read the moves: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		var root, below string
		if err := rows.Scan(&root, &below); err != nil {
			return "", fmt.Errorf("read the moves: %w", err)
		}
		path = strings.TrimSuffix(root, "/") + "/" + below
	}
	return path, rows.Err()
}

// one reads a number; it stays as it is when there is none.
func (q *Queue) one(ctx context.Context, n *int64, query string, args ...any) error {
	rows, err := q.db.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read the state file: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(n); err != nil {
			return fmt.Errorf("read the state file: %w", err)
		}
	}
	return rows.Err()
}

func (q *Queue) attempts(ctx context.Context, at Place) ([]Attempt, error) {
	rows, err := q.db.Query(ctx, `SELECT began_at, ended_at, class, reason, request_id, dead FROM attempts WHERE root_id = ? AND path = ? ORDER BY id`, at.RootID, []byte(at.Path))
	if err != nil {
		return nil, fmt.Errorf("read the attempts of %q: %w", at.Path, err)
	}
	defer rows.Close()
	var all []Attempt
	for rows.Next() {
		var a Attempt
		var began, ended int64
		if err := rows.Scan(&began, &ended, &a.Class, &a.Reason, &a.RequestID, &a.Dead); err != nil {
			return nil, fmt.Errorf("read the attempts of %q: %w", at.Path, err)
		}
		a.Began, a.Ended = time.UnixMilli(began), time.UnixMilli(ended)
		all = append(all, a)
	}
	return all, rows.Err()
}
