package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
)

// eventPriority puts what has just happened before the backlog of a scan.
const eventPriority = 1

// settleBatch bounds the paths that are compared and queued at a time.
const settleBatch = 512

// settleDue queues the paths that were quiet for long enough.
func (w *Watcher) settleDue(ctx context.Context, now time.Time) error {
	if w.Paused() {
		return nil
	}
	var batch []queue.Change
	for {
		e := w.settling.dueEntry(now)
		if e == nil || len(batch) >= settleBatch {
			if err := w.enqueue(ctx, batch); err != nil {
				return err
			}
			if e == nil {
				return nil
			}
			batch = batch[:0]
		}
		if c, ok := w.look(e, now); ok {
			batch = append(batch, c)
		}
	}
}

// look decides about a path that was quiet. It is dropped unless it must go on
// settling.
func (w *Watcher) look(e *unsettled, now time.Time) (queue.Change, bool) {
	full := filepath.Join(w.o.Root.Path, e.path)
	info, err := os.Lstat(full)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && w.o.Symlinks == FollowInside {
		// Where it leads to is for a scan to follow, which knows the whole way.
		w.scanLater(parent(e.path))
		w.settling.drop(e)
		return queue.Change{}, false
	}
	if err != nil || !info.Mode().IsRegular() {
		if err == nil && info.IsDir() {
			w.scanLater(e.path)
		}
		w.settling.drop(e)
		return queue.Change{}, false
	}
	st := state.StatOf(info)
	if !w.settling.settled(e, st, now) {
		return queue.Change{}, false
	}
	w.settling.drop(e)
	if d := w.o.Filter.Path(e.path, st.Size, info.ModTime(), now); d.Excluded {
		if !d.Retry.IsZero() {
			w.later(e.path, d.Retry)
		}
		return queue.Change{}, false
	}
	return w.change(e.path, st), true
}

// later lets a path that is too young by the filters settle until it is not.
func (w *Watcher) later(path string, at time.Time) {
	w.settling.touch(path, at.Add(-w.settling.quiet))
}

// parent is the directory of a path, "" for the root.
func parent(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}

// change makes the change of a file that is to be compared.
func (w *Watcher) change(p string, st state.Stat) queue.Change {
	c := queue.Change{RootID: w.o.Root.ID, Path: p, Stat: st, Priority: eventPriority}
	c.HoldClass, c.Hold = w.o.Limits.Hold(path.Base(p), st.Size)
	if c.Hold == "" {
		remote, err := w.o.Remote(p)
		if err != nil {
			c.HoldClass, c.Hold = HoldTooDeep, err.Error()
		}
		c.Remote = remote
	}
	return c
}

// enqueue compares settled files with what is known of them and queues those
// that differ.
func (w *Watcher) enqueue(ctx context.Context, changes []queue.Change) error {
	if len(changes) == 0 {
		return nil
	}
	paths := make([]string, len(changes))
	for i := range changes {
		paths[i] = changes[i].Path
	}
	known, err := w.q.Lookup(ctx, w.o.Root.ID, paths)
	if err != nil {
		return err
	}
	differing := changes[:0]
	for i, c := range changes {
		if known[i].Record != nil && known[i].Record.Stat.Same(c.Stat) {
			c.Hold, c.HoldClass = "", ""
		}
		if compare(c.Stat, known[i].Record, known[i].Job, c.Hold) == differs {
			differing = append(differing, c)
		}
	}
	done, err := w.q.Enqueue(ctx, differing)
	if err != nil {
		return err
	}
	for _, r := range done.Renamed {
		w.log.Warn("two files want one remote path", zap.String("path", r.Path), zap.String("wanted", r.Wanted), zap.String("given", r.Given))
	}
	return nil
}

// scanFull runs the full scans that are asked for, one at a time.
func (w *Watcher) scanFull(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.full:
		}
		if w.Paused() {
			continue
		}
		if err := w.scanOnce(ctx); err != nil {
			return err
		}
	}
}

func (w *Watcher) scanOnce(ctx context.Context) error {
	began := time.Now()
	changed := make(map[string]int64)
	o := w.o.Options
	o.Watch = func(dir string, st state.Stat) {
		w.watch(dir, true)
		if w.tree.isShort() {
			changed[dir] = st.MtimeNs
		}
	}
	var unannounced int64
	first := w.scans.Load() == 0
	o.Unsettled = func(p string, st state.Stat) bool {
		if w.unsettled(p, st) {
			return true
		}
		unannounced++
		return false
	}
	w.beginFull()
	s := NewScanner(w.q, o)
	w.scanning.Store(s)
	err := s.Run(ctx)
	w.scanning.Store(nil)
	report := s.Report()
	w.last.Store(&report)
	w.endFull(err == nil)
	if err != nil {
		return w.scanFailed(ctx, err)
	}
	w.preferRecent(changed)
	w.sayCoverage()
	w.scans.Add(1)
	w.lastScan.Store(time.Now().UnixNano())
	w.listen(first, unannounced)
	w.log.Info("scanned", zap.Int64("files", report.Files), zap.Int64("directories", report.Dirs), zap.Int64("queued", report.Queued),
		zap.Int64("in_step", report.InStep), zap.Int64("unreadable", report.Problems), zap.Duration("took", time.Since(began)))
	for _, p := range report.Problem {
		w.log.Warn("can't be looked at", zap.String("path", p.Path), zap.Error(p.Err))
	}
	return nil
}

// listen turns to polling when rescan after rescan finds what no event
// announced: then events don't come, whatever the reason.
func (w *Watcher) listen(first bool, unannounced int64) {
	if first || unannounced == 0 || w.tree.isShort() {
		w.silences = 0
		return
	}
	w.silences++
	if w.silences >= silent {
		w.poll("rescans keep finding changes that no event announced")
	}
}

// unsettled takes on a differing file that was written so lately that it may
// still be being written: it settles like one that an event told of.
func (w *Watcher) unsettled(p string, st state.Stat) bool {
	age := time.Since(time.Unix(0, max(st.CtimeNs, st.MtimeNs)))
	if age >= w.o.Settle {
		return false
	}
	w.dirty.put(p, 0)
	return true
}

// scanBelow scans new directories.
func (w *Watcher) scanBelow(ctx context.Context) error {
	for {
		var dir string
		select {
		case <-ctx.Done():
			return ctx.Err()
		case dir = <-w.below:
		}
		if w.Paused() {
			continue
		}
		o := w.o.Options
		o.Watch = func(d string, _ state.Stat) { w.watch(d, false) }
		o.Unsettled = w.unsettled
		o.Priority = eventPriority
		err := NewScanner(w.q, o).RunBelow(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone again
		}
		if err != nil {
			if err := w.scanFailed(ctx, err); err != nil {
				return err
			}
		}
		if w.tree.isShort() {
			w.sayCoverage()
		}
	}
}

// scanFailed tells an error of the tree, which is waited out, from one of the
// state file, which ends the watcher.
func (w *Watcher) scanFailed(ctx context.Context, err error) error {
	var inTree *fs.PathError
	var call *os.SyscallError
	if ctx.Err() == nil && (errors.As(err, &inTree) || errors.As(err, &call)) {
		w.log.Warn("a scan could not be completed; nothing is inferred from it", zap.Error(err))
		w.lookAtRoot()
		return nil
	}
	return err
}

// lookAtRoot pauses the root when it is not the directory that it was, and
// resumes when it is again.
func (w *Watcher) lookAtRoot() {
	identity, err := identify(w.o.Root.Path)
	why := ""
	switch {
	case err != nil:
		why = fmt.Sprintf("it can't be reached: %v", err)
	case identity != w.identity:
		why = "another directory is mounted or has been made in its place"
	}
	before := w.paused.Load()
	switch {
	case why != "" && before == nil:
		w.paused.Store(&why)
		w.log.Error("the root is paused: nothing is inferred from its absence, and it resumes by itself", zap.String("why", why))
	case why == "" && before != nil:
		w.paused.Store(nil)
		w.log.Info("the root is back")
		w.rescan()
	}
}
