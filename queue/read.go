package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"iksync/state"
)

// Known is what the state file knows of a path: its record, or its job.
type Known struct {
	Path   string
	Stat   state.Stat    // without Dev
	Job    bool          // a job; else a record
	State  State         // of the job
	Reason string        // why the job is held; "" otherwise
	Absent state.Absence // of a record
}

// Known returns at most limit rows of a root whose paths come after the given
// one, in the order of their bytes; a path that has both a record and a job
// has two, and they are never parted. more tells whether there is a next page;
// limit must be 4 or more: a damaged file can have three rows of a path, the third
// an alias. It is one statement and so one snapshot: what moves from job to
// record meanwhile is seen on one side or the other, never on neither.
func (q *Queue) Known(ctx context.Context, rootID int64, after string, limit int) (known []Known, more bool, err error) {
	return q.KnownBelow(ctx, rootID, "", after, limit)
}

const (
	knownAll = `SELECT path, size, mtime_ns, ctime_ns, ino, -1 AS state, '' AS reason, absent, mount FROM files WHERE root_id = ?1 AND path > ?2
		UNION ALL
		SELECT path, size, mtime_ns, ctime_ns, ino, iif(leased, 1, state), iif(state = 3, reason, ''), 0, mount FROM jobs WHERE root_id = ?1 AND path > ?2
		UNION ALL
		SELECT path, size, mtime_ns, ctime_ns, ino, -1, '', 0, mount FROM aliases WHERE root_id = ?1 AND path > ?2
		ORDER BY path LIMIT ?3`
	knownBelow = `SELECT path, size, mtime_ns, ctime_ns, ino, -1 AS state, '' AS reason, absent, mount FROM files WHERE root_id = ?1 AND path > ?2 AND path < ?4
		UNION ALL
		SELECT path, size, mtime_ns, ctime_ns, ino, iif(leased, 1, state), iif(state = 3, reason, ''), 0, mount FROM jobs WHERE root_id = ?1 AND path > ?2 AND path < ?4
		UNION ALL
		SELECT path, size, mtime_ns, ctime_ns, ino, -1, '', 0, mount FROM aliases WHERE root_id = ?1 AND path > ?2 AND path < ?4
		ORDER BY path LIMIT ?3`
)

// KnownBelow is Known for what is below a directory of the root.
func (q *Queue) KnownBelow(ctx context.Context, rootID int64, dir, after string, limit int) (known []Known, more bool, err error) {
	var rows *sql.Rows
	if dir == "" {
		rows, err = q.db.Query(ctx, knownAll, rootID, []byte(after), limit)
	} else {
		// In the order of bytes all paths below "dir/" come before "dir0".
		rows, err = q.db.Query(ctx, knownBelow, rootID, []byte(max(after, dir+"/")), limit, []byte(dir+"0"))
	}
	if err != nil {
		return nil, false, fmt.Errorf("read what is known of root %d: %w", rootID, err)
	}
	defer rows.Close()
	known = make([]Known, 0, limit)
	for rows.Next() {
		var k Known
		var ino, st int64
		if err := rows.Scan(&k.Path, &k.Stat.Size, &k.Stat.MtimeNs, &k.Stat.CtimeNs, &ino, &st, &k.Reason, &k.Absent, &k.Stat.Mount); err != nil {
			return nil, false, fmt.Errorf("read what is known of root %d: %w", rootID, err)
		}
		k.Stat.Ino = uint64(ino)
		k.Job, k.State = st >= 0, State(st)
		known = append(known, k)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("read what is known of root %d: %w", rootID, err)
	}
	if len(known) < limit {
		return known, false, nil
	}
	// The second row of the last path may be on the next page: that page begins with the path.
	last := known[len(known)-1].Path
	for known[len(known)-1].Path == last {
		known = known[:len(known)-1]
	}
	return known, true, nil
}

// Content returns what the record tells of the content of its asset. Its hash is not
// read here: who reads the file compares with it.
func (k *Known) Content() state.Content { return state.Content{Stat: k.Stat, Read: true} }

// Ignored reports that the path's job is held because it is left out.
func (k *Known) Ignored() bool { return k.Job && k.State == Held && k.Reason == reasonIgnored }

// Pair is what is known of one path; nil where there is nothing.
type Pair struct {
	Record, Job *Known
}

// Lookup returns what is known of each of the paths, in their order.
func (q *Queue) Lookup(ctx context.Context, rootID int64, paths []string) ([]Pair, error) {
	pairs := make([]Pair, len(paths))
	for i, path := range paths {
		rows, err := q.db.Query(ctx, `SELECT size, mtime_ns, ctime_ns, ino, -1, '', absent, mount FROM files WHERE root_id = ?1 AND path = ?2
			UNION ALL
			SELECT size, mtime_ns, ctime_ns, ino, iif(leased, 1, state), iif(state = 3, reason, ''), 0, mount FROM jobs WHERE root_id = ?1 AND path = ?2
			UNION ALL
			SELECT size, mtime_ns, ctime_ns, ino, -1, '', 0, mount FROM aliases WHERE root_id = ?1 AND path = ?2`,
			rootID, []byte(path))
		if err != nil {
			return nil, fmt.Errorf("look up %q: %w", path, err)
		}
		for rows.Next() {
			k := Known{Path: path}
			var ino, st int64
			if err = rows.Scan(&k.Stat.Size, &k.Stat.MtimeNs, &k.Stat.CtimeNs, &ino, &st, &k.Reason, &k.Absent, &k.Stat.Mount); err != nil {
				break
			}
			k.Stat.Ino = uint64(ino)
			k.Job, k.State = st >= 0, State(st)
			if k.Job {
				pairs[i].Job = &k
			} else {
				pairs[i].Record = &k
			}
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("look up %q: %w", path, err)
		}
	}
	return pairs, nil
}

// Item is a job as it is listed.
type Item struct {
	RootID    int64
	Path      string
	State     State
	Size      int64
	Attempts  int
	Class     string
	Reason    string
	RequestID string
	NotBefore time.Time
	UpdatedAt time.Time
}

// List returns the jobs of the roots in a state, in the order they were made.
// The sequence ends after the first error.
func (q *Queue) List(ctx context.Context, roots []int64, s State) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		ids, err := json.Marshal(roots)
		if err != nil {
			yield(Item{}, fmt.Errorf("list jobs: %w", err))
			return
		}
		rows, err := q.db.Query(ctx, `SELECT root_id, path, iif(leased, 1, state), size, attempts, class, reason, request_id, not_before, updated_at
			FROM jobs WHERE iif(leased, 1, state) = ? AND root_id IN (SELECT value FROM json_each(?)) ORDER BY id`, int(s), string(ids))
		scanItems(rows, err, yield)
	}
}

// scanItems yields the rows of a query for items, and closes them.
func scanItems(rows *sql.Rows, err error, yield func(Item, error) bool) {
	if err != nil {
		yield(Item{}, fmt.Errorf("list jobs: %w", err))
		return
	}
	defer rows.Close()
	for rows.Next() {
		var it Item
		var st int
		var notBefore, updated int64
		if err := rows.Scan(&it.RootID, &it.Path, &st, &it.Size, &it.Attempts, &it.Class, &it.Reason, &it.RequestID, &notBefore, &updated); err != nil {
			yield(Item{}, fmt.Errorf("list jobs: %w", err))
			return
		}
		it.State, it.NotBefore, it.UpdatedAt = State(st), time.UnixMilli(notBefore), time.UnixMilli(updated)
		if !yield(it, nil) {
			return
		}
	}
	if err := rows.Err(); err != nil {
		yield(Item{}, fmt.Errorf("list jobs: %w", err))
	}
}

// Depth counts the jobs of a state, and their bytes.
type Depth struct {
	Jobs  int64
	Bytes int64
}

// Depths counts the jobs of the roots by state.
func (q *Queue) Depths(ctx context.Context, roots []int64) (map[State]Depth, error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	rows, err := q.db.Query(ctx, `SELECT iif(leased, 1, state), count(*), sum(size) FROM jobs WHERE root_id IN (SELECT value FROM json_each(?)) GROUP BY 1`, string(ids))
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	depths := make(map[State]Depth)
	for rows.Next() {
		var s int
		var d Depth
		if err := rows.Scan(&s, &d.Jobs, &d.Bytes); err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		depths[State(s)] = d
	}
	return depths, rows.Err()
}
