package queue

import (
	"fmt"
	"strings"

	"iksync/state"
)

// Most changes of a first scan are of paths of which nothing is known: no record, no
// job, and none in their way. Such are looked for and inserted many at a time, which
// takes a fraction of what one statement for each takes.

// bulk is how many changes are looked at in one statement.
const bulk = 64

// inserts are how many jobs are inserted by one statement, the most first.
var inserts = [...]int{bulk, 16, 4, 1}

var (
	// knownOf gives those changes that are not of that kind. With records, a file of
	// that size and time may be one that was moved.
	knownOf = bulkTexts(func(n int) string {
		return `WITH c (i, root_id, path, remote, key, mtime_ns, size) AS (VALUES ` + rowsOf(n, 7) + `)
SELECT i FROM c WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = c.root_id AND j.path = c.path)
	OR EXISTS (SELECT 1 FROM jobs j WHERE j.remote_path = c.remote)
	OR EXISTS (SELECT 1 FROM jobs j WHERE j.remote_key = coalesce(c.key, c.remote))
	OR c.key IS NOT NULL AND EXISTS (SELECT 1 FROM jobs j WHERE j.remote_path = c.key)
	OR EXISTS (SELECT 1 FROM files f WHERE f.root_id = c.root_id AND f.path = c.path)
	OR EXISTS (SELECT 1 FROM files f WHERE f.remote_path = c.remote)
	OR EXISTS (SELECT 1 FROM files f WHERE f.remote_key = coalesce(c.key, c.remote))
	OR c.key IS NOT NULL AND EXISTS (SELECT 1 FROM files f WHERE f.remote_path = c.key)
	OR EXISTS (SELECT 1 FROM files f WHERE f.mtime_ns = c.mtime_ns AND f.size = c.size)`
	})
	insertNew = bulkTexts(func(n int) string {
		return `INSERT INTO jobs (root_id, path, priority, size, mtime_ns, ctime_ns, dev, ino, remote_path, created_at, updated_at, mount, seen_at, remote_key,
	gen, state, leased, not_before, attempts, class, reason, request_id)
SELECT *, 1, 0, 0, 0, 0, '', '', '' FROM (VALUES ` + rowsOf(n, 14) + `)`
	})
)

// bulkTexts makes the texts of a statement for each number of rows.
func bulkTexts(text func(rows int) string) map[int]string {
	texts := make(map[int]string, len(inserts))
	for _, n := range inserts {
		texts[n] = text(n)
	}
	return texts
}

// rowsOf is the list of values for rows of so many columns.
func rowsOf(rows, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return strings.TrimSuffix(strings.Repeat(row+",", rows), ",")
}

// insertJobs makes jobs of changes that are of paths of which nothing is known.
func insertJobs(tx *state.Tx, changes []Change, now int64, result *Enqueued) error {
	for _, n := range inserts {
		for ; len(changes) >= n; changes = changes[n:] {
			args := make([]any, 0, 14*n)
			for i := range changes[:n] {
				c := &changes[i]
				args = append(args, c.RootID, []byte(c.Path), c.Priority, c.Stat.Size, c.Stat.MtimeNs, c.Stat.CtimeNs,
					int64(c.Stat.Dev), int64(c.Stat.Ino), c.Remote, now, now, c.Stat.Mount, c.SeenAt.Milliseconds(), c.storedKey())
				result.Queued++
				result.Bytes += c.Stat.Size
			}
			if err := tx.Exec(insertNew[n], args...); err != nil {
				return fmt.Errorf("queue %q and others: %w", changes[0].Path, err)
			}
		}
	}
	return nil
}

// knownAmong tells which changes, bulk at most, are not of paths of which nothing is
// known, or want what one before them wants.
func (q *Queue) knownAmong(tx *state.Tx, changes []Change) (known [bulk]bool, err error) {
	args := make([]any, 0, 7*len(changes))
	keys := make(map[string]bool, len(changes))
	paths := make(map[Place]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		at := Place{c.RootID, c.Path}
		known[i] = keys[c.reserved()] || paths[at] || c.Hold != "" || q.ignoring.Load()
		keys[c.reserved()], paths[at] = true, true
	}
	for at := 0; at < len(changes); {
		n := 1
		for _, n = range inserts {
			if n <= len(changes)-at {
				break
			}
		}
		args = args[:0]
		for i := at; i < at+n; i++ {
			c := &changes[i]
			args = append(args, i, c.RootID, []byte(c.Path), c.Remote, c.storedKey(), c.Stat.MtimeNs, c.Stat.Size)
		}
		if err := indexes(tx, knownOf[n], args, known[:]); err != nil {
			return known, fmt.Errorf("look for what is known of %q and others: %w", changes[at].Path, err)
		}
		at += n
	}
	return known, nil
}

// indexes marks the numbers that a query gives.
func indexes(tx *state.Tx, query string, args []any, marked []bool) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var i int
		if err := rows.Scan(&i); err != nil {
			return err
		}
		marked[i] = true
	}
	return rows.Err()
}
