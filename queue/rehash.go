package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"iksync/state"
)

// ClassAltered is the class of a file whose content changed while its size and times did
// not. Only a person may send it: the disk may be damaged.
const ClassAltered = "altered"

// RehashPass is a pass that reads every recorded file of a root again.
type RehashPass struct {
	RootID int64
	After  string // files up to this path have been read
	Began  time.Time
	Read   int64     // files
	Ended  time.Time // the zero time while it goes on
}

// Rehash returns the pass of a root, a new one when there is none.
func (q *Queue) Rehash(ctx context.Context, rootID int64) (p RehashPass, err error) {
	p = RehashPass{RootID: rootID, Began: q.now()}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var began int64
		var ended sql.NullInt64
		var after []byte
		err := tx.QueryRow(`SELECT after, began_at, read, ended_at FROM rehash WHERE root_id = ?`, rootID).Scan(&after, &began, &p.Read, &ended)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		p.After, p.Began = string(after), time.UnixMilli(began)
		if ended.Valid {
			p.Ended = time.UnixMilli(ended.Int64)
		}
		return err
	})
	if err != nil {
		return p, fmt.Errorf("read how far files have been read again: %w", err)
	}
	return p, nil
}

// NoteRehash keeps how far a pass has come.
func (q *Queue) NoteRehash(ctx context.Context, p RehashPass) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var ended any
		if !p.Ended.IsZero() {
			ended = p.Ended.UnixMilli()
		}
		return tx.Exec(`INSERT INTO rehash (root_id, after, began_at, read, ended_at) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (root_id) DO UPDATE SET after = ?2, began_at = ?3, read = ?4, ended_at = ?5`, p.RootID, []byte(p.After), p.Began.UnixMilli(), p.Read, ended)
	})
	if err != nil {
		return fmt.Errorf("note how far files have been read again: %w", err)
	}
	return nil
}

// ToRehash returns the next records of a pass, n at most, in the order of their paths.
func (q *Queue) ToRehash(ctx context.Context, p RehashPass, n int) (files []*state.File, err error) {
	for f, err := range q.db.FilesWhere(ctx, `f.root_id = ? AND f.path > ? ORDER BY f.path LIMIT ?`, p.RootID, []byte(p.After), n) {
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// LeftToRehash counts the files that a pass has not come to, and their bytes. It reads
// every record of them.
func (q *Queue) LeftToRehash(ctx context.Context, p RehashPass) (files, bytes int64, err error) {
	if err := q.one(ctx, &files, `SELECT count(*) FROM files WHERE root_id = ? AND path > ?`, p.RootID, []byte(p.After)); err != nil {
		return 0, 0, err
	}
	return files, bytes, q.one(ctx, &bytes, `SELECT coalesce(sum(size), 0) FROM files WHERE root_id = ? AND path > ?`, p.RootID, []byte(p.After))
}

// Altered lists the file of a record as failed: its content is another, and nothing else
// shows that. It does nothing when the path has a job, or its record is another by now.
func (q *Queue) Altered(ctx context.Context, f *state.File, st state.Stat, reason string) (noted bool, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		now := q.now().UnixMilli()
		n, err := tx.ExecRows(`INSERT INTO jobs (root_id, path, gen, state, leased, priority, not_before, attempts,
				size, mtime_ns, ctime_ns, dev, ino, mount, remote_path, class, reason, request_id, created_at, updated_at)
			SELECT root_id, path, 1, 2, 0, 0, 0, 0, ?3, ?4, ?5, ?6, ?7, ?8, remote_path, ?9, ?10, '', ?11, ?11
			FROM files f WHERE id = ?1 AND hash = ?2 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.remote_path = f.remote_path)
			ON CONFLICT (root_id, path) DO NOTHING`,
			f.ID, f.Hash[:], st.Size, st.MtimeNs, st.CtimeNs, int64(st.Dev), int64(st.Ino), st.Mount, ClassAltered, reason, now)
		noted = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note that the content of %q is another: %w", f.Path, err)
	}
	return noted, nil
}
