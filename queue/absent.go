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

	after []byte // up to which path it is noted of the records below; nil before the first
}

// MarkAbsent notes of records that their files are absent. Since when is kept of
// those that were so before, for the same reason. Only so many records below
// directories are noted at a time; what is left is returned, to be noted by further
// calls if it is so still. What a crash leaves out is absent in the next scan.
func (q *Queue) MarkAbsent(ctx context.Context, rootID int64, absent []Absent) (rest []Absent, err error) {
	if len(absent) == 0 {
		return nil, nil
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		rest = nil
		now := q.now().UnixMilli()
		room := absentPage
		numbered := make(map[uint64]bool) // devices that records are on
		for _, a := range absent {
			if a.Below && room <= 0 {
				rest = append(rest, a)
				continue
			}
			if a.after == nil {
				if err := markOne(tx, rootID, &a, numbered, now); err != nil {
					return err
				}
			}
			if !a.Below {
				continue
			}
			n, err := markBelow(tx, rootID, &a, room, now)
			if err != nil {
				return fmt.Errorf("note that all below %q is %s: %w", a.Path, a.Why, err)
			}
			if n == room {
				rest = append(rest, a)
			}
			room -= n
		}
		return failpoint.Hit(failpoint.MarkAbsentCommit)
	})
	return rest, err
}

// absentPage bounds the records below directories that are noted in one transaction.
// Others wait so long.
const absentPage = 250

// markOne notes of the record of a path itself that its file is absent, and begins with
// what is below: there must be records on the device, if one is given.
func markOne(tx *state.Tx, rootID int64, a *Absent, numbered map[uint64]bool, now int64) error {
	if is, asked := numbered[a.Device]; a.Device != 0 && !a.Empty && !asked {
		if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM files WHERE root_id = ? AND dev = ?)`, rootID, int64(a.Device)).Scan(&is); err != nil {
			return fmt.Errorf("look for records on device %d: %w", a.Device, err)
		}
		numbered[a.Device] = is
	}
	if !numbered[a.Device] && !a.Empty {
		a.Device = 0
	}
	a.after = []byte(a.Path + "/")
	err := tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4, kept = iif(absent = 0, 0, kept) WHERE root_id = ?1 AND path = ?2 AND absent <> ?3
		AND (?5 = 0 OR dev = ?5)`, rootID, []byte(a.Path), int(a.Why), now, int64(a.Device))
	if err == nil { // an alias has no copy of its own to remove
		err = tx.Exec(`DELETE FROM aliases WHERE root_id = ?1 AND (path = ?2 OR ?3 AND path > ?4 AND path < ?5) AND (?6 = 0 OR dev = ?6)`,
			rootID, []byte(a.Path), a.Below, a.after, []byte(a.Path+"0"), int64(a.Device))
	}
	if err != nil {
		return fmt.Errorf("note that %q is %s: %w", a.Path, a.Why, err)
	}
	return nil
}

// markBelow notes of so many records below a directory that their files are absent, and
// returns of how many.
func markBelow(tx *state.Tx, rootID int64, a *Absent, limit int, now int64) (n int, err error) {
	var last []byte
	err = tx.QueryRow(`SELECT count(*), max(path) FROM (SELECT path FROM files WHERE root_id = ? AND path > ? AND path < ? ORDER BY path LIMIT ?)`,
		rootID, a.after, []byte(a.Path+"0"), limit).Scan(&n, &last)
	if err != nil || n == 0 {
		return 0, err
	}
	err = tx.Exec(`UPDATE files SET absent = ?3, absent_at = ?4 WHERE root_id = ?1 AND path > ?2 AND path <= ?6 AND absent = 0
		AND (?5 = 0 OR dev = ?5)`, rootID, a.after, int(a.Why), now, int64(a.Device), last)
	a.after = last
	return n, err
}

// MarkPresent notes of records that their files are there again as they were, as far as
// size and modification time tell.
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
	Identity []byte // of the directory; see [Identity], also for the next two
	Earlier  []byte
	Weak     bool
	InStep   int64 // files that are as they are recorded, down to inode and change time
	Found    int64 // files that have the recorded size and modification time, at least
}

// Scanned notes that a scan of a whole root came to its end, and of which
// directory: removals are inferred from complete scans alone, and of the same
// directory. Neither an equal identity nor equal files are enough for that where they prove
// nothing (see [sighted]). While another directory is in the root's place nothing of the root
// is removed, until it is back, or somebody approves.
func (q *Queue) Scanned(ctx context.Context, rootID int64, scan Scan) error {
	directory := Identity{ID: scan.Identity, Earlier: scan.Earlier, Weak: scan.Weak}
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var known []byte
		s := sighted{inStep: scan.InStep}
		var since, later, aliases int64
		err := tx.QueryRow(`SELECT identity, stranger, iif(stranger, replaced_at, ?2) FROM roots WHERE id = ?1`, rootID, scan.Began.UnixMilli()).
			Scan(&known, &s.stranger, &since)
		if err != nil {
			return err
		}
		// Records that are younger than the scan, or than another directory in the root's
		// place, may be of that one. Those of times to come are of a clock that was wrong, and
		// older. What was approved, and what was absent in the last accepted scan, is expected.
		err = tx.QueryRow(`SELECT coalesce(sum(older), 0), coalesce(sum(old AND absent = 0 OR missing), 0), coalesce(sum(missing), 0), coalesce(sum(NOT old AND absent = 0), 0),
			(SELECT count(*) FROM aliases WHERE root_id = ?1) FROM (
			SELECT NOT uploaded_at BETWEEN ?2 AND ?4 AS older, NOT uploaded_at BETWEEN ?3 AND ?4 AS old, absent,
				NOT uploaded_at BETWEEN ?3 AND ?4 AND absent = 1 AND kept = 0 AND absent_at > (SELECT max(scanned_at, approved_at) FROM roots WHERE id = ?1)
					AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.donor = files.id) AS missing
			FROM files WHERE root_id = ?1)`, rootID, scan.Began.UnixMilli(), since, q.now().UnixMilli()).Scan(&s.all, &s.records, &s.missing, &later, &aliases)
		if err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.ScannedCommit); err != nil {
			return err
		}
		s.found = max(scan.Found, scan.InStep)
		if s.stranger { // what has come since may be among the files that were found, which is no evidence
			s.found -= later + aliases
		} else {
			s.records, s.all = s.records+aliases, s.all+aliases
		}
		s.any = known != nil && len(known) == 0
		s.same, s.proven = directory.Is(known)
		if s.replaced() {
			return tx.Exec(`UPDATE roots SET stranger = 1, replaced_at = ? WHERE id = ?`, since, rootID)
		}
		return tx.Exec(`UPDATE roots SET scanned_at = ?, identity = ?, stranger = 0 WHERE id = ?`, q.now().UnixMilli(), scan.Identity, rootID)
	})
	if err != nil {
		return fmt.Errorf("note the scan of root %d: %w", rootID, err)
	}
	return failpoint.Hit(failpoint.ScannedAfter)
}

const anotherDirectory = "the recorded files are not in the directory: another disk, a copy of the disk, or a directory that was made anew"
