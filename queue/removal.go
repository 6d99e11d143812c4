package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
)

// brakeOver is the time over which removals are counted for the brake.
const brakeOver = time.Hour

// Removal asks for what may be taken out of the library.
type Removal struct {
	RootID   int64
	Gone     bool          // records of files that are gone
	Filtered bool          // and of those that the filters leave out
	After    time.Duration // since they are so
	MaxFiles int64         // bounds of the brake; 0 is none
	MaxShare float64
	Limit    int    // at most so many at a time
	Identity []byte // of the directory that is there
	// Except are records that are left out: ImageKit has refused to remove them a moment ago.
	Except []int64
}

// Due is what may be taken out of the library now, and why not more.
type Due struct {
	Files []*state.File
	// Approved tells that somebody has asked for just these.
	Approved bool
	// All counts what is due, also beyond Limit.
	All int64
	// Unscanned counts what waits for a complete scan to confirm that it is absent.
	Unscanned int64
	// Braked is why nothing is removed; "" when nothing is braked. Then Files is
	// what was approved before.
	Braked string
}

const dueWhere = ` FROM files f JOIN roots r ON r.id = f.root_id
	WHERE f.root_id = ?1 AND f.absent <> 0 AND f.kept = 0 AND (f.absent = 1 AND ?2 OR f.absent = 2 AND ?3) AND f.absent_at <= ?4
		AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = f.root_id AND j.path = f.path)
		AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.donor = f.id)
		AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.file = f.id OR i.kind IN (2, 6) AND (f.remote_path > i.source || '/' AND f.remote_path < i.source || '0' OR i.target <> '' AND f.remote_path > i.target || '/' AND f.remote_path < i.target || '0'))
		AND NOT EXISTS (SELECT 1 FROM files o WHERE o.file_id = f.file_id AND o.id <> f.id)
		AND NOT EXISTS (SELECT 1 FROM aliases a WHERE a.of = f.id)`

// Due finds what may be removed, and puts the brake on when that is too much for
// an hour.
func (q *Queue) Due(ctx context.Context, r Removal) (due Due, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.DueCommit); err != nil {
			return err
		}
		due = Due{}
		now := q.now()
		before := now.Add(-r.After).UnixMilli()
		var approvedAt, records, done, unapproved int64
		var stranger bool
		var known []byte
		err := tx.QueryRow(`SELECT approved_at, braked, stranger, identity FROM roots WHERE id = ?`, r.RootID).Scan(&approvedAt, &due.Braked, &stranger, &known)
		if err != nil {
			return err
		}
		if approvedAt > now.UnixMilli() { // by a clock that was wrong: nobody has approved what is absent now
			approvedAt = 0
			if err := tx.Exec(`UPDATE roots SET approved_at = 0 WHERE id = ?`, r.RootID); err != nil {
				return err
			}
		}
		elsewhere := stranger || len(known) > 0 && string(known) != string(r.Identity)
		err = tx.QueryRow(`SELECT count(*), coalesce(sum(f.absent_at > ?5), 0), coalesce(sum(f.absent_at > r.scanned_at), 0)`+dueWhere,
			r.RootID, r.Gone, r.Filtered, before, approvedAt).Scan(&due.All, &unapproved, &due.Unscanned)
		if err != nil || due.All == 0 {
			return err
		}
		if due.Braked == "" && unapproved > 0 {
			err = tx.QueryRow(`SELECT (SELECT count(*) FROM files WHERE root_id = ?1), (SELECT count(*) FROM removed WHERE root_id = ?1 AND removed_at > ?2 AND approved = 0)`,
				r.RootID, now.Add(-brakeOver).UnixMilli()).Scan(&records, &done)
			if err != nil {
				return err
			}
			if most := r.most(records + done); unapproved+done > most {
				already := ""
				if done > 0 { // those are listed nowhere any more
					already = fmt.Sprintf(" (%d removed already)", done)
				}
				due.Braked = fmt.Sprintf("%d files would be removed from the library within an hour%s, and max_delete allows %d", unapproved+done, already, most)
				if err := tx.Exec(`UPDATE roots SET braked = ? WHERE id = ?`, due.Braked, r.RootID); err != nil {
					return err
				}
			}
		}
		if elsewhere { // what was approved was approved for the other one
			due.Braked = anotherDirectory
			return nil
		}
		// What was approved goes first, and goes also while the brake is on.
		due.Files, err = dueFiles(tx, r, before, ` AND f.absent_at <= r.approved_at`)
		due.Approved = len(due.Files) > 0
		if err != nil || due.Approved || due.Braked != "" {
			return err
		}
		due.Files, err = dueFiles(tx, r, before, ``)
		return err
	})
	if err != nil {
		return Due{}, fmt.Errorf("find what is to be removed from the library: %w", err)
	}
	return due, nil
}

// most is how many files of so many may be removed in one hour.
func (r *Removal) most(records int64) int64 {
	most := int64(math.MaxInt64)
	if r.MaxFiles > 0 {
		most = r.MaxFiles
	}
	if r.MaxShare > 0 {
		most = min(most, max(1, int64(r.MaxShare*float64(records))))
	}
	return most
}

func dueFiles(tx *state.Tx, r Removal, before int64, and string) ([]*state.File, error) {
	except, err := json.Marshal(append([]int64{}, r.Except...))
	if err != nil {
		return nil, err
	}
	return tx.FilesWhere(`f.id IN (SELECT f.id`+dueWhere+` AND f.absent_at <= r.scanned_at AND f.id NOT IN (SELECT value FROM json_each(?6))`+and+` ORDER BY f.absent_at, f.id LIMIT ?5) ORDER BY f.absent_at, f.id`,
		r.RootID, r.Gone, r.Filtered, before, r.Limit, string(except))
}

// AbsentFiles returns the records of a root (0 is every) whose files are absent, in the order of
// their paths. The sequence ends after the first error.
func (q *Queue) AbsentFiles(ctx context.Context, rootID int64) iter.Seq2[*state.File, error] {
	return func(yield func(*state.File, error) bool) {
		for f, err := range q.db.Files(ctx, rootID, false) {
			if err == nil && f.Absent == state.Present {
				continue
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// Undo tells that the library's copies of absent files are to stay whatever the
// policy: those of a path and below it, "" is the whole root. It returns how many
// would have gone.
func (q *Queue) Undo(ctx context.Context, at Place) (n int64, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		n, err = tx.ExecRows(`UPDATE files SET kept = 1 WHERE root_id = ?1 AND absent <> 0 AND kept = 0 AND (?5 OR path = ?2 OR path > ?3 AND path < ?4)
			AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.file = files.id)`, at.RootID, []byte(at.Path), []byte(at.Path+"/"), []byte(at.Path+"0"), at.Path == "")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("keep what is absent below %q: %w", at.Path, err)
	}
	return n, nil
}

// Approve lets go what is absent by now, however much it is, when its grace is
// over; takes the brake off; and accepts the directory that is there as the root's.
func (q *Queue) Approve(ctx context.Context, rootID int64) error {
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE roots SET approved_at = ?, braked = '', identity = iif(stranger, x'', identity), stranger = 0 WHERE id = ?`,
			q.now().UnixMilli(), rootID)
	})
	if err != nil {
		return fmt.Errorf("approve the removals of root %d: %w", rootID, err)
	}
	return nil
}

// Standing is how it stands with removals of a root.
type Standing struct {
	Absent   int64   // records of absent files that are not kept
	Kept     int64   // and of those that are
	Gone     Waiting // of the absent ones those that a policy for files that are gone removes
	Filtered Waiting // and those that the policy for files that are left out does
	Braked   string
	Approved time.Time // what was absent by then may go
	Scanned  time.Time // the last complete scan; the zero time before the first
}

// Waiting counts copies that wait to be removed, if the policy is to remove them.
type Waiting struct {
	Files    int64
	HeldBack int64 // of them by the brake, until somebody approves
}

// HoldsBack reports whether the brake keeps the copy of an absent file in the library.
func (s *Standing) HoldsBack(f *state.File) bool {
	return s.Braked != "" && !f.Kept && (s.Braked == anotherDirectory || f.AbsentAt.After(s.Approved))
}

// An asset that is also another file's, by an alias, is not removed.
const standing = `SELECT coalesce(sum(NOT f.kept), 0), coalesce(sum(f.kept), 0),
		coalesce(sum(f.absent = 1 AND f.sole), 0), coalesce(sum(f.absent = 1 AND f.sole AND (r.stranger OR f.absent_at > r.approved_at)), 0),
		coalesce(sum(f.absent = 2 AND f.sole), 0), coalesce(sum(f.absent = 2 AND f.sole AND (r.stranger OR f.absent_at > r.approved_at)), 0),
		iif(r.stranger, ?2, r.braked), r.approved_at, r.scanned_at
	FROM roots r LEFT JOIN (SELECT root_id, absent, absent_at, kept, NOT kept AND NOT EXISTS (SELECT 1 FROM aliases a WHERE a.of = files.id) AS sole
		FROM files WHERE root_id = ?1 AND absent <> 0) f ON f.root_id = r.id
	WHERE r.id = ?1 GROUP BY r.id`

// Standing tells how it stands with removals of a root.
func (q *Queue) Standing(ctx context.Context, rootID int64) (s Standing, err error) {
	rows, err := q.db.Query(ctx, standing, rootID, anotherDirectory)
	if err != nil {
		return s, fmt.Errorf("look at the removals of root %d: %w", rootID, err)
	}
	defer rows.Close()
	if rows.Next() {
		var approved, scanned int64
		if err := rows.Scan(&s.Absent, &s.Kept, &s.Gone.Files, &s.Gone.HeldBack, &s.Filtered.Files, &s.Filtered.HeldBack, &s.Braked, &approved, &scanned); err != nil {
			return s, fmt.Errorf("look at the removals of root %d: %w", rootID, err)
		}
		if s.Braked == "" {
			s.Gone.HeldBack, s.Filtered.HeldBack = 0, 0
		}
		s.Approved = time.UnixMilli(approved)
		if scanned > 0 {
			s.Scanned = time.UnixMilli(scanned)
		}
	}
	return s, rows.Err()
}
