package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
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
	if w.settling.dueEntry(now) == nil && len(w.absent)+len(w.vanished) == 0 {
		return nil
	}
	w.lookAtRoot() // another directory in its place is not to be taken for it
	if w.Paused() {
		w.absent = nil // the scan of all that follows finds it
		w.setVanished(nil)
		return nil
	}
	var batch []queue.Change
	w.vacancy = vacancy{}
	clear(w.trust)
	for {
		e := w.settling.dueEntry(now)
		if e == nil || len(batch)+len(w.absent) >= settleBatch {
			if err := w.markAbsent(ctx); err != nil {
				return err
			}
			if err := w.enqueue(ctx, batch); err != nil {
				return err
			}
			if e == nil {
				return w.markVanished(ctx)
			}
			w.alive()
			batch = batch[:0]
		}
		if c, ok := w.look(e, now); ok {
			batch = append(batch, c)
		}
	}
}

// markAbsent notes what was looked for in vain. Of directories with many records it
// only begins to.
func (w *Watcher) markAbsent(ctx context.Context) error {
	rest, err := w.q.MarkAbsent(ctx, w.o.Root.ID, w.absent)
	w.absent = w.absent[:0]
	w.setVanished(append(w.vanished, rest...))
	return err
}

// vanishedAtOnce bounds the directories that markVanished goes on with.
const vanishedAtOnce = 64

// markVanished goes on with directories that have many records, for as little time as
// others can wait.
func (w *Watcher) markVanished(ctx context.Context) error {
	next := w.vanished[:min(len(w.vanished), vanishedAtOnce)]
	others := w.vanished[len(next):]
	var still []queue.Absent
	for _, a := range next {
		info, err := os.Lstat(w.onDisk(a.Path))
		switch {
		case err == nil && info.IsDir(): // it is back: a scan tells what is in it, whatever has been noted
			w.scanLater(a.Path)
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			still = append(still, a)
		default: // that can't be told
			w.rescan()
		}
	}
	rest, err := w.q.MarkAbsent(ctx, w.o.Root.ID, still)
	w.setVanished(append(others, rest...))
	return err
}

func (w *Watcher) setVanished(vanished []queue.Absent) {
	w.vanished = vanished
	w.vanishing.Store(len(vanished) > 0)
}

// gone notes that there is nothing at a path any more, provided that the root
// itself is still to be reached.
func (w *Watcher) gone(path string) {
	dir := parent(path)
	if !w.vacancy.knows(dir) {
		root, err := os.OpenRoot(w.o.Root.Path)
		if err != nil {
			return
		}
		defer root.Close()
		if IsEmpty(root) {
			return
		}
		w.vacancy.device(root, dir)
	}
	w.absent = append(w.absent, queue.Absent{Path: path, Why: state.Gone, Below: true, Device: w.vacancy.answer, Empty: w.vacancy.empty})
}

// IsEmpty reports what an unmounted root looks like, and what nothing is inferred
// from.
func IsEmpty(root *os.Root) bool {
	f, err := root.Open(".")
	if err != nil {
		return true
	}
	defer f.Close()
	names, _ := f.Readdirnames(1) // one that can't be read has none
	return len(names) == 0
}

// look decides about a path that was quiet. It is dropped unless it must go on
// settling.
func (w *Watcher) look(e *unsettled, now time.Time) (queue.Change, bool) {
	info, err := os.Lstat(w.onDisk(e.path))
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && w.o.Symlinks == FollowInside {
		// Where it leads to is for a scan to follow, which knows the whole way.
		w.scanLater(parent(e.path))
		w.settling.drop(e)
		return queue.Change{}, false
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		w.log.Debug("can't be looked at; it is tried again", zap.String("path", e.path), zap.Error(err))
		w.settling.putOff(e, now.Add(w.o.Poll))
		return queue.Change{}, false
	}
	if err != nil || !info.Mode().IsRegular() {
		w.sightings.note(e.path, "no file is there", now)
		switch {
		case err != nil:
			w.gone(e.path)
		case info.IsDir():
			w.scanLater(e.path)
			w.absent = append(w.absent, queue.Absent{Path: e.path, Why: state.Gone})
		case info.Mode()&fs.ModeSymlink == 0:
			w.absent = append(w.absent, queue.Absent{Path: e.path, Why: state.Gone})
		}
		w.settling.drop(e)
		return queue.Change{}, false
	}
	st := state.StatOf(info)
	if st.Mount, err = w.mountOf(e.path, st.Dev); err != nil {
		w.log.Debug("can't be looked at; it is tried again", zap.String("path", e.path), zap.Error(err))
		w.settling.putOff(e, now.Add(w.o.Poll))
		return queue.Change{}, false
	}
	if !w.settling.settled(e, st, now) {
		return queue.Change{}, false
	}
	w.settling.drop(e)
	if d := w.o.Filter.Path(e.path, st.Size, info.ModTime(), now); d.Excluded {
		w.sightings.note(e.path, "quiet; left out by the filters", now)
		if d.Retry.IsZero() {
			w.absent = append(w.absent, queue.Absent{Path: e.path, Why: state.Filtered})
		} else {
			w.later(e.path, d.Retry)
		}
		return queue.Change{}, false
	}
	// It has been quiet: the look before, or its change time, is as old as that.
	return w.o.change(e.path, st, max(state.Uptime()-w.settling.quiet, 0), eventPriority), true
}

// mountOf returns Stat.Mount of the file at a path. It is asked for once for each device
// and turn, since another file system may be mounted at any time.
func (w *Watcher) mountOf(path string, dev uint64) (int64, error) {
	return w.trust.mount(dev, func() (state.Trust, error) { return w.q.Mounts().At(w.onDisk(path)) })
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
	var present []string
	var back []queue.Change // is queued if its record, which shows it as it is, has gone meanwhile
	for i, c := range changes {
		if record := known[i].Record; record != nil {
			equal := state.Prove(record.Content(), state.Content{Stat: c.Stat}, state.SamePath) == state.Equal
			if record.Absent != state.Present && record.Stat.Alike(c.Stat) {
				present = append(present, c.Path)
				if equal { // otherwise it is queued in any case
					back = append(back, c)
				}
			}
			if equal {
				c.Hold, c.HoldClass = "", ""
			}
		}
		verdict := compare(c.Stat, known[i].Record, known[i].Job, c.Hold)
		switch verdict {
		case differs:
			differing = append(differing, c)
		case notCompared:
			c.Priority = queue.ComparePriority
			differing = append(differing, c)
		}
		w.sightings.note(c.Path, "quiet; "+verdict.String(), time.Now())
	}
	if len(present) > 0 {
		if err := w.q.MarkPresent(ctx, w.o.Root.ID, present); err != nil {
			return err
		}
	}
	done, err := w.q.Enqueue(ctx, append(differing, back...))
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
		w.lookAtRoot()
		if w.Paused() {
			continue // it is scanned when it is back
		}
		if err := w.scanOnce(ctx); err != nil {
			return err
		}
	}
}

func (w *Watcher) scanOnce(ctx context.Context) error {
	began := time.Now()
	noRoom := make(map[string]state.Stat)
	o := w.o.Options
	previous := w.lastScan.Load()
	lost := w.misses.now()
	missed := w.misses.pending()
	// The safety net is in no hurry; what is known to have been missed is, and who asks.
	urgent := w.urgent.Swap(false)
	spare := budget{limited: previous > 0 && !missed && !urgent && !w.mode.Load().polling && !w.tree.isShort()}
	w.catchingUp.Store(!spare.limited)
	defer w.catchingUp.Store(false)
	o.Watch = func(dir string, st state.Stat) {
		spare.spend(ctx)
		if !w.watch(dir, st, true) {
			noRoom[dir] = st
		}
	}
	var unannounced int64
	o.Unsettled = func(p string, st state.Stat) bool {
		if w.unsettled(p, st) {
			return true
		}
		if w.unannounced(st, previous) {
			unannounced++
		}
		return false
	}
	o.Young = w.young
	w.beginFull(missed)
	s := NewScanner(w.q, o)
	w.scanning.Store(s)
	run := s.Run
	if spare.limited {
		run = func(ctx context.Context) error { return LowPriority(func() error { return s.Run(ctx) }) }
	}
	err := run(ctx)
	report := s.Report()
	if err == nil || previous == 0 {
		w.last.Store(&report)
	}
	w.scanning.Store(nil)
	w.endFull(err == nil)
	if err != nil {
		if urgent {
			w.urgent.Store(true) // who asked waits for a scan that is complete
		}
		return w.scanFailed(ctx, err)
	}
	w.misses.cover(lost)
	w.failure.Store(nil)
	w.preferRecent(noRoom)
	w.sayCoverage()
	w.scanTime.Add(int64(time.Since(began)))
	w.scans.Add(1)
	w.lastScan.Store(time.Now().UnixNano())
	if !missed && !w.misses.pending() {
		w.listen(unannounced)
	}
	// Polls that find nothing are not worth a line each.
	level := zap.DebugLevel
	if previous == 0 || report.Queued > 0 || !w.mode.Load().polling && !w.tree.isShort() {
		level = zap.InfoLevel
	}
	w.log.Log(level, "scanned", zap.Int64("files", report.Files), zap.Int64("directories", report.Dirs), zap.Int64("queued", report.Queued),
		zap.Int64("in_step", report.InStep), zap.Int64("unreadable", report.Problems), zap.Duration("took", time.Since(began)))
	w.sayProblems(report.Problem)
	return nil
}

// sayProblems tells what can't be looked at, each once for as long as it lasts.
func (w *Watcher) sayProblems(problems []Problem) {
	said := w.problems
	w.problems = make(map[string]bool, len(problems))
	for _, p := range problems {
		w.problems[p.Path] = true
		if !said[p.Path] {
			w.log.Warn("can't be looked at", zap.String("path", p.Path), zap.Error(p.Err))
		}
	}
}

// unannounced reports whether a differing file shows that an event did not
// come: it was changed since the end of the previous scan (0 is none), by when
// all was watched, and so long ago that an event would have been followed.
// Symlinks lead to changes that are announced under another name.
func (w *Watcher) unannounced(st state.Stat, previous int64) bool {
	return previous > 0 && st.CtimeNs > previous && time.Since(st.Ctime()) >= late*w.o.Settle &&
		w.settlingNow.Load() <= settleBatch && w.o.Symlinks == SkipSymlinks && !w.tree.isShort()
}

// listen turns to polling when rescan after rescan finds what no event
// announced: then events don't come, whatever the reason.
func (w *Watcher) listen(unannounced int64) {
	if unannounced == 0 {
		w.silences = 0
		return
	}
	w.silences++
	if w.silences >= silent {
		w.poll("rescans keep finding changes that no event announced; it stays so until iksync is started again")
	}
}

// unsettled takes on a differing file that was written so lately that it may
// still be being written: it settles like one that an event told of.
func (w *Watcher) unsettled(p string, st state.Stat) bool {
	at := st.Ctime()
	if st.CtimeNs == 0 {
		at = st.Mtime()
	}
	if time.Since(at) >= w.o.Settle {
		return false
	}
	w.dirty.put(p, 0)
	return true
}

// young takes on a file that the filters find too young: it is looked at again
// when it is old enough.
func (w *Watcher) young(p string) { w.dirty.put(p, 0) }

// scanBelow scans new directories.
func (w *Watcher) scanBelow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.below.notify:
		}
		w.scanningBelow.Store(true) // before they are taken: in between there would seem to be nothing
		dirs := topmost(w.below.take())
		if len(dirs) > subtreeQueue {
			w.rescan()
			dirs = nil
		}
		for _, dir := range dirs {
			w.lookAtRoot()
			if w.Paused() {
				break // all is scanned when it is back
			}
			if err := w.scanDir(ctx, dir); err != nil {
				return err
			}
		}
		w.scanningBelow.Store(false)
		if w.tree.isShort() {
			w.sayCoverage()
		}
	}
}

// topmost returns the directories that are not below another of them, in order.
func topmost(dirs map[string]fsnotify.Op) []string {
	if _, root := dirs[""]; root {
		return []string{""}
	}
	var top []string
dirs:
	for dir := range dirs {
		for up := path.Dir(dir); up != "."; up = path.Dir(up) {
			if _, ok := dirs[up]; ok {
				continue dirs
			}
		}
		top = append(top, dir)
	}
	slices.Sort(top)
	return top
}

// scanDir scans a directory and what is below it.
func (w *Watcher) scanDir(ctx context.Context, dir string) error {
	o := w.o.Options
	o.Watch = func(d string, st state.Stat) { w.watch(d, st, false) }
	o.Unsettled = w.unsettled
	o.Young = w.young
	o.Priority = eventPriority
	err := NewScanner(w.q, o).RunBelow(ctx, dir)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP): // gone again
	case errors.Is(err, fs.ErrPermission) && ctx.Err() == nil:
		// A full scan reports it; an event tells when it may be read.
		w.log.Debug("can't be looked at", zap.String("path", dir), zap.Error(err))
	default:
		// A full scan that is past this directory already may end well: it does not make up for this.
		w.misses.note()
		return w.scanFailed(ctx, err)
	}
	return nil
}

// scanFailed tells an error of the tree, which is waited out, from one of the
// state file, which ends the watcher.
func (w *Watcher) scanFailed(ctx context.Context, err error) error {
	var inTree *fs.PathError
	var call *os.SyscallError
	if ctx.Err() != nil || !errors.As(err, &inTree) && !errors.As(err, &call) {
		return err
	}
	level, why := zap.WarnLevel, err.Error()
	if before := w.failure.Swap(&why); before != nil && *before == why {
		level = zap.DebugLevel // said already
	}
	w.log.Log(level, "a scan could not be completed; nothing is inferred from it, and it is tried again", zap.Error(err))
	w.lookAtRoot()
	return nil
}

// strangerFor is for how many times the settle time another directory must have been in
// the root's place to be taken for it.
const strangerFor = 10

// lookAtRoot pauses the root when it is not the directory that it was, and
// resumes when it is again, or when another one stays in its place.
func (w *Watcher) lookAtRoot() {
	w.rootMu.Lock()
	defer w.rootMu.Unlock()
	identity, err := identify(w.o.Root.Path)
	why := ""
	switch {
	case err != nil:
		why = fmt.Sprintf("it can't be reached: %v", err)
	case w.identity == rootIdentity{}: // seen for the first time
	case !identity.same(w.identity):
		why = w.lookAtStranger(identity)
	case identity != w.identity: // mounted again: the watches ended with the mount
		w.misses.note()
		w.rescan()
	}
	if why == "" {
		w.identity, w.stranger = identity, rootIdentity{}
	}
	before := w.paused.Load()
	switch {
	case why != "" && before == nil:
		w.paused.Store(&why)
		w.log.Error("the root is paused: nothing is inferred from its absence, and it resumes by itself", zap.String("why", why))
	case why != "" && *before != why:
		w.paused.Store(&why)
		w.log.Info("the root is paused still", zap.String("why", why))
	case why == "" && before != nil:
		w.misses.note()
		w.paused.Store(nil)
		w.resumed.Store(true)
		w.log.Info("the root is back")
		w.rescan()
	}
}

// lookAtStranger says why a root waits that has another directory in its place; "" when
// that has been there for a while, and there is something in it: an empty one may be
// where a disk is to be mounted. What was recorded of the other is safe: a scan that
// does not find most of it lets nothing be removed.
func (w *Watcher) lookAtStranger(identity rootIdentity) string {
	if !identity.same(w.stranger) {
		w.stranger, w.strangerSince = identity, time.Now()
	}
	root, err := os.OpenRoot(w.o.Root.Path)
	if err != nil {
		return fmt.Sprintf("another directory is in its place, and can't be read: %v", err)
	}
	defer root.Close()
	switch {
	case IsEmpty(root):
		return "an empty directory is in its place: a disk may have to be mounted there"
	case time.Since(w.strangerSince) < strangerFor*w.o.Settle:
		return "another directory is mounted or has been made in its place"
	}
	w.log.Warn("another directory is in the root's place for good, so it is taken for the root; nothing is removed in the library unless most files are found in it as they are recorded, or by iksync approve")
	return ""
}
