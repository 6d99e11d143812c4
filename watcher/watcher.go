package watcher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/queue"
)

// WatchOptions configure a [Watcher]. Zero durations mean the defaults given.
type WatchOptions struct {
	Options
	Settle     time.Duration // quiet time before a file is queued; 2 s
	Rescan     time.Duration // full scan as a safety net; 1 h, with a jitter of a tenth
	Poll       time.Duration // full scan where events can't be had, or not for all; 1 min
	MaxWatches int           // directories to watch at most; 0 is what the system allows
	Buffer     int           // events to buffer beside the kernel's queue; 65536
	Log        *zap.Logger   // nil logs nothing
}

const (
	defaultSettle = 2 * time.Second
	defaultRescan = time.Hour
	defaultPoll   = time.Minute
	defaultBuffer = 65536
	// checkRoot is how often it is looked whether the root is there.
	checkRoot = 5 * time.Second
	// subtreeQueue bounds the new directories that wait for their scan; beyond it
	// one full scan does for all.
	subtreeQueue = 4096
	// silent is how many rescans in a row must find changes that no event
	// announced before a root is polled.
	silent = 3
)

// Watcher keeps the queue in step with one root until it is told to stop: by
// events where they can be had, by scans otherwise, and by rescans in any case.
type Watcher struct {
	o     WatchOptions
	q     *queue.Queue
	log   *zap.Logger
	dirty *dirtyPaths
	full  chan struct{} // asks for a full scan
	below chan string   // asks for a scan of a directory

	events *fsnotify.Watcher // nil while the root is polled
	tree   watched

	settling *settling // owned by the loop
	identity rootIdentity

	// What Stats tells.
	mode        atomic.Pointer[mode]
	settlingNow atomic.Int64
	overflows   atomic.Int64
	scans       atomic.Int64
	lastScan    atomic.Int64 // unix ns
	scanning    atomic.Pointer[Scanner]
	paused      atomic.Pointer[string]
	beat        atomic.Int64 // unix ns of the last sign of life
	silences    int          // owned by the scans
	last        atomic.Pointer[Report]
}

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
		dirty: newDirtyPaths(), full: make(chan struct{}, 1), below: make(chan string, subtreeQueue),
		settling: newSettling(o.Settle),
	}
	w.tree.dirs = make(map[string]uint64)
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
	LastScan  time.Time // when the last one was completed; zero before the first
	Alive     time.Time // last sign of life
	Report    Report    // of the last scan, or of the one that is going on
}

// Stats returns what the watcher is doing; it may be called at any time.
func (w *Watcher) Stats() Stats {
	m := w.mode.Load()
	s := Stats{
		Polling: m.polling, Why: m.why, Settling: w.settlingNow.Load(), Overflows: w.overflows.Load(),
		Scans: w.scans.Load(), Alive: time.Unix(0, w.beat.Load()),
	}
	if why := w.paused.Load(); why != nil {
		s.Paused = *why
	}
	s.Dirs, s.Watched = w.tree.coverage()
	if ns := w.lastScan.Load(); ns > 0 {
		s.LastScan = time.Unix(0, ns)
	}
	if r := w.last.Load(); r != nil {
		s.Report = *r
	}
	if sc := w.scanning.Load(); sc != nil {
		s.Scanning, s.Report = true, sc.Report()
	}
	return s
}

// Paused reports whether nothing may be inferred about the root at present.
func (w *Watcher) Paused() bool { return w.paused.Load() != nil }

func (w *Watcher) alive() { w.beat.Store(time.Now().UnixNano()) }

// Run follows the root until ctx ends. Watches are set before the directory is
// listed, so nothing that happens in between is missed. A root that is not
// there is paused and waited for. An error is one of the state file.
func (w *Watcher) Run(ctx context.Context) error {
	identity, err := identify(w.o.Root.Path)
	if err != nil {
		return fmt.Errorf("watch root %s: %w", w.o.Root.Path, err)
	}
	w.identity = identity
	w.begin()
	if w.events != nil {
		defer w.events.Close()
	}
	group, ctx := errgroup.WithContext(ctx)
	if w.events != nil {
		var reader sync.WaitGroup
		reader.Go(w.readEvents)
		group.Go(func() error {
			<-ctx.Done()
			err := w.events.Close()
			reader.Wait()
			return err
		})
	}
	w.rescan()
	group.Go(func() error { return w.loop(ctx) })
	group.Go(func() error { return w.scanFull(ctx) })
	group.Go(func() error { return w.scanBelow(ctx) })
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// begin decides whether the root is watched or polled.
func (w *Watcher) begin() {
	if kind := remoteFileSystem(w.o.Root.Path); kind != "" {
		w.poll("changes on a file system of type " + kind + " are not announced by all who make them")
		return
	}
	events, err := fsnotify.NewBufferedWatcher(uint(w.o.Buffer))
	if err != nil {
		w.poll(fmt.Sprintf("no events can be had: %v (see fs.inotify.max_user_instances)", err))
		return
	}
	w.events = events
}

// poll turns to polling and says so, once.
func (w *Watcher) poll(why string) {
	if m := w.mode.Load(); m.polling {
		return
	}
	w.mode.Store(&mode{polling: true, why: why})
	w.log.Warn("the root is polled: changes are found by scans, not by events", zap.String("why", why), zap.Duration("every", w.o.Poll))
}

// readEvents does nothing but note paths: see dirtyPaths.
func (w *Watcher) readEvents() {
	prefix := w.o.Root.Path + "/"
	if w.o.Root.Path == "/" {
		prefix = "/"
	}
	for {
		select {
		case e, ok := <-w.events.Events:
			if !ok {
				return
			}
			if len(e.Name) > len(prefix) && e.Name[:len(prefix)] == prefix {
				w.dirty.put(e.Name[len(prefix):], e.Op)
			}
		case err, ok := <-w.events.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				w.overflows.Add(1)
				w.log.Warn("more happened at once than the kernel's queue of events holds: the root is scanned again, nothing is lost",
					zap.String("sysctl", "fs.inotify.max_queued_events"))
				w.rescan()
				continue
			}
			w.log.Warn("the watcher reports an error", zap.Error(err))
		}
	}
}

// rescan asks for a full scan, unless one is asked for already.
func (w *Watcher) rescan() {
	select {
	case w.full <- struct{}{}:
	default:
	}
}

// loop takes dirty paths, lets them settle, and queues them.
func (w *Watcher) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	check := time.NewTicker(checkRoot)
	defer check.Stop()
	next := time.Now().Add(w.interval())
	for {
		w.alive()
		now := time.Now()
		if !now.Before(next) {
			w.rescan()
			next = now.Add(w.interval())
		}
		if err := w.settleDue(ctx, now); err != nil {
			return err
		}
		w.settlingNow.Store(int64(len(w.settling.entries)))
		wait := time.Until(next)
		if due, ok := w.settling.next(); ok {
			wait = min(wait, time.Until(due))
		}
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-w.dirty.notify:
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
	if w.mode.Load().polling || w.tree.isShort() {
		d = min(d, w.o.Poll)
	}
	return d - time.Duration(rand.Int64N(int64(d)/10+1))
}

// absorb sorts what happened: files settle, new directories are watched and
// scanned, directories that went are not watched any more.
func (w *Watcher) absorb(paths map[string]fsnotify.Op, now time.Time) {
	var gone map[string]bool
	for path, op := range paths {
		if op.Has(fsnotify.Rename) || op.Has(fsnotify.Remove) {
			if w.tree.has(path) {
				if gone == nil {
					gone = make(map[string]bool)
				}
				gone[path] = op.Has(fsnotify.Rename)
			}
		}
	}
	w.unwatch(gone)
	for path, op := range paths {
		if op.Has(fsnotify.Create) {
			if info, err := os.Lstat(filepath.Join(w.o.Root.Path, path)); err == nil && info.IsDir() {
				w.scanLater(path)
				continue
			}
		}
		if w.tree.has(path) {
			continue // an attribute of a directory
		}
		w.settling.touch(path, now)
	}
}

// scanLater asks for the scan of a directory.
func (w *Watcher) scanLater(dir string) {
	select {
	case w.below <- dir:
	default:
		w.rescan()
	}
}
