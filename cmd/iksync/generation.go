package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/hooks"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// generation is the parts of a daemon as one configuration wants them. A new
// configuration makes a new one, while the old lets its last uploads finish.
type generation struct {
	cfg     *config.Config
	key     imagekit.Key
	roots   []openRoot
	hooks   []hooks.Hook
	missing []string // roots that are not there, and are waited for
	// waiting are roots that wait for somebody's decision, busy the ids of those that wait until
	// an earlier generation has let go of their previous directory.
	waiting  []undecided
	busy     []int64
	watchers []*watcher.Watcher
	pool     *uploader.Pool
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // valid after done
}

// start makes and starts the parts.
func (d *daemon) start(cfg *config.Config) (_ *generation, err error) {
	key, warning, err := config.Key(cfg.KeyFile, d.getenv)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	receivers, warnings, err := config.Ready(cfg.Hooks)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	if len(receivers) > 0 && d.outbox == nil {
		d.outbox = uploader.NewOutbox()
	}
	for _, w := range slices.Concat(cfg.Warnings, warnings, []string{warning}) {
		if w != "" {
			d.log.Warn(w)
		}
	}
	client, err := imagekit.New(imagekit.Options{
		Key: key, UploadURL: cfg.UploadURL, APIURL: cfg.APIURL, UserAgent: "iksync/" + version, MaxConns: cfg.Workers, Stall: cfg.Stall,
		ReadsPerSecond: cfg.ReadsPerSecond, WritesPerSecond: cfg.WritesPerSecond, Meter: d.meter,
	})
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	d.bandwidth.Set(cfg.Bandwidth)
	g := &generation{cfg: cfg, key: key, hooks: receivers, done: make(chan struct{})}
	var there []config.Root
	for _, r := range cfg.Roots {
		resolved, err := config.RootPath(r.Path)
		if err != nil {
			g.missing = append(g.missing, r.Path)
			d.log.Error("the root is not there: it is waited for, and nothing is inferred from its absence", zap.String("root", r.Path), zap.Error(err))
			continue
		}
		r.Path = resolved
		there = append(there, r)
	}
	if err := d.lockRoots(cfg.Roots, there); err != nil {
		client.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	how := rootsOf(cfg, there, d.newRoot)
	how.busy = d.uses
	opened, err := openRoots(ctx, d.db, there, how)
	if err != nil {
		cancel()
		client.Close()
		return nil, err
	}
	opened.log(d.log)
	g.roots, g.waiting, g.busy = opened.roots, opened.undecided, opened.busy
	d.use(rootIDs(g.roots), 1)
	d.newRoot = false // later ones are decided about anew
	g.cancel = cancel
	o := uploader.Options{Client: client, Workers: cfg.Workers, Settle: cfg.Settle, Rehash: cfg.Rehash, LowPriority: watcher.LowPriority, Grace: 24 * time.Hour, Cut: d.cut, Log: d.log, Probe: cfg.Probe, Bandwidth: d.bandwidth, Durations: d.took, Outbox: d.outbox}
	for i := range g.roots {
		r := &g.roots[i]
		options := r.scanOptions(cfg.Limits)
		w := watcher.NewWatcher(d.q, watcher.WatchOptions{
			Options: options, Settle: cfg.Settle, Rescan: cfg.Rescan, Poll: cfg.Poll, MaxWatches: cfg.MaxWatches, Log: d.log,
		})
		g.watchers = append(g.watchers, w)
		up := r.uploadRoot(cfg.Limits)
		up.Paused, up.Calm, up.Sound, up.Rescan = w.Paused, w.Calm, w.Sound, w.Rescan
		up.Halted = func() bool { return d.q.PausedUntil(up.ID) != nil }
		o.Roots = append(o.Roots, up)
	}
	g.pool = uploader.New(d.db, d.q, o)
	go func() {
		defer close(g.done)
		g.err = g.run(ctx, func(ctx context.Context) { d.sayOutside(ctx, g) })
		cancel()
		closeRoots(g.roots)
		d.use(rootIDs(g.roots), -1)
		client.Close()
	}()
	return g, nil
}

// use counts the generations that have a root.
func (d *daemon) use(roots []int64, n int) {
	d.usedMu.Lock()
	defer d.usedMu.Unlock()
	for _, id := range roots {
		d.used[id] += n
	}
}

// uses reports whether any generation has a root.
func (d *daemon) uses(root int64) bool {
	d.usedMu.Lock()
	defer d.usedMu.Unlock()
	return d.used[root] > 0
}

// decided says why roots that waited can be taken up; "" when none can.
func (d *daemon) decided(ctx context.Context, g *generation) string {
	for _, id := range g.busy {
		if !d.uses(id) {
			return "a root can be recorded at its new path"
		}
	}
	if len(g.waiting) == 0 {
		return ""
	}
	recorded, err := d.db.Roots(ctx)
	if err != nil {
		d.log.Warn("it can't be told whether a root was decided about", zap.Error(err))
		return ""
	}
	for i := range g.waiting {
		path := g.waiting[i].config.Path
		if slices.ContainsFunc(recorded, func(r state.Root) bool { return r.Path == path }) {
			return "it was decided which root " + path + " is"
		}
	}
	return ""
}

// root is the one with an id; nil when this generation does not have it.
func (g *generation) root(id int64) *openRoot {
	for i := range g.roots {
		if g.roots[i].state.ID == id {
			return &g.roots[i]
		}
	}
	return nil
}

// run runs the parts, and say beside them.
func (g *generation) run(ctx context.Context, say func(context.Context)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		say(ctx)
		return nil
	})
	for _, w := range g.watchers {
		group.Go(func() error { return w.Run(ctx) })
	}
	group.Go(func() error { return g.pool.Run(ctx) })
	return group.Wait()
}

// sayOutside tells which files are in the library outside of the folders of their roots.
func (d *daemon) sayOutside(ctx context.Context, g *generation) {
	for i := range g.roots {
		e, err := outsideFolder(ctx, d.q, &g.roots[i])
		switch {
		case err != nil && ctx.Err() == nil:
			d.log.Warn("it can't be told which files are outside of their root's folder", zap.Error(err))
		case e != nil:
			d.log.Info("files were uploaded when their root had another folder, and stay there; new ones go to the present one",
				zap.String("root", e.Root), zap.String("folder", e.Folder), zap.Int64("files", e.Files), zap.String("such_as", e.First))
		}
	}
}

// curable are the classes of failures whose cause may be gone with another key or
// another plan of ImageKit's, or with time.
var curable = []string{imagekit.Account.String(), imagekit.Credentials.String(), imagekit.File.String()}

// tryAgain makes failed jobs ready whose cause may be gone: of every root when the
// daemon starts (before is nil) and when the key or the limits are others than before,
// else of the roots that are new.
func (d *daemon) tryAgain(g, before *generation) {
	known := make(map[int64]bool)
	if before != nil && g.key.Equal(before.key) && g.cfg.Limits == before.cfg.Limits {
		for _, id := range rootIDs(before.roots) {
			known[id] = true
		}
	}
	ids := slices.DeleteFunc(rootIDs(g.roots), func(id int64) bool { return known[id] })
	n, err := d.q.Retry(context.Background(), queue.Selection{Roots: ids, Classes: curable})
	switch {
	case err != nil:
		d.log.Error("what failed before is not tried again", zap.Error(err))
	case n > 0:
		d.log.Info("what failed before is tried again: its cause may be gone", zap.Int64("jobs", n))
	}
}

// lockRoots takes the locks of roots that are new and gives back those that are
// not configured any more. When one can't be had, none is taken.
func (d *daemon) lockRoots(configured, there []config.Root) (err error) {
	wanted := make(map[string]bool)
	for _, r := range slices.Concat(configured, there) { // one that was missing has its symlinks resolved only there
		wanted[r.Path] = true
	}
	var taken []string
	moved := make(map[string]string) // paths of locks before, by the paths now
	defer func() {
		if err == nil {
			return
		}
		for _, path := range taken {
			_ = d.locks[path].Close()
			delete(d.locks, path)
		}
		for path, before := range moved {
			d.locks[before] = d.locks[path]
			delete(d.locks, path)
		}
	}()
	for _, r := range there {
		if held := d.locks[r.Path]; held != nil {
			if same(held, r.Path) {
				continue
			}
			_ = held.Close() // another directory is there now
			delete(d.locks, r.Path)
		}
		if before := d.heldAs(r.Path, wanted); before != "" {
			d.locks[r.Path], moved[r.Path] = d.locks[before], before
			delete(d.locks, before)
			continue
		}
		lock, err := lockRoot(r.Path)
		if err != nil {
			return err
		}
		d.locks[r.Path] = lock
		taken = append(taken, r.Path)
	}
	for path, lock := range d.locks {
		if !wanted[path] {
			_ = lock.Close()
			delete(d.locks, path)
		}
	}
	return nil
}

// heldAs returns the path under which the directory at another path is locked already,
// since it was renamed or is mounted elsewhere; "" when it is not.
func (d *daemon) heldAs(path string, wanted map[string]bool) string {
	for before, lock := range d.locks {
		if !wanted[before] && same(lock, path) {
			return before
		}
	}
	return ""
}

func same(held *os.File, path string) bool {
	a, err := held.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// stale says why the parts must begin anew; "" when they need not: the key is
// refused and another is there, or a root is there that was not, so its directory
// must be opened afresh.
func (g *generation) stale(getenv func(string) string) string {
	if b := g.pool.Stats().Breaker; b != nil && b.Class == imagekit.Credentials {
		if key, _, err := config.Key(g.cfg.KeyFile, getenv); err == nil && !key.Equal(g.key) {
			return "there is another private key"
		}
	}
	for _, path := range g.missing {
		if _, err := config.RootPath(path); err == nil {
			return "the root " + path + " is there now"
		}
	}
	why := ""
	for i, w := range g.watchers {
		if w.Resumed() {
			why = "the root " + g.roots[i].config.Path + " is back"
		}
	}
	return why
}

// oneLine is how it stands in one line for people.
func oneLine(s *control.Status) string {
	var known, todo, bytes, settling, failing, held, overflows int64
	var notes []string
	for i := range s.Roots {
		r := &s.Roots[i]
		known += r.Files
		todo += r.Backlog
		bytes += r.BacklogBytes
		settling += r.Settling
		held += r.HeldBack
		failing += sum(r.Failing)
		overflows += r.Watch.Overflows
		switch {
		case r.State == control.Undecided:
			notes = append(notes, r.Path+" needs a decision (iksync status)")
		case r.State == control.Paused:
			notes = append(notes, r.Path+" is paused: "+r.Why)
		case r.Watch.Polling:
			notes = append(notes, r.Path+" is polled")
		case r.Watch.Why != "":
			notes = append(notes, fmt.Sprintf("%s: %d %% watched", r.Path, 100*r.Watch.Watched/max(r.Watch.Directories, 1)))
		}
	}
	if b := s.Uploads.Breaker; b != nil {
		notes = append(notes, fmt.Sprintf("uploads wait (%s): %s", b.Class, b.Reason))
	}
	if s.Uploads.Window < s.Uploads.Workers {
		notes = append(notes, fmt.Sprintf("%d instead of %d uploads at once, as ImageKit bears them", s.Uploads.Window, s.Uploads.Workers))
	}
	line := fmt.Sprintf("in step, %s", files(known))
	if todo > 0 || settling > 0 {
		line = fmt.Sprintf("syncing, %s to go (%s)", files(todo), humanize.Bytes(uint64(bytes)))
		if settling > 0 {
			line += fmt.Sprintf(", %s settling", humanize.Comma(settling))
		}
	}
	if overflows > 0 {
		notes = append(notes, humanize.Comma(overflows)+" overflows of the event queue, each followed by a scan")
	}
	if failing > 0 {
		notes = append(notes, humanize.Comma(failing)+" failing")
	}
	if held > 0 {
		notes = append(notes, quantity(held, "removal waits", "removals wait")+" for iksync approve")
	}
	return strings.Join(append([]string{line}, notes...), "; ")
}

// keyRefused reports whether ImageKit refuses the key.
func keyRefused(err error) bool {
	var api *imagekit.Error
	return errors.As(err, &api) && api.Class == imagekit.Credentials
}
