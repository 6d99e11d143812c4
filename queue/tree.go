package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// Tree is a directory whose files are all elsewhere by now: in another directory.
type Tree struct {
	From, To       Place  // local directories
	Source, Target string // remote folders

	Records int64 // below From
	Alike   int64 // of them of which a file is below To with their size and time
	Matched int64 // of those whose file that is by a proven identity

	// Obstacle is why the remote folder can't be moved as a whole; "" when the
	// records know of nothing.
	Obstacle string
	// Ahead is the donor of another move that must be done before: its asset is in
	// the way. 0 when there is none.
	Ahead int64
}

// treeQuery is one statement and so of one moment. Its parameters: the directory before
// (1 root, 2 begin and 3 end of its paths), its folder (4, 5), the root of the directory
// after (6), the folder that it is to become (7, 8), where the rest of a remote path begins
// (9), the begin of the paths after (10), and where the rest of a path begins (11). Names
// are compared by their keys, with those of the folder that it is to become (12, 13).
const treeQuery = `SELECT * FROM
	(SELECT count(*), coalesce(sum(NOT (f.remote_path > ?4 AND f.remote_path < ?5)), 0) FROM files f WHERE f.root_id = ?1 AND f.path > ?2 AND f.path < ?3),
	(SELECT count(*), coalesce(sum(j.ctime_ns = f.ctime_ns AND j.ino = f.ino AND j.dev = f.dev AND j.mount = 0 AND f.mount = 0), 0), coalesce(sum(coalesce(j.remote_key, j.remote_path) IS NOT ?12 || substr(coalesce(f.remote_key, f.remote_path), ?9)), 0)
		FROM files f JOIN jobs j ON j.donor = f.id
		WHERE f.root_id = ?1 AND f.path > ?2 AND f.path < ?3 AND j.root_id = ?6 AND j.move <> 0 AND j.leased = 0
			AND j.path = CAST(?10 || substr(f.path, ?11) AS BLOB)
			AND j.size = f.size AND j.mtime_ns = f.mtime_ns),
	(SELECT count(*) FROM files f WHERE f.remote_path > ?4 AND f.remote_path < ?5 AND NOT (f.root_id = ?1 AND f.path > ?2 AND f.path < ?3)),
	(SELECT count(*), coalesce(min((SELECT j.donor FROM jobs j WHERE j.donor = f.id AND j.move = 1)), 0) FROM files f WHERE f.remote_path > ?7 AND f.remote_path < ?8),
	(SELECT count(*) FROM files f WHERE ?12 <> ?7 AND f.remote_path > ?12 AND f.remote_path < ?13 AND NOT (f.root_id = ?1 AND f.path > ?2 AND f.path < ?3)),
	(SELECT count(*) FROM files f WHERE f.remote_key > ?12 AND f.remote_key < ?13 AND NOT (f.root_id = ?1 AND f.path > ?2 AND f.path < ?3)),
	(SELECT count(*) FROM jobs j WHERE j.unsure <> 0 AND j.remote_path > ?4 AND j.remote_path < ?5),
	(SELECT count(*) FROM intents i WHERE i.aside <> 0 AND (i.source > ?4 AND i.source < ?5 OR i.target > ?4 AND i.target < ?5 OR i.source > ?7 AND i.source < ?8 OR i.target > ?7 AND i.target < ?8
		OR i.kind IN (2, 6) AND (?4 >= i.source || '/' AND ?4 < i.source || '0' OR i.target <> '' AND ?4 >= i.target || '/' AND ?4 < i.target || '0'
			OR ?7 >= i.source || '/' AND ?7 < i.source || '0' OR i.target <> '' AND ?7 >= i.target || '/' AND ?7 < i.target || '0')))`

// Tree looks into what the records and jobs know of a directory that seems to
// have been moved. Source and Target are the remote folders of the directories.
func (q *Queue) Tree(ctx context.Context, t *Tree) error {
	from, to := t.From.Path+"/", t.To.Path+"/"
	var outside, misplaced, renamed, occupied, asSafe, asKept, ahead, unsure, aside int64
	// With a million records that takes seconds, so the writer is not held meanwhile: what
	// comes between is looked at again when the move is intended.
	rows, err := q.db.Query(ctx, treeQuery, t.From.RootID, []byte(from), []byte(t.From.Path+"0"), t.Source+"/", t.Source+"0",
		t.To.RootID, t.Target+"/", t.Target+"0", len([]rune(names.FolderKey(t.Source)))+2, to, len(from)+1, names.FolderKey(t.Target)+"/", names.FolderKey(t.Target)+"0")
	if err == nil {
		defer rows.Close()
		if rows.Next() {
			err = rows.Scan(&t.Records, &misplaced, &t.Alike, &t.Matched, &renamed, &outside, &occupied, &ahead, &asSafe, &asKept, &unsure, &aside)
		}
		err = errors.Join(err, rows.Err())
	}
	if err != nil {
		return fmt.Errorf("look into the move of directory %q: %w", t.From.Path, err)
	}
	t.Obstacle, t.Ahead = "", ahead
	switch {
	case misplaced > 0:
		t.Obstacle = "files of it are elsewhere in the library"
	case outside > 0:
		t.Obstacle = "files of others are in its folder"
	case renamed > 0:
		t.Obstacle = "files of it have other names in the library"
	case unsure > 0: // it is looked for where it was sent to
		t.Obstacle = "an upload into its folder had no answer yet"
	case aside > 0:
		t.Obstacle = "the outcome of a call about its folder is not known"
	case occupied+asSafe+asKept > 0:
		t.Obstacle = "the folder that it is to become is in use"
	}
	return nil
}

// underFolder is the condition for records of assets below a remote folder, in the
// order of their remote paths.
const underFolder = `f.remote_path > ? AND f.remote_path < ? ORDER BY f.remote_path`

// MovedTree records that a folder of the library was moved with all that is in
// it, and removes the intent: each record gets the path of its asset, and the
// local path that its file has by now. It takes several transactions, so that others
// go on meanwhile; until the last the intent stays, and with it all that it keeps
// away from both folders, so that what a crash has left is found and done. where gives
// the URLs of an asset that has moved to remote. then, when not nil, is the intent to
// move it further, which takes the place of the first.
func (q *Queue) MovedTree(ctx context.Context, i, then *Intent, where func(f *state.File, remote string) (url, thumbnail string)) (moved int64, err error) {
	for last := false; !last; {
		var n int
		err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
			page, err := tx.FilesWhere(underFolder+` LIMIT ?`, i.Source+"/", i.Source+"0", treePage)
			if err != nil {
				return err
			}
			if n, last = len(page), len(page) < treePage; last {
				return nil // they go with the intent
			}
			for _, f := range page {
				if err := moveRecord(tx, i, f, where); err != nil {
					return fmt.Errorf("%q: %w", f.Path, err)
				}
			}
			return failpoint.Hit(failpoint.MovedPageCommit)
		})
		if err != nil {
			return moved, fmt.Errorf("record what became of %s: %w", i.Source, err)
		}
		if !last {
			moved += int64(n)
		}
	}
	var n int
	err = q.settle(ctx, i, func(tx *state.Tx) error {
		page, err := tx.FilesWhere(underFolder, i.Source+"/", i.Source+"0")
		if err != nil {
			return err
		}
		n = len(page)
		for _, f := range page {
			if err := moveRecord(tx, i, f, where); err != nil {
				return fmt.Errorf("%q: %w", f.Path, err)
			}
		}
		if err := forgetFolders(tx, i.Source); err != nil { // who made what is known of the old path alone
			return err
		}
		if then != nil {
			if err := insertIntent(tx, then, q.now()); err != nil {
				return err
			}
		}
		if err := failpoint.Hit(failpoint.MovedTreeCommit); err != nil {
			return err
		}
		return dropIntent(tx, i)
	})
	return moved + int64(n), err
}

func moveRecord(tx *state.Tx, i *Intent, f *state.File, where func(*state.File, string) (string, string)) error {
	remote := i.Target + strings.TrimPrefix(f.RemotePath, i.Source)
	url, thumbnail := where(f, remote)
	below, ok := strings.CutPrefix(f.Path, i.From.Path+"/")
	ok = ok && f.RootID == i.From.RootID
	to := i.To.Path + "/" + below
	if follow := func(url string) string { return strings.TrimSuffix(url, f.RemotePath) + remote }; ok && url == follow(f.URL) && (thumbnail == "" || thumbnail == follow(f.ThumbnailURL)) {
		plain, err := movePlainRecord(tx, f, remote, Place{i.To.RootID, to})
		if err != nil || plain {
			return err
		}
	}
	err := tx.MoveAsset(f, remote, url, thumbnail)
	if err != nil || !ok {
		return err
	}
	// None of the records' files is where it was. What is at the new place is the
	// record's own, or was put in its place since; or the file is gone from there. But
	// a record whose file is elsewhere by now goes with that.
	n, err := tx.ExecRows(`UPDATE files SET root_id = ?2, path = ?3, astray = 0, wanted_key = NULL, `+nowhereRead+` WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM files o WHERE o.root_id = ?2 AND o.path = ?3)
		AND (EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = ?2 AND j.path = ?3 AND j.donor = ?1) OR NOT EXISTS (SELECT 1 FROM jobs o WHERE o.donor = ?1))`,
		f.ID, i.To.RootID, []byte(to))
	if err == nil && n == 0 {
		return tx.Exec(`UPDATE files SET astray = 1 WHERE id = ?`, f.ID)
	}
	if err != nil {
		return err
	}
	err = tx.Exec(`UPDATE files SET absent = 0, absent_at = 0, kept = 0 WHERE id = ?1 AND EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = ?2 AND j.path = ?3)`,
		f.ID, i.To.RootID, []byte(to))
	if err != nil {
		return err
	}
	return arrived(tx, i.To.RootID, to)
}

// nowhereRead notes of a record that gets another path that its content was read in no
// mount there, where identity is not proven.
const nowhereRead = `mount = iif(mount = 0, 0, -1)`

// movePlainRecord is moveRecord for the usual case: what the record tells of its asset
// follows from its remote path, and its file has a job as the donor's at the new place.
// Else it does nothing and returns false.
func movePlainRecord(tx *state.Tx, f *state.File, remote string, to Place) (bool, error) {
	n, err := tx.ExecRows(`UPDATE files SET remote_path = ?2, remote_key = ?5, wanted_key = NULL, root_id = ?3, path = ?4, astray = 0, absent = 0, absent_at = 0, kept = 0, `+nowhereRead+`
		WHERE id = ?1 AND form IS NOT NULL AND name = '' AND url = '' AND thumbnail_url = ''
			AND NOT EXISTS (SELECT 1 FROM files o WHERE o.root_id = ?3 AND o.path = ?4)
			AND EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = ?3 AND j.path = ?4 AND j.donor = ?1)`,
		f.ID, remote, to.RootID, []byte(to.Path), keyOf(remote))
	if err != nil || n == 0 {
		return false, err
	}
	return true, arrived(tx, to.RootID, to.Path)
}

// SomeOf returns a record of an asset that is below a remote folder, nil when
// there is none: where its asset is tells where the folder is.
func (q *Queue) SomeOf(ctx context.Context, folder string) (f *state.File, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		page, err := tx.FilesWhere(underFolder+` LIMIT ?`, folder+"/", folder+"0", 1)
		if len(page) > 0 {
			f = page[0]
		}
		return err
	})
	return f, err
}

// FilesBelow returns the records below a directory, in the order of their paths.
// The sequence ends after the first error.
func (q *Queue) FilesBelow(ctx context.Context, at Place) iter.Seq2[*state.File, error] {
	return q.db.FilesBelow(ctx, at.RootID, at.Path)
}

// FilesUnder returns the records of assets below a remote folder. The sequence
// ends after the first error.
func (q *Queue) FilesUnder(ctx context.Context, folder string) iter.Seq2[*state.File, error] {
	return q.db.FilesWhere(ctx, underFolder, folder+"/", folder+"0")
}

// holds runs a query that gives one truth value.
func (q *Queue) holds(ctx context.Context, query string, args ...any) (is bool, err error) {
	rows, err := q.db.Query(ctx, query, args...)
	if err != nil {
		return false, fmt.Errorf("look something up in the state file: %w", err)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&is)
	}
	return is, errors.Join(err, rows.Err())
}
