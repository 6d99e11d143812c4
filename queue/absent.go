package queue

import (
	"context"
	"fmt"
	"time"

	"iksync/state"
)

// Absent is a recorded path whose file is not there, or not wanted, any more.
type Absent struct {
	Path string
	Why  state.Absence
	// Below tells that all that was below the path is absent as well.
	Below bool
	// Device, when not 0, leaves records of files on other devices as they are. An
	// empty directory is what is left where a disk is not mounted.
	Device uint64
}

// MarkAbsent notes of records that their files are absent. Since when is kept of
// those that were so before, for the same reason.
func (q *Queue) MarkAbsent(ctx context.Context, rootID int64, absent []Absent) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		now := q.now().UnixMilli()
		for _, a := range absent {
			err := tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4, kept = iif(absent = 0, 0, kept) WHERE root_id = ?1 AND path = ?2 AND absent <> ?3
				AND (?5 = 0 OR dev = ?5)`, rootID, []byte(a.Path), int(a.Why), now, int64(a.Device))
			if err == nil && a.Below {
				err = tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4 WHERE root_id = ?1 AND path > ?2 AND path < ?6 AND absent = 0
					AND (?5 = 0 OR dev = ?5)`, rootID, []byte(a.Path+"/"), int(a.Why), now, int64(a.Device), []byte(a.Path+"0"))
			}
			if err == nil { // an alias has no copy of its own to remove
				err = tx.Exec(`DELETE FROM aliases WHERE root_id = ?1 AND (path = ?2 OR ?3 AND path > ?4 AND path < ?5) AND (?6 = 0 OR dev = ?6)`,
					rootID, []byte(a.Path), a.Below, []byte(a.Path+"/"), []byte(a.Path+"0"), int64(a.Device))
			}
			if err != nil {
				return fmt.Errorf("note that %q is %s: %w", a.Path, a.Why, err)
			}
		}
		return nil
	})
}

// MarkPresent notes of records that their files are there again as they were.
func (q *Queue) MarkPresent(ctx context.Context, rootID int64, paths []string) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		for _, path := range paths {
			err := tx.Exec(`UPDATE files SET absent = 0, absent_at = 0, kept = 0 WHERE root_id = ? AND path = ? AND absent <> 0`, rootID, []byte(path))
			if err != nil {
				return fmt.Errorf("note that %q is there again: %w", path, err)
			}
		}
		return nil
	})
}

// Scanned notes that a scan of a whole root came to its end, and of which
// directory: deletes are inferred from complete scans alone, and of the same
// directory. Another directory in its place is accepted when files of it were
// found exactly as they are recorded (inStep), down to inode and change time; else
// nothing of the root is deleted until somebody approves.
func (q *Queue) Scanned(ctx context.Context, rootID int64, at time.Time, identity []byte, inStep bool) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var known []byte
		if err := tx.QueryRow(`SELECT identity FROM roots WHERE id = ?`, rootID).Scan(&known); err != nil {
			return err
		}
		if known != nil && string(known) != string(identity) && !inStep {
			return tx.Exec(`UPDATE roots SET scanned_at = ?, braked = ? WHERE id = ?`, at.UnixMilli(), anotherDirectory, rootID)
		}
		return tx.Exec(`UPDATE roots SET scanned_at = ?, identity = ?, braked = iif(braked = ?, '', braked) WHERE id = ?`,
			at.UnixMilli(), identity, anotherDirectory, rootID)
	})
	if err != nil {
		return fmt.Errorf("note the scan of root %d: %w", rootID, err)
	}
	return nil
}

const anotherDirectory = "it is not the directory that was recorded: another disk, or made anew"
