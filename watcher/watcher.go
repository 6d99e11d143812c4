package watcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/queue"
	"iksync/state"
)

// WatchOptions configure a [Watcher]. Zero durations mean the defaults given.
type WatchOptions struct {
	Options
	Settle     time.Duration // quiet time before a file is queued; 2 s
	Rescan     time.Duration // full scan as a safety net; 1 h, with a jitter of a tenth
	Poll       time.Duration // full scan where events can't be had, or not for all; 1 min
	MaxWatches int           // directories to watch at most; 0 is what the system allows
	Buffer     int           // events to buffer beside the kernel's queue; 8192
	Log        *zap.Logger   // nil logs nothing
}

const (
	defaultSettle = 2 * time.Second
	defaultRescan = time.Hour
	defaultPoll   = time.Minute
	defaultBuffer = 8192
	// checkRoot is how often it is looked whether the root is there, if polls are
	// not more often.
	checkRoot = 5 * time.Second
	// subtreeQueue bounds the new directories that wait for their scans; beyond it
	// one full scan does for all.
	subtreeQueue = 4096
	// silent is how many rescans in a row must find changes that no event
	// announced before a root is polled.
	silent = 3
	// late is after how many times the settle time a change has been announced if
	// it ever is: by then even a big file has settled.
	late = 16
)

// Watcher keeps the queue in step with one root until it is told to stop: by
// events where they can be had, by scans otherwise, and by rescans in any case.
type Watcher struct {
	o     WatchOptions
	q     *queue.Queue
	log   *zap.Logger
	dirty *dirtyPaths
	full  chan struct{} // asks for a full scan
	below *dirtyPaths   // directories to scan

	sightings sightings

	events  *fsnotify.Watcher // nil while the root is polled; as tree is, tree.mu guards it
	reading sync.WaitGroup    // who reads it
	tree    watched

	settling *settling      // owned by the loop
	absent   []queue.Absent // owned by the loop: what was looked for in vain
	vanished []queue.Absent // owned by the loop: directories with more records than were noted at once
	vacancy  vacancy        // owned by the loop
	trust    trusts         // owned by the loop

	rootMu   sync.Mutex // one look at the root at a time
	resumed  atomic.Bool
	identity rootIdentity // the zero value until the root was seen
	// stranger is the directory in its place, if another one is, and since when.
	stranger      rootIdentity
	strangerSince time.Time

	// What Stats tells.
	mode        atomic.Pointer[mode]
	settlingNow atomic.Int64
	overflows   atomic.Int64
	scans       atomic.Int64
	lastScan    atomic.Int64 // unix ns
	scanTime    atomic.Int64 // of all scans, ns
	scanning    atomic.Pointer[Scanner]

	vanishing     atomic.Bool // vanished is not empty
	scanningBelow atomic.Bool
	catchingUp    atomic.Bool // a scan is going on that finds what no event told of
	paused        atomic.Pointer[string]
	beat          atomic.Int64 // unix ns of the last sign of life
	last          atomic.Pointer[Report]

	failure  atomic.Pointer[string] // why the last scan failed; nil when it did not
	urgent   atomic.Bool            // somebody waits for the next full scan
	misses   misses                 // events or watches that were lost, as is known: a scan makes up for them
	silences int                    // owned by the full scans
	problems map[string]bool        // owned by the full scans: what could not be looked at by the last one
}

// misses counts what was lost, and up to which loss a complete scan has made up for
// it. A scan covers what was lost before it began and nothing later. There is no flag
// to take back when it fails, and so none that takes a later loss with it.
type misses struct {
	noted   atomic.Int64
	covered atomic.Int64 // set by the full scans alone, one at a time
}

// note counts a loss.
func (m *misses) note() { m.noted.Add(1) }

// now is how many losses a scan makes up for that begins now.
func (m *misses) now() int64 { return m.noted.Load() }

// cover notes that a complete scan has made up for the first n losses.
func (m *misses) cover(n int64) { m.covered.Store(n) }

// pending reports that no complete scan has begun since the last loss.
func (m *misses) pending() bool { return m.covered.Load() != m.noted.Load() }

// mode is how a root is followed.
type mode struct {
	polling bool
	why     string
}

// NewWatcher returns a watcher that queues what differs to q.
func NewWatcher(q *queue.Queue, o WatchOptions) *Watcher {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Settle, defaultSettle)
	set(&o.Rescan, defaultRescan)
	set(&o.Poll, defaultPoll)
	if o.Buffer <= 0 {
		o.Buffer = defaultBuffer
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	w := &Watcher{
		o: o, q: q, log: o.Log.With(zap.String("root", o.Root.Path)),
		dirty: newDirtyPaths(), full: make(chan struct{}, 1), below: newDirtyPaths(),
		settling: newSettling(o.Settle), tree: newWatched(), trust: make(trusts),
	}
	w.mode.Store(&mode{})
	w.alive()
	return w
}

// Stats is what a watcher is doing.
type Stats struct {
	Polling   bool
	Why       string // why it polls, or why the coverage is not whole
	Paused    string // why the root is paused; "" when it is not
	Settling  int64  // files that are waiting to be quiet
	Overflows int64
	Dirs      int64 // directories, as of the last scan
	Watched   int64 // of them
	Scans     int64 // completed
	Scanning  bool
	LastScan  time.Time     // when the last one was completed; zero before the first
	ScanTime  time.Duration // of all that were completed
	Alive     time.Time     // last sign of life
	Report    Report        // of the last scan that was completed; before there is one, of the first
	Seen      int64         // files, by the scan that is going on, or by the last
}

// unquiet counts the files that settle, or are about to: many are both.
func (w *Watcher) unquiet() int64 { return max(w.settlingNow.Load(), int64(w.dirty.size())) }

// Stats returns what the watcher is doing; it may be called at any time.
func (w *Watcher) Stats() Stats {
	m := w.mode.Load()
	s := Stats{
		Polling: m.polling, Why: m.why, Settling: w.unquiet(), Overflows: w.overflows.Load(),
		Scans: w.scans.Load(), ScanTime: time.Duration(w.scanTime.Load()), Alive: time.Unix(0, w.beat.Load()),
	}
	if why := w.paused.Load(); why != nil {
		s.Paused = *why
	}
	s.Dirs, s.Watched = w.tree.coverage()
	if ns := w.lastScan.Load(); ns > 0 {
		s.LastScan = time.Unix(0, ns)
	}
	if r := w.last.Load(); r != nil {
		s.Report, s.Seen = *r, r.Files
	}
	if sc := w.scanning.Load(); sc != nil {
		r := sc.Report()
		s.Scanning, s.Seen = true, r.Files
		if s.Scans == 0 {
			s.Report = r
		}
	}
	return s
}

// Resumed reports that the root was paused and is not any more: its directory may be
// another one, which must be opened afresh.
func (w *Watcher) Resumed() bool { return w.resumed.Load() && !w.Paused() }

// Paused reports whether nothing may be inferred about the root at present.
func (w *Watcher) Paused() bool { return w.paused.Load() != nil }

// Calm reports that what has happened is all queued, but for what still
// settles: no scan is going on that would find more.
func (w *Watcher) Calm() bool {
	return w.scans.Load() > 0 && !w.catchingUp.Load() && w.below.isEmpty() && !w.scanningBelow.Load() && !(w.misses.pending() && len(w.full) > 0)
}

// Sound reports that nothing has been missed, as far as is known, and that all that
// has vanished is noted: only then is anything inferred from what is not there.
func (w *Watcher) Sound() bool {
	return !w.Paused() && !w.misses.pending() && w.failure.Load() == nil && !w.catchingUp.Load() && w.scans.Load() > 0 && !w.vanishing.Load()
}

// Rescan asks for a full scan.
func (w *Watcher) Rescan() { w.rescan() }

// RescanAt asks for a look at a path: at a file, or at all in a directory. "" is the
// whole root.
func (w *Watcher) RescanAt(path string) {
	info, err := os.Lstat(w.onDisk(path))
	switch {
	case path == "":
		w.urgent.Store(true)
		w.rescan()
	case err == nil && info.IsDir():
		w.scanLater(path)
	default:
		w.dirty.put(path, 0)
	}
}

func (w *Watcher) alive() { w.beat.Store(time.Now().UnixNano()) }

// Run follows the root until ctx ends. Watches are set before the directory is
// listed, so nothing that happens in between is missed. A root that is not
// there is paused and waited for. An error is one of the state file.
func (w *Watcher) Run(ctx context.Context) error {
	w.lookAtRoot()
	w.begin()
	outer := ctx
	group, ctx := errgroup.WithContext(ctx)
	w.rescan()
	group.Go(func() error { return w.loop(ctx) })
	group.Go(func() error { return w.scanFull(ctx) })
	group.Go(func() error { return w.scanBelow(ctx) })
	err := group.Wait()
	if outer.Err() != nil {
		err = nil // told to stop: what was cut short by that is no error
	}
	return errors.Join(err, w.closeEvents())
}

// begin decides whether the root is watched or polled.
func (w *Watcher) begin() {
	if kind := NetworkFileSystem(w.o.Root.Path); kind != "" {
		w.poll("changes on a file system of type " + kind + " are not announced by all who make them")
		return
	}
	w.openEvents()
}

// openEvents opens a queue of events and has it read; without one the root is polled.
func (w *Watcher) openEvents() {
	events, err := fsnotify.NewBufferedWatcher(uint(w.o.Buffer))
	if err != nil {
		w.poll(fmt.Sprintf("no events can be had: %v (see fs.inotify.max_user_instances)", err))
		return
	}
	w.events = events
	w.reading.Go(func() { w.readEvents(events) })
}

// closeEvents ends all watches.
func (w *Watcher) closeEvents() error {
	if w.events == nil {
		return nil
	}
	err := w.events.Close()
	w.reading.Wait()
	w.events = nil
	return err
}

// poll turns to polling and says so, once.
func (w *Watcher) poll(why string) {
	if before := w.mode.Swap(&mode{polling: true, why: why}); before.polling {
		return
	}
	w.log.Warn("the root is polled: changes are found by scans, not by events", zap.String("why", why), zap.Duration("every", w.o.Poll))
}

// readEvents does nothing but note paths: see dirtyPaths.
func (w *Watcher) readEvents(events *fsnotify.Watcher) {
	root := filepath.Clean(w.o.Root.Path)
	prefix := strings.TrimSuffix(root, "/") + "/"
	for {
		select {
		case e, ok := <-events.Events:
			if !ok {
				return
			}
			if below, ok := strings.CutPrefix(e.Name, prefix); ok && below != "" {
				w.dirty.put(strings.TrimPrefix(below, "/"), e.Op) // of "/" they begin with "//"
			} else if e.Op.Has(fsnotify.Rename) || e.Op.Has(fsnotify.Remove) {
				// The root itself: it may be back before its absence is noticed, but its watch is not.
				w.misses.note()
				w.rescan()
			}
		case err, ok := <-events.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.overflows.Add(1)
				w.misses.note()
				if w.rescan() { // said once per scan
					w.log.Warn("more happened at once than the kernel's queue of events holds: the root is scanned again, nothing is lost",
						zap.String("sysctl", "fs.inotify.max_queued_events"))
				}
				continue
			}
			if errors.Is(err, syscall.EINVAL) { // a watch was to be ended that had ended by itself
				w.log.Debug("the watcher reports an error", zap.Error(err))
				continue
			}
			w.log.Warn("the watcher reports an error", zap.Error(err))
		}
	}
}

// rescan asks for a full scan; false when one is asked for already. One that is
// going on does not count: it may be past what has happened.
func (w *Watcher) rescan() bool {
	select {
	case w.full <- struct{}{}:
		return true
	default:
		return false
	}
}

// loop takes dirty paths, lets them settle, and queues them.
func (w *Watcher) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	check := time.NewTicker(min(checkRoot, w.o.Poll))
	defer check.Stop()
	next := time.Now().Add(w.interval())
	for {
		w.alive()
		now := time.Now()
		if !now.Before(next) {
			if w.scanning.Load() == nil { // else scans that take longer than that would never end
				w.rescan()
			}
			next = now.Add(w.interval())
		}
		w.settlingNow.Store(int64(len(w.settling.entries)))
		if err := w.settleDue(ctx, now); err != nil {
			return err
		}
		w.settlingNow.Store(int64(len(w.settling.entries)))
		wait := time.Until(next)
		if due, ok := w.settling.next(); ok && !w.Paused() {
			wait = min(wait, time.Until(due))
		}
		if len(w.vanished) > 0 {
			wait = 0
		}
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-w.dirty.notify:
			w.settlingNow.Store(w.unquiet()) // before they are taken: in between there would seem to be nothing
			w.absorb(w.dirty.take(), time.Now())
		case <-check.C:
			w.lookAtRoot()
			// What was asked for may have become more often meanwhile.
			if in := time.Now().Add(w.interval()); in.Before(next) {
				next = in
			}
		}
	}
}

// interval is the time to the next rescan, with a jitter so that roots and
// machines don't scan together.
func (w *Watcher) interval() time.Duration {
	d := w.o.Rescan
	if w.mode.Load().polling || w.tree.isShort() || w.failure.Load() != nil || w.misses.pending() {
		d = min(d, w.o.Poll)
	}
	return d - time.Duration(rand.Int64N(int64(d)/10+1))
}

// absorb sorts what happened: files settle, new directories are watched and
// scanned, directories that went are not watched any more. While the root is
// paused nothing is looked at: a scan of all follows.
func (w *Watcher) absorb(paths map[string]fsnotify.Op, now time.Time) {
	if w.Paused() {
		return
	}
	w.tree.addOtherNames(paths)
	gone := make(map[string]bool)
	for path, op := range paths {
		if renamed := op.Has(fsnotify.Rename); (renamed || op.Has(fsnotify.Remove)) && w.tree.has(path) {
			gone[path] = renamed
		}
	}
	w.unwatch(gone)
	for path, op := range paths {
		// What went may be there again, though another event will have to tell of
		// it, or was lost: what is there decides.
		_, went := gone[path]
		if appeared := went || op.Has(fsnotify.Create); appeared || w.tree.has(path) {
			if info, err := os.Lstat(w.onDisk(path)); err == nil && info.IsDir() {
				if appeared {
					w.scanLater(path)
					w.absent = append(w.absent, queue.Absent{Path: path, Why: state.Gone}) // a file that was there
				}
				continue // else an attribute of a directory
			}
		}
		w.sightings.note(path, happened(op), now)
		w.settling.touch(path, now)
	}
}

// happened says in words what an event is about.
func happened(op fsnotify.Op) string {
	if op == 0 {
		return "a scan found it"
	}
	return "event: " + strings.ReplaceAll(strings.ToLower(op.String()), "|", ", ")
}

// scanLater asks for the scan of a directory.
func (w *Watcher) scanLater(dir string) { w.below.put(dir, 0) }
