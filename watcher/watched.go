package watcher

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"iksync/state"
)

// watched is the set of directories of a root that are watched.
//
// The kernel watches inodes, not paths: a directory that is watched when it is
// given another name goes on to be watched under the old one, and to set its
// watch under the new one changes nothing. So the inodes are kept too, and a
// watch that is found to be under another's name is ended before it is set.
//
// A path is never given to fsnotify's Add while a watch is set under it: if it
// leads to a directory by then that is watched under another name, fsnotify is
// left with a path without a watch, and panics when that is removed.
type watched struct {
	mu    sync.Mutex
	dirs  map[string]*watchedDir // by path below the root
	at    map[fileID]string      // the same by what the watch is on
	also  map[string][]string    // other paths of a watched directory: symlinks that are followed, bind mounts
	scan  uint32                 // number of the full scan
	total int64                  // directories at the last full scan, kept up by events
	seen  int64                  // directories of the full scan that is going on
	short bool                   // not all can be watched
}

// watchedDir is small, for there may be a million.
type watchedDir struct {
	id    fileID
	mtime uint32 // seconds, when the last scan saw it
	scan  uint32 // the full scan that saw it last
}

func newWatched() watched {
	return watched{dirs: make(map[string]*watchedDir), at: make(map[fileID]string), also: make(map[string][]string)}
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

// addOtherNames adds to paths what they are called by other ways that lead to
// their directories: an event tells one name only.
func (t *watched) addOtherNames(paths map[string]fsnotify.Op) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.also) == 0 {
		return
	}
	others := make(map[string]fsnotify.Op)
	for p, op := range paths {
		for _, dir := range t.also[parent(p)] {
			others[path.Join(dir, path.Base(p))] |= op
		}
	}
	for p, op := range others {
		paths[p] |= op
	}
}

// watch sets the watch of a directory; "" is the root. It is called before the
// directory is listed, with what the listed one is. full tells that a full scan
// calls. It returns false when there is no room for one more.
func (w *Watcher) watch(dir string, st state.Stat, full bool) bool {
	w.alive()
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if full {
		t.seen++
	}
	if w.events == nil {
		return true
	}
	id := fileID{st.Dev, st.Ino}
	known, had := t.dirs[dir]
	if root := t.dirs[""]; had && known.id == id && root != nil && id.dev == root.id.dev {
		known.scan, known.mtime = t.scan, seconds(st.MtimeNs)
		return true
	}
	// Another directory by now, or one of a file system that is mounted below the
	// root: a watch ends with its mount, and silently.
	if had && known.id == id {
		_ = w.events.Remove(w.onDisk(dir))
	} else {
		w.forget(dir)
	}
	if name, ok := t.at[id]; ok && name != dir && id.ino != 0 {
		if w.leadsTo(name, id) {
			if !slices.Contains(t.also[name], dir) {
				t.also[name] = append(t.also[name], dir)
			}
			if full {
				t.seen--
			}
			return true
		}
		// Moved here, and no event told; or the scan had it open when another took
		// its place, whose watch goes now, so that place is looked at again.
		w.forget(name)
		w.scanLater(name)
		if !full {
			t.total--
		}
	}
	if _, have := t.dirs[dir]; !have && w.o.MaxWatches > 0 && len(t.dirs) >= w.o.MaxWatches {
		t.short = true
		return false
	}
	err := w.set(dir, id, seconds(st.MtimeNs))
	if err == nil {
		if !had && !full {
			t.total++
		}
		return true
	}
	w.forget(dir)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE):
		t.short = true
		return false
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // gone already
	default:
		w.log.Debug("a directory can't be watched", zap.String("path", dir), zap.Error(err))
	}
	return true
}

// set sets the watch of a directory that has none.
func (w *Watcher) set(dir string, id fileID, mtime uint32) error {
	whole := w.onDisk(dir)
	if err := w.events.Add(whole); err != nil {
		return err
	}
	if strings.HasSuffix(whole, dir) {
		dir = whole[len(whole)-len(dir):] // fsnotify keeps the whole path, and this needs no memory beside it
	}
	t := &w.tree
	t.dirs[dir] = &watchedDir{id: id, mtime: mtime, scan: t.scan}
	t.at[id] = dir
	return nil
}

// seconds are those of a time in nanoseconds, as far as they can be told in 32 bits.
func seconds(ns int64) uint32 {
	return uint32(min(max(ns/int64(time.Second), 0), math.MaxUint32))
}

// forget ends the watch of a directory; it may have ended by itself.
func (w *Watcher) forget(dir string) {
	t := &w.tree
	known, ok := t.dirs[dir]
	if !ok {
		return
	}
	delete(t.dirs, dir)
	if t.at[known.id] == dir {
		delete(t.at, known.id)
	}
	for _, other := range t.also[dir] {
		w.scanLater(other) // it had no watch of its own
	}
	delete(t.also, dir)
	_ = w.events.Remove(w.onDisk(dir))
}

// leadsTo reports whether the path is still that of a directory.
func (w *Watcher) leadsTo(dir string, id fileID) bool {
	info, err := os.Stat(w.onDisk(dir))
	if err != nil {
		return false
	}
	st := state.StatOf(info)
	return id == fileID{st.Dev, st.Ino}
}

// onDisk is a path of the root as the system takes it.
func (w *Watcher) onDisk(path string) string { return filepath.Join(w.o.Root.Path, path) }

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
	before := len(t.dirs)
	moved := false
	for dir, renamed := range gone {
		moved = moved || renamed
		w.forget(dir)
	}
	if moved {
		for dir := range t.dirs {
			for up := path.Dir(dir); up != "."; up = path.Dir(up) {
				if gone[up] {
					w.forget(dir)
					break
				}
			}
		}
	}
	t.total -= int64(before - len(t.dirs))
}

// beginFull begins the count of a full scan. anew ends all watches, because
// some may have ended without a word; the scan sets each again before it lists
// the directory, so nothing that happens in between is missed. They end with their
// queue of events: ended one by one each would be an event itself, and those of a
// large tree overflow the queue again, scan after scan.
func (w *Watcher) beginFull(anew bool) {
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if anew && w.events != nil {
		if err := w.closeEvents(); err != nil {
			w.log.Debug("the queue of events can't be closed", zap.Error(err))
		}
		w.openEvents()
		clear(t.dirs)
		clear(t.at)
		clear(t.also)
	}
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
	for dir, known := range t.dirs {
		if known.scan+1 < t.scan { // two scans in a row have not seen it: no scan runs beside events
			w.forget(dir)
		}
	}
}

// sayCoverage tells how much of the tree is watched: in Stats at once, in the
// log when that begins or ends.
func (w *Watcher) sayCoverage() {
	total, have := w.tree.coverage()
	short := w.tree.isShort()
	before := w.mode.Load()
	if before.polling {
		return
	}
	if !short {
		if before.why != "" && w.mode.CompareAndSwap(before, &mode{}) {
			w.log.Info("all directories are watched again", zap.Int64("directories", total))
		}
		return
	}
	why := fmt.Sprintf("%d of %d directories are watched (%d %%); the others are scanned every %s; cure: %s",
		have, total, 100*have/max(total, 1), w.o.Poll, Cure(total))
	if w.o.MaxWatches > 0 && have >= int64(w.o.MaxWatches) {
		why = fmt.Sprintf("%d of %d directories are watched (%d %%), as max_watches says; the others are scanned every %s",
			have, total, 100*have/max(total, 1), w.o.Poll)
	}
	if w.mode.CompareAndSwap(before, &mode{why: why}) && before.why == "" {
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
// be watched. noRoom has those that found none.
// What happened in one between its listing and its watch is for the next scan,
// which is not far when not all are watched.
func (w *Watcher) preferRecent(noRoom map[string]state.Stat) {
	t := &w.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.short || len(t.dirs) == 0 || len(noRoom) == 0 {
		return
	}
	type dir struct {
		path  string
		id    fileID
		mtime uint32
	}
	all := make([]dir, 0, len(t.dirs)+len(noRoom))
	for path, known := range t.dirs {
		all = append(all, dir{path, known.id, known.mtime})
	}
	for path, st := range noRoom {
		if _, have := t.dirs[path]; !have {
			all = append(all, dir{path, fileID{st.Dev, st.Ino}, seconds(st.MtimeNs)})
		}
	}
	slices.SortFunc(all, func(a, b dir) int {
		switch {
		case a.path == "" || b.path == "": // the root is first
			return len(a.path) - len(b.path)
		case a.mtime != b.mtime:
			if a.mtime > b.mtime {
				return -1
			}
			return 1
		}
		return strings.Compare(a.path, b.path)
	})
	room := len(t.dirs)
	for _, d := range all[min(room, len(all)):] {
		w.forget(d.path)
	}
	for _, d := range all[:min(room, len(all))] {
		if _, have := t.dirs[d.path]; have {
			continue
		}
		if err := w.set(d.path, d.id, d.mtime); err != nil {
			w.log.Debug("a directory can't be watched", zap.String("path", d.path), zap.Error(err))
		}
	}
}
