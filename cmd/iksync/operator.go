package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/hooks"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit/names"
)

const (
	// sampleEvery is the span of a point of throughput; samples is how many are kept.
	sampleEvery = 5 * time.Second
	samples     = 720 // an hour
	// recents is how many of the last uploads are told.
	recents = 48
	// rateOver is the time that rates are told over.
	rateOver = time.Minute
	// A status is told again for so long at least, and for so many times what it cost.
	freshFor      = 400 * time.Millisecond
	freshPerSpent = 20
)

// operator is what the daemon tells, and does for, whoever runs it. Its methods may be
// called from several goroutines.
type operator struct {
	d       *daemon
	started time.Time

	mu      sync.Mutex
	now     *generation
	living  []*generation   // whose pools may still count, now included
	past    uploader.Stats  // of those that ended
	done    []uploader.Done // the last uploads of those
	success time.Time       // of the last upload
	points  []control.Point
	last    uploader.Stats // as of the last point
	lastAt  time.Time
	tidied  int64  // scans by the time that memory was given back
	link    string // that opens the page
	hooks   []*hooks.Told

	statusMu sync.Mutex // one status at a time
	told     *control.Status
	toldAt   time.Time
	cost     time.Duration
}

func newOperator(d *daemon) *operator {
	now := time.Now()
	return &operator{d: d, started: now, lastAt: now}
}

// follow tells of another generation from now on.
func (o *operator) follow(g *generation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = g
	o.living = append(o.living, g)
}

func (o *operator) current() *generation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// totals adds up what all generations have done.
func (o *operator) totals() uploader.Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sum()
}

func (o *operator) sum() uploader.Stats {
	living := o.living[:0]
	var alive []uploader.Stats
	for _, g := range o.living {
		ended := false
		select {
		case <-g.done:
			ended = g != o.now
		default:
		}
		s, recent := g.pool.Stats(), g.pool.Recent() // after it was asked whether it goes on: it counts no more then
		if len(recent) > 0 && recent[0].At.After(o.success) {
			o.success = recent[0].At
		}
		if ended {
			o.past, o.done = add(o.past, s), latest(o.done, recent)
			continue
		}
		living, alive = append(living, g), append(alive, s)
	}
	o.living = living
	all := o.past
	for _, s := range alive {
		all = add(all, s)
	}
	return all
}

// latest are the last uploads of both, the last one first.
func latest(a, b []uploader.Done) []uploader.Done {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(a, b uploader.Done) int { return b.At.Compare(a.At) })
	return all[:min(len(all), recents)]
}

// recent are the last uploads of all generations, the last one first.
func (o *operator) recent() []uploader.Done {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sum() // what has ended is in done
	all := o.done
	for _, g := range o.living {
		all = latest(all, g.pool.Recent())
	}
	return all
}

// transfers are what is on its way, the oldest first: also of generations that let their
// last uploads finish.
func (o *operator) transfers() (all []uploader.Transfer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range o.living {
		all = append(all, g.pool.Transfers()...)
	}
	slices.SortStableFunc(all, func(a, b uploader.Transfer) int { return a.Began.Compare(b.Began) })
	return all
}

// scanned counts the scans of the present generation; busy that one goes on.
func (o *operator) scanned() (n int64, busy bool) {
	if o.now == nil {
		return 0, false
	}
	for _, w := range o.now.watchers {
		s := w.Stats()
		n, busy = n+s.Scans, busy || s.Scanning
	}
	return n, busy
}

// add adds up counters; what is no counter is b's.
func add(a, b uploader.Stats) uploader.Stats {
	sum := b
	for _, f := range []func(*uploader.Stats) *int64{
		func(s *uploader.Stats) *int64 { return &s.Uploaded }, func(s *uploader.Stats) *int64 { return &s.UploadedBytes },
		func(s *uploader.Stats) *int64 { return &s.Touched }, func(s *uploader.Stats) *int64 { return &s.Vanished },
		func(s *uploader.Stats) *int64 { return &s.Held }, func(s *uploader.Stats) *int64 { return &s.Changed },
		func(s *uploader.Stats) *int64 { return &s.Retries }, func(s *uploader.Stats) *int64 { return &s.Failed },
		func(s *uploader.Stats) *int64 { return &s.Requests }, func(s *uploader.Stats) *int64 { return &s.Renamed },
		func(s *uploader.Stats) *int64 { return &s.Sent }, func(s *uploader.Stats) *int64 { return &s.InFlight },
		func(s *uploader.Stats) *int64 { return &s.Moved }, func(s *uploader.Stats) *int64 { return &s.MovedFolders },
		func(s *uploader.Stats) *int64 { return &s.Copied }, func(s *uploader.Stats) *int64 { return &s.Aliased },
		func(s *uploader.Stats) *int64 { return &s.Removed }, func(s *uploader.Stats) *int64 { return &s.Confirmed },
		func(s *uploader.Stats) *int64 { return &s.Resent },
	} {
		*f(&sum) += *f(&a)
	}
	return sum
}

// sample notes the throughput until ctx ends.
func (o *operator) sample(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			o.mu.Lock()
			s := o.sum()
			o.points = append(o.points, control.Point{At: now, Seconds: now.Sub(o.lastAt).Seconds(), Files: s.Uploaded - o.last.Uploaded, Bytes: s.Sent - o.last.Sent,
				Failed: s.Retries + s.Failed - o.last.Retries - o.last.Failed})
			if len(o.points) > samples {
				o.points = append(o.points[:0], o.points[len(o.points)-samples:]...)
			}
			o.last, o.lastAt = s, now
			scans, busy := o.scanned()
			tidy := scans != o.tidied && !busy && s.InFlight == 0
			if tidy {
				o.tidied = scans
			}
			o.mu.Unlock()
			if tidy { // scans need more memory than waiting does, and a daemon waits for most of its life
				o.d.db.Shrink()
				debug.FreeOSMemory()
			}
		}
	}
}

// rates are bytes and files a second over the last minute.
func (o *operator) rates() (bytes, files float64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, now := o.sum(), time.Now()
	b, n, seconds := s.Sent-o.last.Sent, s.Uploaded-o.last.Uploaded, now.Sub(o.lastAt).Seconds()
	for i := len(o.points) - 1; i >= 0 && now.Sub(o.points[i].At) < rateOver; i-- {
		b, n, seconds = b+o.points[i].Bytes, n+o.points[i].Files, seconds+o.points[i].Seconds
	}
	if seconds < 1 {
		return 0, 0
	}
	return float64(b) / seconds, float64(n) / seconds
}

// errStarting says that there is no generation yet.
var errStarting = errors.New("iksync is starting")

// status tells how iksync stands. It is not asked anew for a while, the longer the
// more it costs.
func (o *operator) status(ctx context.Context) (*control.Status, error) {
	o.statusMu.Lock()
	defer o.statusMu.Unlock()
	if o.told != nil && time.Since(o.toldAt) < max(freshFor, freshPerSpent*o.cost) {
		return o.told, nil
	}
	began := time.Now()
	s, err := o.look(ctx)
	if err != nil {
		return nil, err
	}
	o.told, o.toldAt, o.cost = s, time.Now(), time.Since(began)
	return s, nil
}

func (o *operator) look(ctx context.Context) (*control.Status, error) {
	g := o.current()
	if g == nil {
		return nil, errStarting
	}
	q := o.d.q
	backlogs, err := q.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	classes, err := q.ByClass(ctx)
	if err != nil {
		return nil, err
	}
	unproven, err := q.Unproven(ctx)
	if err != nil {
		return nil, err
	}
	s := &control.Status{Running: true, Version: version, PID: os.Getpid(), Started: o.started, At: time.Now(), StateFile: o.d.db.Path(), StateFileBytes: stateBytes(o.d.db.Path()),
		Roots: []control.RootStatus{}, Transfers: []control.Transfer{}, Recent: []control.Upload{}}
	if s.Unresolved, err = unresolvedChanges(ctx, q); err != nil {
		return nil, err
	}
	s.Uploads = o.uploads(g)
	wait := ""
	if trouble := o.d.db.Trouble(); trouble != nil {
		wait = "the state file can't be written: " + trouble.Error()
	} else if b := s.Uploads.Breaker; b != nil {
		wait = b.Class + ": " + b.Reason
	}
	var todo, todoBytes int64
	for i := range g.roots {
		r, err := o.root(ctx, g, i, backlogs, classes, wait)
		if err != nil {
			return nil, err
		}
		r.Unproven = unproven[r.ID]
		if r.State != control.Paused {
			todo, todoBytes = todo+r.Backlog, todoBytes+r.BacklogBytes
		}
		s.Roots = append(s.Roots, r)
	}
	for _, path := range g.missing {
		s.Roots = append(s.Roots, control.RootStatus{Path: display(path), State: control.Paused, Why: "it is not there: it is waited for, and nothing is inferred from its absence",
			Failing: map[string]int64{}, Held: map[string]int64{}, Skipped: map[string]int64{}})
	}
	for i := range g.waiting {
		s.Roots = append(s.Roots, control.RootStatus{Path: display(g.waiting[i].config.Path), Folder: g.waiting[i].config.Folder, State: control.Undecided, Why: g.waiting[i].why(),
			Failing: map[string]int64{}, Held: map[string]int64{}, Skipped: map[string]int64{}})
	}
	s.Sum()
	if todo > 0 && wait == "" {
		s.Uploads.ETA = eta(todo, todoBytes, s.Uploads.FilesPerSecond, s.Uploads.BytesPerSecond)
	}
	for _, t := range o.transfers() {
		s.Transfers = append(s.Transfers, control.Transfer{RootID: t.RootID, Path: display(t.Path), Remote: t.Remote, Size: t.Size, Sent: t.Sent, Began: t.Began})
	}
	for _, u := range o.recent() {
		root := g.root(u.RootID)
		private := root == nil || root.private(u.Path)
		s.Recent = append(s.Recent, control.Upload{Private: private, RootID: u.RootID, Path: display(u.Path), FileID: u.FileID, RemotePath: u.RemotePath, URL: u.URL, ThumbnailURL: u.ThumbnailURL,
			FileType: u.FileType, Size: u.Size, New: u.New, Seconds: u.Took.Seconds(), At: u.At})
	}
	return s, nil
}

// eta is how many seconds the rest takes at these rates; nil when that can't be said.
// Files without bytes are moves.
func eta(files, bytes int64, filesPerSecond, bytesPerSecond float64) *float64 {
	if filesPerSecond <= 0 && bytesPerSecond <= 0 {
		return nil
	}
	var seconds float64
	if bytesPerSecond > 0 {
		seconds = float64(bytes) / bytesPerSecond
	}
	if filesPerSecond > 0 && (bytes == 0 || bytesPerSecond <= 0) {
		seconds = float64(files) / filesPerSecond
	}
	return &seconds
}

// stateBytes is what the state file takes on the disk, with its log.
func stateBytes(path string) (n int64) {
	for _, name := range []string{path, path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

func (o *operator) uploads(g *generation) control.Uploads {
	all, here := o.totals(), g.pool.Stats()
	u := control.Uploads{
		Workers: g.cfg.Workers, Window: here.Window, InFlight: all.InFlight, Limit: o.d.bandwidth.Rate(),
		Uploaded: all.Uploaded, UploadedBytes: all.UploadedBytes, Unchanged: all.Touched, Moved: all.Moved, Copied: all.Copied, Removed: all.Removed,
		Retries: all.Retries, Failed: all.Failed, Requests: all.Requests,
	}
	u.BytesPerSecond, u.FilesPerSecond = o.rates()
	o.mu.Lock()
	u.LastSuccess = o.success
	o.mu.Unlock()
	if b := here.Breaker; b != nil {
		u.Breaker = &control.Breaker{Class: b.Class.String(), Reason: b.Reason, RequestID: b.RequestID, Since: b.Since, Next: b.Next}
	}
	return u
}

func (o *operator) root(ctx context.Context, g *generation, i int, backlogs map[int64]queue.Backlog, classes map[int64]queue.Classes, wait string) (control.RootStatus, error) {
	root, w := &g.roots[i], g.watchers[i].Stats()
	r := control.RootStatus{ID: root.state.ID, Path: display(root.config.Path), Folder: root.config.Folder, Files: w.Report.Files, Bytes: w.Report.Bytes, Settling: w.Settling,
		Failing: map[string]int64{}, Held: map[string]int64{}, Skipped: w.Report.Skipped,
		Watch: control.Watch{Polling: w.Polling, Why: w.Why, Directories: w.Dirs, Watched: w.Watched, Overflows: w.Overflows},
		Scan:  control.Scan{Running: w.Scanning, Seen: w.Seen, Completed: w.Scans, Seconds: w.ScanTime.Seconds(), Last: w.LastScan, Unreadable: w.Report.Problems}}
	if r.Skipped == nil {
		r.Skipped = map[string]int64{}
	}
	r.NamesChanged = root.config.Names == names.Keep && o.d.q.Names(r.ID) == queue.NamesChanged
	if b, ok := backlogs[r.ID]; ok {
		r.Backlog, r.BacklogBytes, r.Oldest, r.NotCompared = b.Jobs, b.Bytes, b.Oldest, b.NotCompared
	}
	failing := int64(0)
	if c, ok := classes[r.ID]; ok {
		r.Failing, r.Held, r.Again = c.Failing, c.Held, c.Again
		failing = sum(c.Failing)
	}
	standing, err := o.d.q.Standing(ctx, r.ID)
	if err != nil {
		return r, err
	}
	r.Gone = standing.Absent + standing.Kept
	for absence, waiting := range map[state.Absence]queue.Waiting{state.Gone: standing.Gone, state.Filtered: standing.Filtered} {
		if root.config.Removal.Policy(absence) != uploader.Keep {
			r.Removals, r.HeldBack = r.Removals+waiting.Files, r.HeldBack+waiting.HeldBack
		}
	}
	if r.HeldBack > 0 {
		r.Braked = standing.Braked
	}
	pause := o.d.q.PausedUntil(r.ID)
	switch {
	case w.Paused != "":
		r.State, r.Why = control.Paused, w.Paused
	case pause != nil && pause.Until.IsZero():
		r.State, r.Why = control.Paused, "by iksync pause, until iksync resume"
	case pause != nil:
		r.State, r.Why, r.PausedUntil = control.Paused, "by iksync pause, until "+pause.Until.Local().Format(time.DateTime), pause.Until
	case wait != "":
		r.State, r.Why = control.Waiting, wait
	case w.Scans == 0, r.Backlog > r.Again, r.Settling > 0:
		r.State = control.Syncing
	case failing > 0 || w.Report.Problems > 0:
		r.State = control.Failing
	case r.HeldBack > 0:
		r.State, r.Why = control.HeldBack, quantity(r.HeldBack, "removal waits", "removals wait")+" for you: iksync approve shows them"
	default:
		r.State = control.InStep
	}
	if w.Scans == 0 && r.State == control.Syncing {
		r.Why = fmt.Sprintf("the first scan goes on: %s seen", files(w.Seen))
	}
	return r, nil
}

// unresolvedChanges lists the changes of the library that were set aside.
func unresolvedChanges(ctx context.Context, q *queue.Queue) (all []control.Unresolved, err error) {
	intents, err := q.Intents(ctx)
	for i := range intents {
		if in := &intents[i]; in.Aside {
			all = append(all, control.Unresolved{Source: in.Source, Target: in.Target, Reason: in.Reason, Next: in.NotBefore})
		}
	}
	return all, err
}

// offline tells what the state file does, when there is no daemon.
func offline(ctx context.Context, db *state.DB, q *queue.Queue) (*control.Status, error) {
	s := &control.Status{Version: version, At: time.Now(), State: control.NotRunning, StateFile: db.Path(), StateFileBytes: stateBytes(db.Path()),
		Roots: []control.RootStatus{}, Transfers: []control.Transfer{}, Recent: []control.Upload{}}
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	if s.Unresolved, err = unresolvedChanges(ctx, q); err != nil {
		return nil, err
	}
	backlogs, err := q.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	classes, err := q.ByClass(ctx)
	if err != nil {
		return nil, err
	}
	unproven, err := q.Unproven(ctx)
	if err != nil {
		return nil, err
	}
	pauses, err := q.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	if err := q.ReadNames(ctx); err != nil {
		return nil, err
	}
	for _, root := range roots {
		r := control.RootStatus{ID: root.ID, Path: display(root.Path), Folder: root.Folder, State: control.NotRunning, Failing: map[string]int64{}, Held: map[string]int64{}, Skipped: map[string]int64{}}
		r.NamesChanged = q.Names(root.ID) == queue.NamesChanged
		if b, ok := backlogs[root.ID]; ok {
			r.Backlog, r.BacklogBytes, r.Oldest, r.NotCompared = b.Jobs, b.Bytes, b.Oldest, b.NotCompared
		}
		if c, ok := classes[root.ID]; ok {
			r.Failing, r.Held, r.Again = c.Failing, c.Held, c.Again
		}
		r.Unproven = unproven[root.ID]
		standing, err := q.Standing(ctx, root.ID)
		if err != nil {
			return nil, err
		}
		r.Gone, r.HeldBack, r.Scan.Last = standing.Absent+standing.Kept, standing.Gone.HeldBack+standing.Filtered.HeldBack, standing.Scanned
		if r.HeldBack > 0 {
			r.Braked = standing.Braked
		}
		if p := pauses[root.ID]; p != nil {
			r.PausedUntil = p.Until
			r.Why = "paused by iksync pause"
		}
		if r.Files, r.Bytes, err = q.Recorded(ctx, root.ID); err != nil {
			return nil, err
		}
		s.Roots = append(s.Roots, r)
	}
	return s, nil
}
