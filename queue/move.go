package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
)

// Move is a job whose file is, by what the file system says, that of another
// path's record: the donor.
type Move struct {
	JobID    int64
	RootID   int64
	Path     string
	Stat     state.Stat
	SeenAt   time.Duration // since when the file is so, by [state.Uptime]; 0 when that is not known
	Remote   string        // where the asset is to go
	Attempts int
	// NotBefore is when it may be tried again.
	NotBefore time.Time
	Donor     *state.File
	// WantedKey is, of an asset that gets a suffix, that of its record: see [state.File].
	WantedKey string

	gen int64 // of the job: what is decided of an earlier change says nothing of a later one
}

// Gen is the generation of the job that the move was read at.
func (m *Move) Gen() int64 { return m.gen }

// Place is where the file is by now.
func (m *Move) Place() Place { return Place{m.RootID, m.Path} }

const moveColumns = `j.id, j.root_id, j.path, j.size, j.mtime_ns, j.ctime_ns, j.dev, j.ino, j.remote_path, j.attempts, j.not_before, j.donor, j.gen, j.mount, j.seen_at`

// Undecided returns a move of which nobody has looked yet whether it is one of a
// whole directory; nil when there is none. next is then when the earliest backoff
// ends; the zero time when none waits.
func (q *Queue) Undecided(ctx context.Context, roots []int64) (m *Move, next time.Time, err error) {
	return q.nextMove(ctx, roots, 1)
}

// NextMove is Undecided for moves of single files.
func (q *Queue) NextMove(ctx context.Context, roots []int64) (m *Move, next time.Time, err error) {
	return q.nextMove(ctx, roots, 2)
}

func (q *Queue) nextMove(ctx context.Context, roots []int64, kind int) (m *Move, next time.Time, err error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return nil, time.Time{}, err
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		m, next = nil, time.Time{}
		now := q.now()
		var err error
		m, err = oneMove(tx, `SELECT `+moveColumns+` FROM jobs j INDEXED BY jobs_moves WHERE j.state = 0 AND j.move <> 0 AND j.move = ? AND j.not_before <= ? AND j.leased = 0
			AND NOT `+unresolvedJ+` AND NOT EXISTS (SELECT 1 FROM files f WHERE f.id = j.donor AND `+unresolvedF+`) AND +j.root_id IN (SELECT value FROM json_each(?)) ORDER BY j.not_before, j.id LIMIT 1`, kind, now.UnixMilli(), string(ids))
		if err != nil || m != nil {
			return err
		}
		var ms int64
		err = tx.QueryRow(`SELECT j.not_before FROM jobs j INDEXED BY jobs_moves WHERE j.state = 0 AND j.move <> 0 AND j.move = ? AND j.not_before > ? AND +j.root_id IN (SELECT value FROM json_each(?)) ORDER BY j.not_before LIMIT 1`,
			kind, now.UnixMilli(), string(ids)).Scan(&ms)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		next = time.UnixMilli(ms)
		return err
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("look for files that were moved: %w", err)
	}
	return m, next, nil
}

// MoveOf returns the move that has a record for its donor, nil when there is none. Of
// several it is the one whose file has the record's inode.
func (q *Queue) MoveOf(ctx context.Context, donor int64) (m *Move, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		m, err = oneMove(tx, `SELECT `+moveColumns+` FROM jobs j JOIN files f ON f.id = j.donor
			WHERE j.donor = ? AND j.state = 0 AND j.move <> 0 AND j.leased = 0 ORDER BY (j.mount = 0 AND f.mount = 0 AND j.ino = f.ino) DESC, j.id LIMIT 1`, donor)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the move of a record: %w", err)
	}
	return m, nil
}

// MoveTo returns the move of the file at a path, nil when it has none.
func (q *Queue) MoveTo(ctx context.Context, at Place) (m *Move, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		m, err = oneMove(tx, `SELECT `+moveColumns+` FROM jobs j WHERE j.root_id = ? AND j.path = ? AND j.state = 0 AND j.move <> 0`, at.RootID, []byte(at.Path))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the move of %q: %w", at.Path, err)
	}
	return m, nil
}

// IsDonor reports whether the file of a path's record is another job's, elsewhere.
func (q *Queue) IsDonor(ctx context.Context, rootID int64, path string) (is bool, err error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM files f JOIN jobs j ON j.donor = f.id WHERE f.root_id = ? AND f.path = ?)`, rootID, []byte(path))
}

// oneMove reads the one row of a query, and its donor.
func oneMove(tx *state.Tx, query string, args ...any) (*Move, error) {
	var m Move
	var path []byte
	var dev, ino, donor, notBefore, seen int64
	var remote sql.NullString
	err := tx.QueryRow(query, args...).Scan(&m.JobID, &m.RootID, &path, &m.Stat.Size, &m.Stat.MtimeNs, &m.Stat.CtimeNs, &dev, &ino,
		&remote, &m.Attempts, &notBefore, &donor, &m.gen, &m.Stat.Mount, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.NotBefore, m.SeenAt = time.UnixMilli(notBefore), time.Duration(seen)*time.Millisecond
	m.Path, m.Remote, m.Stat.Dev, m.Stat.Ino = string(path), remote.String, uint64(dev), uint64(ino)
	m.Donor, err = tx.FileByID(donor)
	if err == nil && m.Donor == nil {
		err = fmt.Errorf("the donor of %q is not recorded", m.Path)
	}
	return &m, err
}

// ToUpload makes a move an upload like any other: it is none, or can't be done. A
// change that came since the move was read leaves it as it is.
func (q *Queue) ToUpload(ctx context.Context, m *Move) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		// The remote path may be the donor's, which is nobody else's now.
		remote, err := q.freeRemote(tx, m.RootID, m.Path, m.Remote)
		if err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.ToUploadCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE jobs SET move = 0, donor = NULL, not_before = 0, attempts = 0, class = '', reason = '', request_id = '', remote_path = ?, remote_key = ?
			WHERE id = ? AND gen = ? AND move <> 0 AND leased = 0`, remote, keyOf(remote), m.JobID, m.gen)
	})
	if err != nil {
		return fmt.Errorf("queue the upload of %q: %w", m.Path, err)
	}
	q.notify()
	return nil
}

// Decide makes the move, and the others that go directly from one directory to
// the other, moves of single files.
func (q *Queue) Decide(ctx context.Context, m *Move) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		if err := tx.Exec(`UPDATE jobs SET move = 2 WHERE id = ? AND gen = ? AND move = 1`, m.JobID, m.gen); err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.DecideCommit); err != nil {
			return err
		}
		dir, from := path.Dir(m.Path), path.Dir(m.Donor.Path)
		if dir == "." || from == "." || path.Base(m.Path) != path.Base(m.Donor.Path) {
			return nil
		}
		return tx.Exec(`UPDATE jobs SET move = 2 WHERE move = 1 AND root_id = ?1 AND path > ?2 AND path < ?3 AND instr(substr(path, ?4), x'2f') = 0
			AND EXISTS (SELECT 1 FROM files f WHERE f.id = jobs.donor AND f.root_id = ?5 AND f.path > ?6 AND f.path < ?7)`,
			m.RootID, []byte(dir+"/"), []byte(dir+"0"), len(dir)+2, m.Donor.RootID, []byte(from+"/"), []byte(from+"0"))
	})
	if err != nil {
		return fmt.Errorf("queue the move of %q: %w", m.Path, err)
	}
	q.notify()
	return nil
}

// PutOff lets a move wait after a failure, which is counted unless f is Free. Without a
// class the reason of the failure before stays.
func (q *Queue) PutOff(ctx context.Context, m *Move, f Failure) error {
	counted := 1
	if f.Free {
		counted = 0
	}
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE jobs SET not_before = ?1, attempts = attempts + ?2, class = iif(?3 = '', class, ?3), reason = iif(?3 = '', reason, ?4),
				request_id = iif(?3 = '', request_id, ?5) WHERE id = ?6 AND move <> 0`,
			max(f.NotBefore.UnixMilli(), 0), counted, f.Class, f.Reason, f.RequestID, m.JobID)
	})
	if err != nil {
		return fmt.Errorf("put off the move of %q: %w", m.Path, err)
	}
	return nil
}

// ErrOccupied says that another record has the place where one is to go.
var ErrOccupied = errors.New("another record is there")

// Relabel gives records the local paths that their files have by now, all in one
// transaction, so that they may change places; and removes the jobs of the moves.
// A job that took a later change meanwhile stays, as an upload.
func (q *Queue) Relabel(ctx context.Context, moves []*Move) error {
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		for _, m := range moves {
			// No file has a name with a zero byte in it.
			if err := tx.Exec(`UPDATE files SET path = CAST(char(0) || id AS BLOB) WHERE id = ?`, m.Donor.ID); err != nil {
				return err
			}
		}
		for _, m := range moves {
			var taken bool
			err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM files WHERE root_id = ? AND path = ?)`, m.RootID, []byte(m.Path)).Scan(&taken)
			if err == nil && taken {
				err = ErrOccupied
			}
			if err == nil {
				err = tx.Exec(`UPDATE files SET root_id = ?2, path = ?3, size = ?4, mtime_ns = ?5, ctime_ns = ?6, dev = ?7, ino = ?8,
					absent = 0, absent_at = 0, kept = 0, astray = 0, checked_at = ?9, mount = ?10, wanted_key = ?11, vacated = ?11 IS NOT NULL WHERE id = ?1`, m.Donor.ID, m.RootID, []byte(m.Path),
					m.Stat.Size, m.Stat.MtimeNs, m.Stat.CtimeNs, int64(m.Stat.Dev), int64(m.Stat.Ino), q.now().UnixMilli(), m.Stat.Mount,
					sql.NullString{String: m.WantedKey, Valid: m.WantedKey != ""})
			}
			if err == nil {
				err = arrived(tx, m.RootID, m.Path)
			}
			if err != nil {
				return fmt.Errorf("%q: %w", m.Path, err)
			}
		}
		return failpoint.Hit(failpoint.RelabelCommit)
	})
	if err != nil {
		return fmt.Errorf("record where files were moved to: %w", err)
	}
	q.notify()
	return failpoint.Hit(failpoint.RelabelAfter)
}

// arrived removes the job of a path that has a record by now, if that shows the
// file as the job does; else it makes it an upload.
func arrived(tx *state.Tx, rootID int64, path string) error {
	n, err := tx.ExecRows(`DELETE FROM jobs WHERE root_id = ?1 AND path = ?2 AND EXISTS (SELECT 1 FROM files f WHERE f.root_id = ?1 AND f.path = ?2
		AND f.size = jobs.size AND f.mtime_ns = jobs.mtime_ns AND f.ctime_ns = jobs.ctime_ns AND f.ino = jobs.ino)`, rootID, []byte(path))
	if err != nil || n > 0 {
		return err
	}
	err = tx.Exec(`UPDATE jobs SET move = 0, donor = NULL, state = iif(state = 3, 3, 0), not_before = iif(leased, not_before, 0)
		WHERE root_id = ?1 AND path = ?2`, rootID, []byte(path))
	if err != nil {
		return err
	}
	// What it has reserved frees a name; should another job have the record's, that waits.
	return tx.Exec(`UPDATE OR IGNORE jobs SET (remote_path, remote_key) = (SELECT f.remote_path, f.remote_key FROM files f WHERE f.root_id = ?1 AND f.path = ?2)
		WHERE root_id = ?1 AND path = ?2 AND state <> 3`, rootID, []byte(path))
}
