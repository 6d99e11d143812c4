package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// searchTime bounds a search that must read many records.
const searchTime = 2 * time.Second

// Hit is a path that a search has found.
type Hit struct {
	Place
	FileID     string // "" when it was never uploaded
	RemotePath string
}

// Search finds up to n paths: by fileId, by remote path, and by a part of the local
// path. What would take longer than some seconds is left off (more is true then, as
// when there are more than n).
func (q *Queue) Search(ctx context.Context, text string, n int) (hits []Hit, more bool, err error) {
	if text == "" || n <= 0 {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	had := make(map[Place]bool)
	for _, query := range []string{
		`SELECT root_id, path, file_id, remote_path FROM files WHERE file_id = ?1 LIMIT ?2`,
		`SELECT root_id, path, file_id, remote_path FROM files WHERE remote_path = ?1 LIMIT ?2`,
		`SELECT root_id, path, '', coalesce(remote_path, '') FROM jobs WHERE instr(path, CAST(?1 AS BLOB)) > 0 LIMIT ?2`,
		`SELECT root_id, path, file_id, remote_path FROM files WHERE instr(path, CAST(?1 AS BLOB)) > 0 LIMIT ?2`,
	} {
		err := q.search(ctx, query, text, n+1, func(h Hit) {
			if !had[h.Place] {
				had[h.Place] = true
				hits = append(hits, h)
			}
		})
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return hits[:min(n, len(hits))], true, nil
		}
		if err != nil {
			return nil, false, err
		}
		if len(hits) > n {
			return hits[:n], true, nil
		}
	}
	return hits, false, nil
}

func (q *Queue) search(ctx context.Context, query, text string, n int, found func(Hit)) error {
	rows, err := q.db.Query(ctx, query, text, n)
	if err != nil {
		return fmt.Errorf("search the state file: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var h Hit
		if err := rows.Scan(&h.RootID, &h.Path, &h.FileID, &h.RemotePath); err != nil {
			return fmt.Errorf("search the state file: %w", err)
		}
		found(h)
	}
	return rows.Err()
}
