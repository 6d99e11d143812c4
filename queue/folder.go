package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// NoteFolder notes of a folder of the library that files are sent into, and
// whether it was not there before.
func (q *Queue) NoteFolder(ctx context.Context, folder string, made bool) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.NoteFolderCommit); err != nil {
			return err
		}
		return tx.Exec(`INSERT INTO folders (path, made) VALUES (?, ?) ON CONFLICT (path) DO NOTHING`, folder, made)
	})
}

// KnowsFolder reports whether NoteFolder was called for a folder.
func (q *Queue) KnowsFolder(ctx context.Context, folder string) (bool, error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM folders WHERE path = ?)`, folder)
}

// MadeFolder reports whether a folder was not there before files were sent into
// it.
func (q *Queue) MadeFolder(ctx context.Context, folder string) (bool, error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM folders WHERE path = ? AND made = 1)`, folder)
}

// ForgetFolder notes that the folder of an intent is no more, and removes the intent.
func (q *Queue) ForgetFolder(ctx context.Context, i *Intent) error {
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.ForgetFolderCommit); err != nil {
			return err
		}
		if err := forgetFolders(tx, i.Source); err != nil {
			return err
		}
		return dropIntent(tx, i)
	})
}

// forgetFolders forgets a folder and all below it: whoever makes a folder there next
// may be somebody else.
func forgetFolders(tx *state.Tx, folder string) error {
	return tx.Exec(`DELETE FROM folders WHERE path = ?1 OR path > ?2 AND path < ?3`, folder, folder+"/", folder+"0")
}

// KeepFolder notes that a folder is not empty, or can't be removed, and removes the
// intent. The folder is looked at again after the next delete below it.
func (q *Queue) KeepFolder(ctx context.Context, i *Intent) error {
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := tx.Exec(`UPDATE folders SET emptied = 0 WHERE path = ?`, i.Source); err != nil {
			return err
		}
		return dropIntent(tx, i)
	})
}

// Clock is a reading of a clock that nobody can set.
type Clock struct {
	// Boot names the start of the machine, or of the process, that Up counts from.
	// Readings of different starts can't be compared.
	Boot string
	Up   time.Duration
}

// QuietFolders looks at the folders below another that may be empty, and returns up to
// limit of those that can be asked for: iksync made the folder; no record, job,
// reserved path or intent is below it; no other folder below it waits; and nothing of
// iksync's has happened below it for the time wait. The time between two looks counts
// by the clock that advanced less of at's and the time of day, and only if both looks
// found nothing.
func (q *Queue) QuietFolders(ctx context.Context, folder string, at Clock, wait time.Duration, limit int) (quiet []string, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		quiet = nil
		candidates, err := emptiedFolders(tx, folder)
		if err != nil {
			return err
		}
		now := q.now().UnixMilli()
		above := make(map[string]bool) // folders that have one below them that waits
		for _, c := range candidates {
			recorded, busy, err := occupied(tx, c.path, 0)
			switch {
			case err != nil:
			case recorded: // the next delete below it makes it a candidate again
				err = tx.Exec(`UPDATE folders SET emptied = 0 WHERE path = ?`, c.path)
			case busy:
				err = tx.Exec(`UPDATE folders SET quiet_ms = 0, look_boot = '' WHERE path = ?`, c.path)
			default:
				if c.boot == at.Boot {
					c.quiet += max(min(at.Up.Milliseconds()-c.up, now-c.at), 0)
				}
				err = tx.Exec(`UPDATE folders SET quiet_ms = ?, look_boot = ?, look_up = ?, look_at = ? WHERE path = ?`,
					c.quiet, at.Boot, at.Up.Milliseconds(), now, c.path)
			}
			if err != nil {
				return err
			}
			if recorded {
				continue
			}
			if !busy && !above[c.path] && c.quiet >= wait.Milliseconds() && len(quiet) < limit {
				quiet = append(quiet, c.path)
			}
			for _, p := range foldersAbove(c.path) {
				above[p] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for folders that are empty below %s: %w", folder, err)
	}
	return quiet, nil
}

// candidate is a folder that may be empty.
type candidate struct {
	path  string
	quiet int64 // ms
	boot  string
	up    int64 // ms
	at    int64 // unix ms
}

// emptiedFolders reads the folders below another that may be empty, each before those
// above it.
func emptiedFolders(tx *state.Tx, folder string) ([]candidate, error) {
	below := strings.TrimSuffix(folder, "/")
	rows, err := tx.Query(`SELECT path, quiet_ms, look_boot, look_up, look_at FROM folders
		WHERE emptied <> 0 AND made = 1 AND path > ? AND path < ? ORDER BY path DESC`, below+"/", below+"0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []candidate
	for rows.Next() {
		var c candidate
		if err := rows.Scan(&c.path, &c.quiet, &c.boot, &c.up, &c.at); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// EmptiedFolders counts the folders below another that may be empty and wait to be
// removed.
func (q *Queue) EmptiedFolders(ctx context.Context, folder string) (n int64, err error) {
	below := strings.TrimSuffix(folder, "/")
	return n, q.one(ctx, &n, `SELECT count(*) FROM folders WHERE emptied <> 0 AND made = 1 AND path > ? AND path < ?
		AND NOT EXISTS (SELECT 1 FROM files f WHERE f.remote_path > folders.path || '/' AND f.remote_path < folders.path || '0')`, below+"/", below+"0")
}

// Unoccupied reports whether there is nothing below the folder of an intent but the
// intent itself.
func (q *Queue) Unoccupied(ctx context.Context, i *Intent) (free bool, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		recorded, busy, err := occupied(tx, i.Source, i.ID)
		free = !recorded && !busy
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look whether %s is in use: %w", i.Source, err)
	}
	return free, nil
}

// occupied reports whether the state file knows of anything at or below a folder of the
// library: records; or jobs, with the paths that they reserve in any form, and intents but
// one.
func occupied(tx *state.Tx, folder string, but int64) (recorded, busy bool, err error) {
	key := names.FolderKey(folder)
	err = tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM files WHERE remote_path >= ?1 AND remote_path < ?3 AND (remote_path = ?1 OR remote_path > ?2)),
			EXISTS (SELECT 1 FROM jobs WHERE remote_path >= ?1 AND remote_path < ?3 AND (remote_path = ?1 OR remote_path > ?2))
			OR EXISTS (SELECT 1 FROM jobs WHERE remote_path >= ?5 AND remote_path < ?7 AND (remote_path = ?5 OR remote_path > ?6))
			OR EXISTS (SELECT 1 FROM jobs WHERE remote_key >= ?5 AND remote_key < ?7 AND (remote_key = ?5 OR remote_key > ?6))
			OR EXISTS (SELECT 1 FROM intents i WHERE i.id <> ?4 AND `+overlaps+`)`,
		folder, folder+"/", folder+"0", but, key, key+"/", key+"0").Scan(&recorded, &busy)
	return recorded, busy, err
}

// overlaps is the condition for intents about anything at, below or above a folder: ?1,
// with ?2 and ?3 around what is below it.
const overlaps = `(i.source = ?1 OR i.source > ?2 AND i.source < ?3 OR i.target = ?1 OR i.target > ?2 AND i.target < ?3
	OR i.kind IN (2, 6) AND (?1 > i.source || '/' AND ?1 < i.source || '0' OR i.target <> '' AND ?1 > i.target || '/' AND ?1 < i.target || '0'))`

// stir notes that something of iksync's happens at remote paths: the wait for the
// folders above them that may be empty begins anew.
func stir(tx *state.Tx, remotes ...string) error {
	var any bool
	if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM folders WHERE emptied <> 0)`).Scan(&any); err != nil || !any {
		return err
	}
	for _, remote := range remotes {
		if key := names.Key(remote); key != remote { // it may come there
			remotes = append(remotes, key)
		}
	}
	above, err := allAbove(remotes)
	if err != nil {
		return err
	}
	err = tx.Exec(`UPDATE folders SET quiet_ms = 0, look_boot = '' WHERE emptied <> 0 AND path IN (SELECT value FROM json_each(?))`, above)
	if err != nil {
		return fmt.Errorf("note what happens below folders: %w", err)
	}
	return nil
}

// emptied notes that a file was deleted in the library: the folders above it may be
// empty, and their wait begins.
func emptied(tx *state.Tx, remote string) error {
	above, err := allAbove([]string{remote})
	if err != nil {
		return err
	}
	return tx.Exec(`UPDATE folders SET emptied = 1, quiet_ms = 0, look_boot = '' WHERE made = 1 AND path IN (SELECT value FROM json_each(?))`, above)
}

// allAbove lists the folders above remote paths as a JSON array.
func allAbove(remotes []string) (string, error) {
	seen := make(map[string]bool)
	all := []string{}
	for _, remote := range remotes {
		for _, p := range foldersAbove(remote) {
			if seen[p] {
				break // with all above it
			}
			seen[p] = true
			all = append(all, p)
		}
	}
	b, err := json.Marshal(all)
	return string(b), err
}

// foldersAbove lists the folders above a remote path, without the root.
func foldersAbove(remote string) (all []string) {
	if !strings.HasPrefix(remote, "/") {
		return nil
	}
	for p := path.Dir(remote); p != "/"; p = path.Dir(p) {
		all = append(all, p)
	}
	return all
}
