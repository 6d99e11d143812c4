package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"iksync/state/failpoint"
)

// Root is a local directory that is mirrored into a remote folder.
type Root struct {
	ID     int64
	Path   string // absolute, bytes as on disk
	Folder string // remote, "/photos"
}

// EnsureRoot returns the root at path, recording it when it is new and its
// folder when that differs. Records keep the remote paths they have: a changed
// folder is where new files go.
func (db *DB) EnsureRoot(ctx context.Context, path, folder string) (Root, error) {
	root := Root{Path: path, Folder: folder}
	err := db.Write(ctx, Durable, func(tx *Tx) error {
		if err := failpoint.Hit(failpoint.RootCommit); err != nil {
			return err
		}
		return tx.QueryRow(`INSERT INTO roots (path, folder, created_at) VALUES (?1, ?2, ?3)
			ON CONFLICT (path) DO UPDATE SET folder = ?2 RETURNING id`,
			[]byte(path), folder, time.Now().UnixMilli()).Scan(&root.ID)
	})
	if err != nil {
		return Root{}, fmt.Errorf("record root %s: %w", path, err)
	}
	return root, nil
}

// Roots returns every root that was ever recorded, by id.
func (db *DB) Roots(ctx context.Context) ([]Root, error) {
	rows, err := db.Query(ctx, `SELECT id, path, folder FROM roots ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the roots: %w", err)
	}
	defer rows.Close()
	var roots []Root
	for rows.Next() {
		var r Root
		var path []byte
		if err := rows.Scan(&r.ID, &path, &r.Folder); err != nil {
			return nil, fmt.Errorf("read the roots: %w", err)
		}
		r.Path = string(path)
		roots = append(roots, r)
	}
	return roots, rows.Err()
}

// RecordedRoot is a root with what tells its directory from others.
type RecordedRoot struct {
	Root
	// Identity is that of the directory in the last complete scan; nil before the first, and
	// empty when any is accepted next.
	Identity []byte
	// Replaced tells that the last scan has found another directory in its place.
	Replaced bool
}

// RecordedRoots returns every root that was ever recorded, by id.
func (db *DB) RecordedRoots(ctx context.Context) ([]RecordedRoot, error) {
	rows, err := db.Query(ctx, `SELECT id, path, folder, identity, stranger FROM roots ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the roots: %w", err)
	}
	defer rows.Close()
	var roots []RecordedRoot
	for rows.Next() {
		var r RecordedRoot
		var path []byte
		if err := rows.Scan(&r.ID, &path, &r.Folder, &r.Identity, &r.Replaced); err != nil {
			return nil, fmt.Errorf("read the roots: %w", err)
		}
		r.Path = string(path)
		roots = append(roots, r)
	}
	return roots, rows.Err()
}

// Sample is a file of a root as it was seen last.
type Sample struct {
	Path    string
	Size    int64
	MtimeNs int64
}

// SampleRoot returns up to limit random files of a root, recorded or queued, whose files are
// not known to be absent.
func (db *DB) SampleRoot(ctx context.Context, rootID int64, limit int) ([]Sample, error) {
	rows, err := db.Query(ctx, `SELECT path, size, mtime_ns FROM (
			SELECT path, size, mtime_ns FROM files WHERE root_id = ?1 AND absent = 0
			UNION ALL
			SELECT path, size, mtime_ns FROM jobs WHERE root_id = ?1 AND NOT EXISTS (SELECT 1 FROM files f WHERE f.root_id = ?1 AND f.path = jobs.path)
		) ORDER BY random() LIMIT ?2`, rootID, limit)
	if err != nil {
		return nil, fmt.Errorf("read files of root %d: %w", rootID, err)
	}
	defer rows.Close()
	var all []Sample
	for rows.Next() {
		var s Sample
		var path []byte
		if err := rows.Scan(&path, &s.Size, &s.MtimeNs); err != nil {
			return nil, fmt.Errorf("read files of root %d: %w", rootID, err)
		}
		s.Path = string(path)
		all = append(all, s)
	}
	return all, rows.Err()
}

// ErrRootsChanged says that the recorded roots are not what a decision was made on.
var ErrRootsChanged = errors.New("the recorded roots have changed meanwhile")

// RelocateRoot records that the directory of a root is at another path. Everything of the
// root follows, since it has the root's id. proven tells that the directory is the recorded one
// by an identity of its disk; otherwise nothing that the records hold of inodes is taken as a
// proof from then on. The root must be recorded as it is given, and the other path be free: it
// may be that of a root of which nothing is known, which ends.
func (db *DB) RelocateRoot(ctx context.Context, r Root, path, folder string, proven bool) (Root, error) {
	err := db.Write(ctx, Durable, func(tx *Tx) error {
		var n int64
		err := tx.QueryRow(`SELECT (SELECT count(*) FROM roots WHERE id = ?1 AND path = ?2)`, r.ID, []byte(r.Path)).Scan(&n)
		if err == nil && n == 0 {
			err = ErrRootsChanged
		}
		if err == nil {
			err = tx.endEmptyRoot(path)
		}
		if err == nil && !proven {
			err = tx.forgetProof(r.ID)
		}
		if err != nil {
			return err
		}
		n, err = tx.ExecRows(`UPDATE roots SET path = ?2, folder = ?3 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM roots o WHERE o.path = ?2 AND o.id <> ?1)`, r.ID, []byte(path), folder)
		if err == nil && n == 0 {
			err = fmt.Errorf("files of a root at %s are recorded: %w", path, ErrRootsChanged)
		}
		if err != nil {
			return err
		}
		return failpoint.Hit(failpoint.RelocateCommit)
	})
	if err != nil {
		return Root{}, fmt.Errorf("record that root %s is at %s: %w", r.Path, path, err)
	}
	return Root{ID: r.ID, Path: path, Folder: folder}, failpoint.Hit(failpoint.RelocateAfter)
}

// endEmptyRoot removes the root at a path if nothing at all is known of it.
func (tx *Tx) endEmptyRoot(path string) error {
	err := tx.Exec(`DELETE FROM survey WHERE root_id = (SELECT id FROM roots WHERE path = ?)`, []byte(path))
	if err != nil {
		return err
	}
	return tx.Exec(`DELETE FROM roots WHERE path = ?1
		AND NOT EXISTS (SELECT 1 FROM files f WHERE f.root_id = roots.id) AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = roots.id)
		AND NOT EXISTS (SELECT 1 FROM removed d WHERE d.root_id = roots.id) AND NOT EXISTS (SELECT 1 FROM ignored i WHERE i.root_id = roots.id)
		AND NOT EXISTS (SELECT 1 FROM attempts t WHERE t.root_id = roots.id) AND NOT EXISTS (SELECT 1 FROM aliases a WHERE a.root_id = roots.id)
		AND NOT EXISTS (SELECT 1 FROM rehash h WHERE h.root_id = roots.id)`, []byte(path))
}

// forgetProof makes the records and aliases of a root ones whose files are on no device, in no
// mount and of no change time that there is. So an equal inode number never shows that a file
// is the recorded one, and another number nothing about the file system: each file is read once,
// and compared. It is the only place that does so.
func (tx *Tx) forgetProof(rootID int64) error {
	for _, table := range []string{"files", "aliases"} {
		if err := tx.Exec(`UPDATE `+table+` SET dev = 0, ino = 0, ctime_ns = 0, mount = 0 WHERE root_id = ?`, rootID); err != nil {
			return fmt.Errorf("forget the inodes of root %d: %w", rootID, err)
		}
	}
	return nil
}

// DistrustRoot notes that the directory at a root's path is on another disk than the recorded
// one, though it holds the recorded files: the state file, or the files, were copied. Inodes
// prove nothing from then on, and nothing is inferred from what is absent until the recorded
// directory is back, or somebody approves.
func (db *DB) DistrustRoot(ctx context.Context, rootID int64) error {
	err := db.Write(ctx, Durable, func(tx *Tx) error {
		if err := tx.forgetProof(rootID); err != nil {
			return err
		}
		err := tx.Exec(`UPDATE roots SET stranger = 1, replaced_at = ? WHERE id = ? AND stranger = 0`, time.Now().UnixMilli(), rootID)
		if err != nil {
			return err
		}
		return failpoint.Hit(failpoint.DistrustCommit)
	})
	if err != nil {
		return fmt.Errorf("note that root %d is on another disk: %w", rootID, err)
	}
	return nil
}
