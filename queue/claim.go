package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// BigFile is from which size on (bytes) a job counts as one of a big file.
const BigFile = 32 << 20

// Claim leases up to n ready jobs of the roots for the given time: the longest
// waiting first, those of priority 0 (the backlog) after those above. When it
// returns none, next is when the earliest backoff ends; the zero time when no
// job waits.
func (q *Queue) Claim(ctx context.Context, roots []int64, n int, lease time.Duration) (jobs []Job, next time.Time, err error) {
	return q.ClaimMixed(ctx, roots, n, n, lease)
}

// ClaimMixed is Claim for a pool that shares its workers: of four jobs one is of
// the backlog while there is one, so that new files can't starve it, and at most
// big of them are of big files.
func (q *Queue) ClaimMixed(ctx context.Context, roots []int64, n, big int, lease time.Duration) (jobs []Job, next time.Time, err error) {
	return q.claim(ctx, roots, n, lease, func(t taking) ([]Job, error) {
		t.big = big
		return t.mixed(n)
	}, fresh, backlog)
}

// ClaimFresh is ClaimMixed for new files alone, those of a priority above 0.
func (q *Queue) ClaimFresh(ctx context.Context, roots []int64, n, big int, lease time.Duration) (jobs []Job, err error) {
	jobs, _, err = q.claim(ctx, roots, n, lease, func(t taking) ([]Job, error) {
		t.big = big
		return t.take(nil, fresh, n)
	}, fresh)
	return jobs, err
}

func (q *Queue) claim(ctx context.Context, roots []int64, n int, lease time.Duration, pick func(taking) ([]Job, error), lanes ...lane) (jobs []Job, next time.Time, err error) {
	ids, err := json.Marshal(roots)
	if err != nil || n <= 0 {
		return nil, time.Time{}, errors.Join(err)
	}
	unknown := q.unknownNames(roots)
	without, err := json.Marshal(unknown)
	if err != nil {
		return nil, time.Time{}, err
	}
	token := rand.Int64N(1<<62) + 1
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		now := q.now()
		jobs, next = nil, time.Time{}
		var err error
		t := taking{tx: tx, roots: string(ids), unknown: string(without), now: now}
		if jobs, err = pick(t); err != nil {
			return err
		}
		if jobs, err = q.addProbes(t, jobs, unknown, n, lanes); err != nil {
			return err
		}
		if jobs, err = outOfTheWay(tx, jobs, now); err != nil {
			return err
		}
		if len(jobs) == 0 {
			if err := q.reserveAgain(tx, string(ids), now); err != nil {
				return err
			}
			next, err = earliest(tx, string(ids), now)
			return err
		}
		places := make([]string, len(jobs))
		for i := range jobs {
			places[i] = jobs[i].RemotePath
		}
		if err := stir(tx, places...); err != nil {
			return err
		}
		// The lease is the time until which nobody else claims the job: one whose
		// lease has ended is ready again by itself.
		for i := range jobs {
			jobs[i].lease = token
		}
		if err := failpoint.Hit(failpoint.ClaimCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE jobs SET leased = ?, not_before = ? WHERE id IN (SELECT value FROM json_each(?))`,
			token, now.Add(lease).UnixMilli(), jobIDs(jobs))
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("claim jobs: %w", err)
	}
	return jobs, next, failpoint.Hit(failpoint.ClaimAfter)
}

// reserveAgain gives jobs another remote path whose own will not become free: a
// record of another path has it, and its asset stays there.
func (q *Queue) reserveAgain(tx *state.Tx, roots string, now time.Time) error {
	const most = 100
	rows, err := tx.Query(`SELECT j.id, j.root_id, j.path, j.remote_path FROM jobs j INDEXED BY jobs_ready CROSS JOIN files o
			ON o.remote_path IN (j.remote_path, coalesce(j.remote_key, j.remote_path)) OR o.remote_key = coalesce(j.remote_key, j.remote_path)
		WHERE j.state = 0 AND j.move = 0 AND j.not_before <= ? AND o.astray = 0 AND NOT EXISTS (SELECT 1 FROM jobs m WHERE m.donor = o.id)
			AND NOT EXISTS (SELECT 1 FROM files f WHERE f.root_id = j.root_id AND f.path = j.path)
			AND +j.root_id IN (SELECT value FROM json_each(?)) LIMIT ?`, now.UnixMilli(), roots, most)
	if err != nil {
		return err
	}
	defer rows.Close()
	type stuck struct {
		id     int64
		at     Place
		remote string
	}
	var all []stuck
	for rows.Next() {
		var s stuck
		if err := rows.Scan(&s.id, &s.at.RootID, &s.at.Path, &s.remote); err != nil {
			return err
		}
		all = append(all, s)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, s := range all {
		remote, err := q.freeRemote(tx, s.at.RootID, s.at.Path, s.remote)
		if err != nil {
			return err
		}
		if err := tx.Exec(`UPDATE jobs SET remote_path = ?, remote_key = ?, accepted = NULL WHERE id = ?`, remote, keyOf(remote), s.id); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		q.notify()
	}
	return nil
}

// ClaimOne leases the job of a path, if it is ready or waits for its backoff and is no
// move; else it is nil.
func (q *Queue) ClaimOne(ctx context.Context, rootID int64, path string, lease time.Duration) (job *Job, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		job = nil
		jobs, err := scanJobs(tx.Query(`SELECT j.id, j.root_id, j.path, j.gen, j.size, j.mtime_ns, j.ctime_ns, j.dev, j.ino,
				j.remote_path, j.attempts, j.accepted, j.unsure, f.size, f.hash, iif(f.version_id = '', f.file_id, f.version_id), f.mtime_ns, f.ino, f.remote_path, j.mount, j.seen_at, f.unproven, j.wrong_answers
			FROM jobs j LEFT JOIN files f ON f.root_id = j.root_id AND f.path = j.path
			WHERE j.root_id = ? AND j.path = ? AND j.state = 0 AND j.move = 0 AND j.leased = 0 AND j.remote_path IS NOT NULL
				AND (f.id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_path = j.remote_path)
					AND NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_key = coalesce(j.remote_key, j.remote_path))
					AND (j.remote_key IS NULL OR NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_path = j.remote_key))
					AND NOT EXISTS (SELECT 1 FROM intents i WHERE coalesce(i.target_key, i.target) = coalesce(j.remote_key, j.remote_path)))`, rootID, []byte(path)))
		if err != nil || len(jobs) == 0 {
			return err
		}
		job = &jobs[0]
		job.lease = rand.Int64N(1<<62) + 1
		if err := stir(tx, job.RemotePath); err != nil {
			return err
		}
		return tx.Exec(`UPDATE jobs SET leased = ?, not_before = ? WHERE id = ?`, job.lease, q.now().Add(lease).UnixMilli(), job.ID)
	})
	if err != nil {
		return nil, fmt.Errorf("claim the job of %q: %w", path, err)
	}
	return job, nil
}

const (
	// stepAside is how long an upload waits before it is looked again whether a
	// directory's move is decided.
	stepAside = time.Second
	// stepAsideFor is how long uploads step aside for a move that is not decided: the
	// roots may be busy for long. Then its files may have to be moved one by one.
	stepAsideFor = 30 * time.Second
	// someMoves is of how many moves below a directory it is looked whether it was
	// moved with them.
	someMoves = 16
)

// outOfTheWay puts off jobs of files in directories that seem to have been moved,
// with others in them: once there is something in the library's folder, no folder
// can be moved there as a whole. So it does with those for folders that are being
// moved or removed.
func outOfTheWay(tx *state.Tx, jobs []Job, now time.Time) ([]Job, error) {
	undecided, folders, err := movesInWork(tx)
	if err != nil || !undecided && len(folders) == 0 {
		return jobs, err
	}
	known := make(map[Place]bool)
	moving := func(j *Job) (bool, error) {
		for _, folder := range folders {
			if strings.HasPrefix(j.RemotePath, folder+"/") || strings.HasPrefix(names.Key(j.RemotePath), names.FolderKey(folder)+"/") {
				return true, nil
			}
		}
		if !undecided {
			return false, nil
		}
		for i, c := range []byte(j.Path) {
			if c != '/' {
				continue
			}
			at := Place{j.RootID, j.Path[:i]}
			is, ok := known[at]
			if !ok {
				var err error
				if is, err = seemsMoved(tx, at, now); err != nil {
					return false, err
				}
				known[at] = is
			}
			if is {
				return true, nil
			}
		}
		return false, nil
	}
	free := jobs[:0]
	for i := range jobs {
		wait, err := moving(&jobs[i])
		if err != nil {
			return nil, err
		}
		if !wait {
			free = append(free, jobs[i])
			continue
		}
		if err := tx.Exec(`UPDATE jobs SET not_before = ? WHERE id = ?`, now.Add(stepAside).UnixMilli(), jobs[i].ID); err != nil {
			return nil, err
		}
	}
	return free, nil
}

// seemsMoved reports whether a directory may be one that was moved: files are in it
// that have their names, below it, of elsewhere.
func seemsMoved(tx *state.Tx, at Place, now time.Time) (bool, error) {
	rows, err := tx.Query(`SELECT j.path, f.path FROM (SELECT path, donor, updated_at FROM jobs WHERE move = 1 AND root_id = ? AND path > ? AND path < ? LIMIT ?) j
		CROSS JOIN files f ON f.id = j.donor WHERE j.updated_at > ?`,
		at.RootID, []byte(at.Path+"/"), []byte(at.Path+"0"), someMoves, now.Add(-stepAsideFor).UnixMilli())
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var to, from []byte
		if err := rows.Scan(&to, &from); err != nil {
			return false, err
		}
		if below := string(to[len(at.Path):]); strings.HasSuffix("/"+string(from), below) {
			return true, nil
		}
	}
	return false, rows.Err()
}

// movesInWork tells whether there are moves of which it is undecided what they belong
// to, and lists the folders of the library that are about to be moved or removed, and
// those that they become.
func movesInWork(tx *state.Tx) (undecided bool, folders []string, err error) {
	rows, err := tx.Query(`SELECT source, target FROM intents WHERE kind IN (2, 6) UNION ALL SELECT '', '' WHERE EXISTS (SELECT 1 FROM jobs WHERE move = 1)`)
	if err != nil {
		return false, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var source, target string
		if err := rows.Scan(&source, &target); err != nil {
			return false, nil, err
		}
		if source == "" {
			undecided = true
			continue
		}
		folders = append(folders, source)
		if target != "" {
			folders = append(folders, target)
		}
	}
	return undecided, folders, rows.Err()
}

// jobIDs lists the ids of jobs as a JSON array.
func jobIDs(jobs []Job) string {
	b := make([]byte, 0, 12*len(jobs)+2)
	b = append(b, '[')
	for i := range jobs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, jobs[i].ID, 10)
	}
	return string(append(b, ']'))
}

// mixed picks up to n jobs from the two lanes.
func (t taking) mixed(n int) ([]Job, error) {
	share := n / 4
	jobs, err := t.take(nil, fresh, n-share)
	if err == nil {
		jobs, err = t.take(jobs, backlog, n-len(jobs))
	}
	if err == nil && share > 0 && len(jobs) < n && len(jobs) >= n-share {
		jobs, err = t.take(jobs, fresh, n-len(jobs))
	}
	return jobs, err
}

// taking picks ready jobs, of which at most big are of big files.
type taking struct {
	tx    *state.Tx
	roots string
	big   int
	now   time.Time
	// unknown are the roots of which it is not known what the library does with names that
	// ImageKit is documented to change: of their jobs to send such names none is picked, or
	// with probe nothing else.
	unknown string
	probe   bool
}

// addProbes adds to jobs that were picked one of each root that sends a name that ImageKit
// is documented to change, while it is not known what the library does with it: the answer
// tells. Until then no other such name of the root is sent. With no room for it, it takes
// the place of the last one.
func (q *Queue) addProbes(t taking, jobs []Job, unknown []int64, n int, lanes []lane) ([]Job, error) {
	var any bool
	if err := t.tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM jobs WHERE remote_key IS NOT NULL)`).Scan(&any); err != nil || !any {
		return jobs, err
	}
	t.probe, t.unknown = true, "[]"
	for _, root := range unknown {
		if is, err := q.probing(t.tx, root); err != nil {
			return nil, err
		} else if is {
			continue
		}
		t.roots = "[" + strconv.FormatInt(root, 10) + "]"
		for _, l := range lanes {
			found, err := t.ready(l, 1, math.MaxInt64, nil)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				continue
			}
			q.probes(root, found[0].ID)
			jobs = append(jobs[:min(len(jobs), n-1)], found[0])
			break
		}
	}
	return jobs, nil
}

// take adds up to most jobs of a lane to those that were picked before.
func (t taking) take(jobs []Job, l lane, most int) ([]Job, error) {
	if most <= 0 {
		return jobs, nil
	}
	room := t.big
	for i := range jobs {
		if jobs[i].Stat.Size >= BigFile {
			room--
		}
	}
	found, err := t.ready(l, most, math.MaxInt64, jobs)
	if err != nil {
		return nil, err
	}
	// There are rarely more big ones than there is room for.
	turnedAway := false
	for i := range found {
		if found[i].Stat.Size >= BigFile {
			if room--; room < 0 {
				turnedAway = true
				continue
			}
		}
		jobs = append(jobs, found[i])
		most--
	}
	if !turnedAway {
		return jobs, nil
	}
	found, err = t.ready(l, most, BigFile, jobs)
	return append(jobs, found...), err
}

// lane is what a job's priority makes of it: above 0 it is fresh.
type lane bool

const (
	fresh   lane = true
	backlog lane = false
)

// priorities bounds the lane, both included.
func (l lane) priorities() (from, to int) {
	if l == fresh {
		return 1, math.MaxInt32
	}
	return math.MinInt32, 0
}

// ready picks up to most jobs of a lane that are smaller than limit and not among
// those picked already.
func (t taking) ready(l lane, most int, limit int64, picked []Job) ([]Job, error) {
	from, to := l.priorities()
	jobs, err := scanJobs(t.tx.Query(`SELECT j.id, j.root_id, j.path, j.gen, j.size, j.mtime_ns, j.ctime_ns, j.dev, j.ino,
			j.remote_path, j.attempts, j.accepted, j.unsure, f.size, f.hash, iif(f.version_id = '', f.file_id, f.version_id), f.mtime_ns, f.ino, f.remote_path, j.mount, j.seen_at, f.unproven, j.wrong_answers
		FROM jobs j LEFT JOIN files f ON f.root_id = j.root_id AND f.path = j.path
		WHERE j.state = 0 AND j.move = 0 AND j.priority BETWEEN ? AND ? AND j.not_before <= ? AND j.remote_path IS NOT NULL AND j.size < ?
			AND (f.id IS NULL OR NOT EXISTS (SELECT 1 FROM jobs m WHERE m.donor = f.id) AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.file = f.id OR i.kind = 5 AND i.source = f.remote_path))
			AND (f.id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_path = j.remote_path)
				AND NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_key = coalesce(j.remote_key, j.remote_path))
				AND (j.remote_key IS NULL OR NOT EXISTS (SELECT 1 FROM files o WHERE o.remote_path = j.remote_key))
				AND NOT EXISTS (SELECT 1 FROM intents i WHERE coalesce(i.target_key, i.target) = coalesce(j.remote_key, j.remote_path)))
			AND (j.remote_key IS NULL OR f.id IS NOT NULL OR +j.root_id NOT IN (SELECT value FROM json_each(?))) AND (NOT ? OR j.remote_key IS NOT NULL AND f.id IS NULL)
			AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.tries > 0 AND (i.kind NOT IN (2, 6) AND coalesce(f.remote_path, j.remote_path) = i.target OR i.kind IN (2, 6)
				AND (coalesce(f.remote_path, j.remote_path) > i.source || '/' AND coalesce(f.remote_path, j.remote_path) < i.source || '0'
					OR i.target <> '' AND coalesce(f.remote_path, j.remote_path) > i.target || '/' AND coalesce(f.remote_path, j.remote_path) < i.target || '0')))
			AND +j.root_id IN (SELECT value FROM json_each(?)) AND j.id NOT IN (SELECT value FROM json_each(?))
		ORDER BY j.priority DESC, j.not_before, j.id LIMIT ?`, from, to, t.now.UnixMilli(), limit, t.unknown, t.probe, t.roots, jobIDs(picked), most))
	for i := range jobs {
		jobs[i].Fresh = l == fresh
	}
	return jobs, err
}

// scanJobs reads the rows of a query for jobs, and closes them.
func scanJobs(rows *sql.Rows, err error) ([]Job, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		var j Job
		var path, accepted, hash []byte
		var dev, ino, unsure int64
		var remote, version sql.NullString
		var size, mtime, fileIno sql.NullInt64
		var place sql.NullString
		var seen int64
		var unproven sql.NullBool
		if err := rows.Scan(&j.ID, &j.RootID, &path, &j.Gen, &j.Stat.Size, &j.Stat.MtimeNs, &j.Stat.CtimeNs, &dev, &ino,
			&remote, &j.Attempts, &accepted, &unsure, &size, &hash, &version, &mtime, &fileIno, &place, &j.Stat.Mount, &seen, &unproven, &j.WrongAnswers); err != nil {
			return nil, err
		}
		j.Path, j.RemotePath = string(path), remote.String
		j.Stat.Dev, j.Stat.Ino = uint64(dev), uint64(ino)
		j.SeenAt = time.Duration(seen) * time.Millisecond
		if unsure != 0 {
			j.Unsure, j.Changed = time.UnixMilli(max(unsure, -unsure)), unsure < 0
		}
		if len(accepted) == len(j.Hash) {
			j.Accepted = (*state.Hash)(accepted)
		}
		if len(hash) == len(j.Hash) {
			j.Recorded, j.Size, j.MtimeNs, j.Hash, j.VersionID = true, size.Int64, mtime.Int64, state.Hash(hash), version.String
			j.Displaced = j.Stat.Mount == 0 && uint64(fileIno.Int64) != j.Stat.Ino
			j.Unproven = unproven.Bool
			j.RemotePath = place.String // it may have been moved since the job was made
		}
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// earliest is when the next backoff ends; the zero time when no job waits for one.
func earliest(tx *state.Tx, roots string, now time.Time) (time.Time, error) {
	var ms sql.NullInt64
	err := tx.QueryRow(`SELECT min(n) FROM (
			SELECT min(not_before) AS n FROM jobs INDEXED BY jobs_ready WHERE state = 0 AND move = 0 AND leased = 0 AND not_before > ?1 AND +root_id IN (SELECT value FROM json_each(?2))
			UNION ALL SELECT * FROM (SELECT not_before FROM jobs INDEXED BY jobs_moves WHERE state = 0 AND move <> 0 AND move = 1 AND leased = 0 AND not_before > ?1
				AND +root_id IN (SELECT value FROM json_each(?2)) ORDER BY not_before LIMIT 1)
			UNION ALL SELECT * FROM (SELECT not_before FROM jobs INDEXED BY jobs_moves WHERE state = 0 AND move <> 0 AND move = 2 AND leased = 0 AND not_before > ?1
				AND +root_id IN (SELECT value FROM json_each(?2)) ORDER BY not_before LIMIT 1))`, now.UnixMilli(), roots).Scan(&ms)
	if err != nil || !ms.Valid {
		return time.Time{}, err
	}
	if next := time.UnixMilli(ms.Int64); next.Sub(now) <= longestWait {
		return next, nil
	}
	// The clock was wrong then, or is now.
	return now, tx.Exec(`UPDATE jobs SET not_before = ?1 WHERE state = 0 AND leased = 0 AND not_before > ?2`, now.UnixMilli(), now.Add(longestWait).UnixMilli())
}

// longestWait is longer than any backoff.
const longestWait = 2 * time.Hour

// Renew extends the leases of jobs that are still being worked on.
func (q *Queue) Renew(ctx context.Context, jobIDs []int64, lease time.Duration) error {
	ids, err := json.Marshal(jobIDs)
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE jobs SET not_before = ? WHERE leased <> 0 AND id IN (SELECT value FROM json_each(?))`,
			q.now().Add(lease).UnixMilli(), string(ids))
	})
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	return nil
}

// doubt makes a record one that no file matches; its time is state.NoTime.
const doubt = `UPDATE files SET mtime_ns = -9223372036854775808, ctime_ns = 0, ino = 0, hash = zeroblob(16), unproven = 0`

// Recover makes every leased job ready again. Only the process that holds the
// state file's lock may call it, before its workers start: then the leases are
// those of a process that died.
func (q *Queue) Recover(ctx context.Context) (int64, error) {
	var n int64
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) (err error) {
		if err := failpoint.Hit(failpoint.RecoverCommit); err != nil {
			return err
		}
		// What the dead process has sent may have come, so the records of these don't
		// tell any more what the library has: the files are sent again whatever they are by now.
		if err := tx.Exec(doubt + ` WHERE id IN (SELECT f.id FROM jobs j CROSS JOIN files f ON f.root_id = j.root_id AND f.path = j.path WHERE j.leased <> 0)`); err != nil {
			return err
		}
		if err := sendSafe(tx); err != nil {
			return err
		}
		// A move of a file that has no record is an upload.
		if err := tx.Exec(`UPDATE jobs SET move = 0, donor = NULL WHERE donor IS NOT NULL AND NOT EXISTS (SELECT 1 FROM files f WHERE f.id = jobs.donor)`); err != nil {
			return err
		}
		// A new start looks into everything that is open at once.
		if err := tx.Exec(`UPDATE intents SET not_before = 0 WHERE not_before <> 0`); err != nil {
			return err
		}
		// Nothing was sent of a job before it was made.
		n, err = tx.ExecRows(`UPDATE jobs SET leased = 0, not_before = 0, unsure = iif(unsure <> 0, unsure, max(updated_at, 1)) WHERE leased <> 0`)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("recover leases: %w", err)
	}
	pauses, err := q.readPauses(ctx)
	if err != nil {
		return 0, err
	}
	q.mu.Lock()
	q.paused = pauses
	q.mu.Unlock()
	if err := q.lookForIgnored(ctx); err != nil {
		return 0, err
	}
	if err := q.ReadNames(ctx); err != nil {
		return 0, err
	}
	return n, failpoint.Hit(failpoint.RecoverAfter)
}
