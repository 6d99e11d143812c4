package queue

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Backlog is what waits for a worker, or is with one.
type Backlog struct {
	Depth
	Oldest time.Time // when the oldest of them was made; the zero time when there is none
	// NotCompared counts those that are very likely as recorded, which reading will show.
	NotCompared int64
}

// Backlogs counts what is to be done, by root. It reads every job.
func (q *Queue) Backlogs(ctx context.Context) (map[int64]Backlog, error) {
	rows, err := q.db.Query(ctx, `SELECT root_id, count(*), sum(size), min(created_at), sum(priority < 0) FROM jobs WHERE state = 0 GROUP BY root_id`)
	if err != nil {
		return nil, fmt.Errorf("count what is to be done: %w", err)
	}
	defer rows.Close()
	all := make(map[int64]Backlog)
	for rows.Next() {
		var id, oldest int64
		var b Backlog
		if err := rows.Scan(&id, &b.Jobs, &b.Bytes, &oldest, &b.NotCompared); err != nil {
			return nil, fmt.Errorf("count what is to be done: %w", err)
		}
		b.Oldest = time.UnixMilli(oldest)
		all[id] = b
	}
	return all, rows.Err()
}

// Classes counts the jobs of a root that have gone wrong, by class.
type Classes struct {
	Failing map[string]int64 // dead letters, and those that are tried again
	Again   int64            // of them those that are tried again
	Held    map[string]int64 // can't be uploaded as they are, or are left out
}

// ByClass counts what fails and what is held, by root.
func (q *Queue) ByClass(ctx context.Context) (map[int64]Classes, error) {
	rows, err := q.db.Query(ctx, `SELECT root_id, class, state, count(*) FROM jobs INDEXED BY jobs_class WHERE class <> '' GROUP BY root_id, class, state`)
	if err != nil {
		return nil, fmt.Errorf("count what fails: %w", err)
	}
	defer rows.Close()
	all := make(map[int64]Classes)
	for rows.Next() {
		var id, n int64
		var class string
		var st int
		if err := rows.Scan(&id, &class, &st, &n); err != nil {
			return nil, fmt.Errorf("count what fails: %w", err)
		}
		c, ok := all[id]
		if !ok {
			c = Classes{Failing: make(map[string]int64), Held: make(map[string]int64)}
		}
		switch State(st) {
		case Held:
			c.Held[class] += n
		case Ready:
			c.Again += n
			fallthrough
		default:
			c.Failing[class] += n
		}
		all[id] = c
	}
	return all, rows.Err()
}

// Cursor is a place in the list of what fails, which is ordered by root, class, state
// and path. The zero value is its begin.
type Cursor struct {
	RootID int64
	Class  string
	State  State
	Path   string
}

// FailingPage returns up to n jobs that fail, after a place in their list; a job that
// a worker has just now is one of them. It costs the same wherever it begins.
func (q *Queue) FailingPage(ctx context.Context, after Cursor, n int) (page []Item, err error) {
	rows, err := q.db.Query(ctx, `SELECT root_id, path, iif(leased, 1, state), size, attempts, class, reason, request_id, not_before, updated_at
		FROM jobs INDEXED BY jobs_class WHERE class <> '' AND state <> 3 AND (root_id, class, state, path) > (?, ?, ?, ?)
		ORDER BY root_id, class, state, path LIMIT ?`, after.RootID, after.Class, int(after.State), []byte(after.Path), n)
	scanItems(rows, err, func(it Item, e error) bool {
		if err = e; e == nil {
			page = append(page, it)
		}
		return e == nil
	})
	return page, err
}

// After is the place of an item in the list of what fails.
func (it *Item) After() Cursor {
	c := Cursor{RootID: it.RootID, Class: it.Class, State: it.State, Path: it.Path}
	if c.State == Leased {
		c.State = Ready // in the file a lease is a mark of its own
	}
	return c
}

// Recorded counts the records of a root whose files are there, and their bytes. It
// reads every record.
func (q *Queue) Recorded(ctx context.Context, rootID int64) (files, bytes int64, err error) {
	if err := q.one(ctx, &files, `SELECT count(*) FROM files WHERE root_id = ? AND absent = 0`, rootID); err != nil {
		return 0, 0, err
	}
	return files, bytes, q.one(ctx, &bytes, `SELECT coalesce(sum(size), 0) FROM files WHERE root_id = ? AND absent = 0`, rootID)
}

// Outside counts the records of a root that are there, and whose assets are not below a
// folder of the library, and gives the first such remote path. It reads every record that
// has an asset outside of the folder, also those of other roots.
func (q *Queue) Outside(ctx context.Context, rootID int64, folder string) (n int64, first string, err error) {
	below := strings.TrimSuffix(folder, "/")
	if below == "" {
		return 0, "", nil
	}
	rows, err := q.db.Query(ctx, `SELECT count(*), coalesce(min(remote_path), '') FROM (
			SELECT remote_path, root_id, absent FROM files WHERE remote_path <= ?2 UNION ALL SELECT remote_path, root_id, absent FROM files WHERE remote_path >= ?3)
		WHERE +root_id = ?1 AND absent = 0`, rootID, below+"/", below+"0")
	if err != nil {
		return 0, "", fmt.Errorf("count what is outside of %s: %w", folder, err)
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(&n, &first); err != nil {
			return 0, "", fmt.Errorf("count what is outside of %s: %w", folder, err)
		}
	}
	return n, first, rows.Err()
}
