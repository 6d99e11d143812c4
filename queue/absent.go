package queue

import (
	"context"
	"fmt"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
)

// Absent is a recorded path whose file is not there, or not wanted, any more.
type Absent struct {
	Path string
	Why  state.Absence
	// Below tells that all that was below the path is absent as well.
	Below bool
	// Device, when not 0, is that of the directory that is left. Records of files on
	// another device stay as they are: that is what is left where a disk is not
	// mounted. But numbers of devices change, so unless the directory is empty there
	// must be a record of a file on that device.
	Device uint64
	Empty  bool
}

// MarkAbsent notes of records that their files are absent. Since when is kept of
// those that were so before, for the same reason. It takes several transactions, so
// that others go on meanwhile: what a crash leaves out is absent in the next scan.
func (q *Queue) MarkAbsent(ctx context.Context, rootID int64, absent []Absent) error {
	type rest struct {
		Absent
		after []byte
	}
	var rests []rest // of directories with many records
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		rests = rests[:0]
		now := q.now().UnixMilli()
		numbered := make(map[uint64]bool) // devices that records are on
		for _, a := range absent {
			if is, asked := numbered[a.Device]; a.Device != 0 && !a.Empty && !asked {
				if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM files WHERE root_id = ? AND dev = ?)`, rootID, int64(a.Device)).Scan(&is); err != nil {
					return err
				}
				numbered[a.Device] = is
			}
			if !numbered[a.Device] && !a.Empty {
				a.Device = 0
			}
			err := tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4, kept = iif(absent = 0, 0, kept) WHERE root_id = ?1 AND path = ?2 AND absent <> ?3
				AND (?5 = 0 OR dev = ?5)`, rootID, []byte(a.Path), int(a.Why), now, int64(a.Device))
			if err == nil && a.Below {
				var after []byte
				if after, err = markBelow(tx, rootID, a, []byte(a.Path+"/"), now); after != nil {
					rests = append(rests, rest{a, after})
				}
			}
			if err == nil { // an alias has no copy of its own to remove
				err = tx.Exec(`DELETE FROM aliases WHERE root_id = ?1 AND (path = ?2 OR ?3 AND path > ?4 AND path < ?5) AND (?6 = 0 OR dev = ?6)`,
					rootID, []byte(a.Path), a.Below, []byte(a.Path+"/"), []byte(a.Path+"0"), int64(a.Device))
			}
			if err != nil {
				return fmt.Errorf("note that %q is %s: %w", a.Path, a.Why, err)
			}
		}
		return failpoint.Hit(failpoint.MarkAbsentCommit)
	})
	for _, r := range rests {
		for err == nil && r.after != nil {
			err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
				after, err := markBelow(tx, rootID, r.Absent, r.after, q.now().UnixMilli())
				if err != nil {
					return fmt.Errorf("note that %q is %s: %w", r.Path, r.Why, err)
				}
				r.after = after
				return nil
			})
		}
	}
	return err
}

// absentPage bounds the records of one transaction, but for those of single paths.
const absentPage = 2000

// markBelow notes of records below a directory, from a path on, that their files are
// absent. It returns from where on there are more; nil when there are none.
func markBelow(tx *state.Tx, rootID int64, a Absent, after []byte, now int64) ([]byte, error) {
	var n int
	var last []byte
	err := tx.QueryRow(`SELECT count(*), max(path) FROM (SELECT path FROM files WHERE root_id = ? AND path > ? AND path < ? ORDER BY path LIMIT ?)`,
		rootID, after, []byte(a.Path+"0"), absentPage).Scan(&n, &last)
	if err != nil || n == 0 {
		return nil, err
	}
	err = tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4 WHERE root_id = ?1 AND path > ?2 AND path <= ?6 AND absent = 0
		AND (?5 = 0 OR dev = ?5)`, rootID, after, int(a.Why), now, int64(a.Device), last)
	if err != nil || n < absentPage {
		return nil, err
	}
	return last, nil
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
		return failpoint.Hit(failpoint.MarkPresentCommit)
	})
}

// Scan is a scan of a whole root that came to its end.
type Scan struct {
	Began    time.Time
	Identity []byte // of the directory
	InStep   int64  // files that are as they are recorded, down to inode and change time
}

// Scanned notes that a scan of a whole root came to its end, and of which
// directory: removals are inferred from complete scans alone, and of the same
// directory. Another one in its place is accepted when at once most of the records
// were found in it; else nothing of the root is removed until it is back, or
// somebody approves.
func (q *Queue) Scanned(ctx context.Context, rootID int64, scan Scan) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var known []byte
		var stranger bool
		var records int64
		// Records that are younger than the scan may be of the other directory. Those
		// of times to come are of a clock that was wrong, and older.
		err := tx.QueryRow(`SELECT identity, stranger, (SELECT count(*) FROM files WHERE root_id = ?1 AND NOT uploaded_at BETWEEN ?2 AND ?3) FROM roots WHERE id = ?1`,
			rootID, scan.Began.UnixMilli(), q.now().UnixMilli()).Scan(&known, &stranger, &records)
		if err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.ScannedCommit); err != nil {
			return err
		}
		same := known != nil && (len(known) == 0 || string(known) == string(scan.Identity))
		if !same && (stranger || 2*scan.InStep < records) {
			return tx.Exec(`UPDATE roots SET stranger = 1 WHERE id = ?`, rootID)
		}
		return tx.Exec(`UPDATE roots SET scanned_at = ?, identity = ?, stranger = 0 WHERE id = ?`, q.now().UnixMilli(), scan.Identity, rootID)
	})
	if err != nil {
		return fmt.Errorf("note the scan of root %d: %w", rootID, err)
	}
	return failpoint.Hit(failpoint.ScannedAfter)
}

const anotherDirectory = "the directory is not the one that was recorded: another disk, or made anew"
