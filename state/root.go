package state

import (
	"context"
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
