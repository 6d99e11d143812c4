package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"iksync/state"
	"iksync/state/failpoint"
)

// Rehome notes that the assets of a root which are outside of its folder are to be moved into
// it, and returns how many there are.
func (q *Queue) Rehome(ctx context.Context, rootID int64, folder string) (n int64, err error) {
	if n, _, err = q.Outside(ctx, rootID, folder); err != nil || n == 0 {
		return n, err
	}
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.RehomeCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE roots SET rehome = 1 WHERE id = ?`, rootID)
	})
	if err != nil {
		return 0, fmt.Errorf("note that the assets of root %d are to be moved: %w", rootID, err)
	}
	q.notify()
	return n, nil
}

// Rehoming returns a root, of those given, whose assets are to be moved into its folder; 0
// when there is none. It waits until no intent is set aside: what is below a folder is not known
// before.
func (q *Queue) Rehoming(ctx context.Context, roots []int64) (root int64, err error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return 0, err
	}
	rows, err := q.db.Query(ctx, `SELECT coalesce(min(id), 0) FROM roots WHERE rehome <> 0 AND id IN (SELECT value FROM json_each(?))
		AND NOT EXISTS (SELECT 1 FROM intents WHERE aside <> 0)`, string(ids))
	if err != nil {
		return 0, fmt.Errorf("look for assets that are to be moved: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&root)
	}
	return root, err
}

// OutsideOf returns a record of a root whose asset is outside of a folder; nil when there is none.
func (q *Queue) OutsideOf(ctx context.Context, rootID int64, folder string) (f *state.File, err error) {
	begin, end := folderRange(folder)
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		page, err := tx.FilesWhere(`f.root_id = ? AND NOT (f.remote_path > ? AND f.remote_path < ?) ORDER BY f.id LIMIT 1`, rootID, begin, end)
		if len(page) > 0 {
			f = page[0]
		}
		return err
	})
	return f, err
}

// folderRange are the bounds of the remote paths below a folder.
func folderRange(folder string) (begin, end string) {
	if folder == "/" {
		return "/", "0"
	}
	return folder + "/", folder + "0"
}

// Whole tells what keeps a folder that mirrors a root from being moved as a whole: "" when
// all assets that are recorded below it are the root's, and none is in the folder that it is to
// become. It returns how many there are, too.
func (q *Queue) Whole(ctx context.Context, rootID int64, source, target string) (why string, n int64, err error) {
	rows, err := q.db.Query(ctx, `SELECT
			(SELECT count(*) FROM files WHERE remote_path > ?2 AND remote_path < ?3),
			(SELECT count(*) FROM files WHERE remote_path > ?2 AND remote_path < ?3 AND root_id <> ?1),
			(SELECT count(*) FROM files WHERE remote_path > ?4 AND remote_path < ?5)`, rootID, source+"/", source+"0", target+"/", target+"0")
	if err != nil {
		return "", 0, fmt.Errorf("look into folder %s: %w", source, err)
	}
	defer rows.Close()
	var others, occupied int64
	if rows.Next() {
		err = rows.Scan(&n, &others, &occupied)
	}
	switch {
	case err != nil:
		return "", 0, fmt.Errorf("look into folder %s: %w", source, err)
	case others > 0:
		why = "files of other roots are in the folder"
	case occupied > 0:
		why = "files are recorded in the new folder"
	}
	return why, n, nil
}

// Rehomed ends what Rehome began: assets that are outside of the root's folder still are moved
// one by one from then on, as assets that are not where their records' paths have them.
func (q *Queue) Rehomed(ctx context.Context, rootID int64, folder string) error {
	begin, end := folderRange(folder)
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		err := tx.Exec(`UPDATE files SET astray = 1 WHERE root_id = ? AND NOT (remote_path > ? AND remote_path < ?)`, rootID, begin, end)
		if err == nil {
			err = failpoint.Hit(failpoint.RehomedCommit)
		}
		if err != nil {
			return err
		}
		return tx.Exec(`UPDATE roots SET rehome = 0 WHERE id = ?`, rootID)
	})
	if err != nil {
		return fmt.Errorf("note which assets of root %d are to be moved: %w", rootID, err)
	}
	q.notify()
	return nil
}
