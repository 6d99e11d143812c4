package watcher

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"go.uber.org/zap"
)

// watched is the set of directories of a root that are watched.
type watched struct {
	mu    sync.Mutex
	dirs  map[string]uint64 // path below the root -> the full scan that saw it last
	scan  uint64            // number of the full scan
	total int64             // directories at the last full scan
	seen  int64             // directories of the full scan that is going on
	short bool              // not all can be watched
}

func (t *watched) has(dir string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.dirs[dir]
	return ok
}

func (t *watched) isShort() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.short
}

func (t *watched) coverage() (total, watched int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.total, t.seen, int64(len(t.dirs))), int64(len(t.dirs))
}

// watch sets the watch of a directory; "" is the root. It is called before the
// directory is listed. full tells that a full scan calls.
func (w *Watcher) watch(dir string, full bool) {
	w.alive()
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if full {
		t.seen++
	}
	if w.events == nil {
		return
	}
	_, have := t.dirs[dir]
	if !have && w.o.MaxWatches > 0 && len(t.dirs) >= w.o.MaxWatches {
		t.short = true
		return
	}
	// A watch that is there is set again: the directory may be another by now.
	err := w.events.Add(filepath.Join(w.o.Root.Path, dir))
	switch {
	case err == nil:
		t.dirs[dir] = t.scan
	case errors.Is(err, syscall.ENOSPC):
		t.short = true
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR): // gone already
		delete(t.dirs, dir)
	default:
		w.log.Debug("a directory can't be watched", zap.String("path", dir), zap.Error(err))
	}
}

// unwatch forgets directories that went: those that were removed, and those
// that were renamed (true) with all below, whose watches would go on under the
// names that they no longer have.
func (w *Watcher) unwatch(gone map[string]bool) {
	if len(gone) == 0 {
		return
	}
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	moved := false
	for dir, renamed := range gone {
		moved = moved || renamed
		delete(t.dirs, dir)
		w.remove(dir)
	}
	if !moved {
		return
	}
	for dir := range t.dirs {
		for up := path.Dir(dir); up != "."; up = path.Dir(up) {
			if gone[up] {
				delete(t.dirs, dir)
				w.remove(dir)
				break
			}
		}
	}
}

// remove ends a watch that may have ended by itself.
func (w *Watcher) remove(dir string) {
	_ = w.events.Remove(filepath.Join(w.o.Root.Path, dir))
}

// beginFull begins the count of a full scan.
func (w *Watcher) beginFull() {
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scan++
	t.seen = 0
	t.short = false
}

// endFull ends it: watches of directories that it did not see are stale.
func (w *Watcher) endFull(completed bool) {
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if !completed {
		return
	}
	t.total, t.seen = t.seen, 0
	for dir, scan := range t.dirs {
		if scan+1 < t.scan { // two scans in a row have not seen it: no scan runs beside events
			delete(t.dirs, dir)
			w.remove(dir)
		}
	}
}

// sayCoverage tells how much of the tree is watched, when that changes.
func (w *Watcher) sayCoverage() {
	total, have := w.tree.coverage()
	short := w.tree.isShort()
	before := w.mode.Load()
	if before.polling {
		return
	}
	if !short {
		if before.why != "" {
			w.mode.Store(&mode{})
			w.log.Info("all directories are watched again", zap.Int64("directories", total))
		}
		return
	}
	why := fmt.Sprintf("%d of %d directories are watched (%d %%); the others are scanned every %s; cure: sysctl -w fs.inotify.max_user_watches=%d",
		have, total, 100*have/max(total, 1), w.o.Poll, roundUp(2*total))
	if w.o.MaxWatches > 0 && have >= int64(w.o.MaxWatches) {
		why = fmt.Sprintf("%d of %d directories are watched (%d %%), as max_watches says; the others are scanned every %s",
			have, total, 100*have/max(total, 1), w.o.Poll)
	}
	if why != before.why {
		w.mode.Store(&mode{why: why})
		w.log.Warn("not every directory can be watched", zap.String("why", why))
	}
}

// roundUp gives a round number for a limit.
func roundUp(n int64) int64 {
	for _, step := range []int64{1 << 16, 1 << 18, 1 << 20, 1 << 22} {
		if n <= step {
			return step
		}
	}
	return n
}

// preferRecent makes room for directories that changed lately when not all can
// be watched: they are given by their modification times.
func (w *Watcher) preferRecent(changed map[string]int64) {
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.short || len(t.dirs) == 0 {
		return
	}
	all := make([]string, 0, len(changed))
	for dir := range changed {
		all = append(all, dir)
	}
	slices.SortFunc(all, func(a, b string) int {
		if changed[a] != changed[b] {
			if changed[a] > changed[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	room := len(t.dirs)
	keep := make(map[string]bool, room)
	keep[""] = true
	for _, dir := range all {
		if len(keep) >= room {
			break
		}
		keep[dir] = true
	}
	for dir := range t.dirs {
		if !keep[dir] {
			delete(t.dirs, dir)
			w.remove(dir)
		}
	}
	for dir := range keep {
		if _, have := t.dirs[dir]; !have && w.events.Add(filepath.Join(w.o.Root.Path, dir)) == nil {
			t.dirs[dir] = t.scan
		}
	}
}
