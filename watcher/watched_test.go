package watcher

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"iksync/state"
)

// watching is a watcher of a real directory whose loop and scans don't run.
func watching(t testing.TB, o WatchOptions) *Watcher {
	t.Helper()
	o.Root = state.Root{Path: t.TempDir()}
	w := NewWatcher(nil, o)
	w.lookAtRoot()
	w.begin()
	if w.events == nil {
		t.Skip(w.mode.Load().why)
	}
	t.Cleanup(func() {
		if err := w.closeEvents(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// mkdir makes a directory and returns what it is.
func (w *Watcher) mkdir(t testing.TB, dir string) state.Stat {
	t.Helper()
	if err := os.MkdirAll(w.onDisk(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return w.stat(t, dir)
}

func (w *Watcher) stat(t testing.TB, dir string) state.Stat {
	t.Helper()
	info, err := os.Stat(w.onDisk(dir))
	if err != nil {
		t.Fatal(err)
	}
	return state.StatOf(info)
}

// isConsistent checks the three books of watches against each other: by path,
// by inode, and fsnotify's.
func (w *Watcher) isConsistent(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(w.tree.dirs)); !slices.Equal(got, want) {
		t.Errorf("watched are %q, should be %q", got, want)
	}
	var paths []string
	for _, dir := range want {
		paths = append(paths, w.onDisk(dir))
		if w.tree.at[w.tree.dirs[dir].id] != dir {
			t.Errorf("the watch of %q is known as that of %q", dir, w.tree.at[w.tree.dirs[dir].id])
		}
	}
	list := w.events.WatchList()
	slices.Sort(list)
	if slices.Sort(paths); !slices.Equal(list, paths) {
		t.Errorf("fsnotify watches %q, should watch %q", list, paths)
	}
	if len(w.tree.at) != len(w.tree.dirs) {
		t.Errorf("%d directories, %d inodes", len(w.tree.dirs), len(w.tree.at))
	}
}

func (w *Watcher) rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(w.onDisk(from), w.onDisk(to)); err != nil {
		t.Fatal(err)
	}
}

// fullScan does to watches what a full scan of these directories does.
func (w *Watcher) fullScan(t *testing.T, dirs ...string) {
	t.Helper()
	w.beginFull(false)
	for _, dir := range dirs {
		w.watch(dir, w.stat(t, dir), true)
	}
	w.endFull(true)
}

func TestAWatchFollowsItsDirectoryToANewNameThoughNoEventTold(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *Watcher)
		want []string
	}{
		{"when it was renamed", func(w *Watcher) { w.rename(t, "a", "c") }, []string{"", "b", "b/s", "c", "c/s"}},
		{"when two changed places", func(w *Watcher) {
			w.rename(t, "a", "tmp")
			w.rename(t, "b", "a")
			w.rename(t, "tmp", "b")
		}, []string{"", "a", "a/s", "b", "b/s"}},
		{"when one took another's place", func(w *Watcher) {
			w.rename(t, "a", "c")
			w.rename(t, "b", "a")
		}, []string{"", "a", "a/s", "c", "c/s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := watching(t, WatchOptions{})
			dirs := []string{"", "a", "a/s", "b", "b/s"}
			for _, d := range dirs {
				w.mkdir(t, d)
			}
			w.fullScan(t, dirs...)
			w.isConsistent(t, dirs...)
			c.do(w)
			for range 3 {
				w.fullScan(t, c.want...)
			}
			w.isConsistent(t, c.want...)
			for _, d := range c.want {
				w.forget(d) // none is known to fsnotify by a path without a watch
			}
			w.isConsistent(t)
		})
	}
}

// The scan has a directory open and another is at its path by now.
func TestAScanThatLagsBehindTheTreeLeavesTheWatchesInOrder(t *testing.T) {
	w := watching(t, WatchOptions{})
	w.watch("", w.mkdir(t, ""), true)
	a, b := w.mkdir(t, "a"), w.mkdir(t, "b")
	for range 3 {
		w.watch("a", a, true)
		w.watch("b", b, true)
		w.rename(t, "a", "tmp")
		w.rename(t, "b", "a")
		w.rename(t, "tmp", "b")
		w.watch("a", a, true)
		w.watch("b", b, true)
		a, b = b, a
	}
	w.unwatch(map[string]bool{"a": true, "b": true})
	w.isConsistent(t, "")
	w.watch("a", w.stat(t, "a"), false)
	w.watch("b", w.stat(t, "b"), false)
	w.isConsistent(t, "", "a", "b")
}

func TestALiveWatchIsNotTakenForStale(t *testing.T) {
	w := watching(t, WatchOptions{})
	for _, d := range []string{"", "old", "gone", "new", "late"} {
		w.mkdir(t, d)
	}
	w.fullScan(t, "", "old", "gone")
	w.watch("new", w.stat(t, "new"), false) // an event told of it
	w.beginFull(false)
	w.endFull(false) // not completed: nothing is inferred
	w.isConsistent(t, "", "old", "gone", "new")
	w.beginFull(false)
	for _, d := range []string{"", "old", "new"} {
		w.watch(d, w.stat(t, d), true)
	}
	w.watch("late", w.stat(t, "late"), false) // it appears behind the scan
	w.endFull(true)
	w.isConsistent(t, "", "old", "new", "late")
	w.fullScan(t, "", "old", "new") // a scan passes late by
	w.isConsistent(t, "", "old", "new", "late")
	w.fullScan(t, "", "old", "new")
	w.isConsistent(t, "", "old", "new")
}

func TestDirectoriesThatWentAreForgottenWithAllBelowWhenTheyWereRenamed(t *testing.T) {
	w := watching(t, WatchOptions{})
	dirs := []string{"", "a", "a/b", "a/b/c", "ab", "x", "x/y"}
	for _, d := range dirs {
		w.watch(d, w.mkdir(t, d), false)
	}
	w.unwatch(map[string]bool{"a": true, "x/y": false})
	w.isConsistent(t, "", "ab", "x")
	if total, watched := w.tree.coverage(); total != 3 || watched != 3 {
		t.Errorf("coverage is %d of %d", watched, total)
	}
}

func TestOnlyTheTopmostOfNewDirectoriesAreScanned(t *testing.T) {
	for _, c := range []struct{ dirs, want []string }{
		{nil, nil},
		{[]string{"a/b/c", "a", "a/b", "ab", "b/c"}, []string{"a", "ab", "b/c"}},
		{[]string{"a", "", "b/c"}, []string{""}},
	} {
		m := make(map[string]fsnotify.Op)
		for _, d := range c.dirs {
			m[d] = 0
		}
		if got := topmost(m); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, should be %q", c.dirs, got, c.want)
		}
	}
}

func TestARootIsPolledOnlyWhenEventsDoNotCome(t *testing.T) {
	w := watching(t, WatchOptions{Settle: time.Second})
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixNano() }
	for _, c := range []struct {
		name     string
		ctime    int64
		previous int64
		want     bool
	}{
		{"a change long ago and since the last scan", ago(time.Minute), ago(time.Hour), true},
		{"a change that may settle still", ago(10 * time.Second), ago(time.Hour), false},
		{"a change from before the last scan, such as of a directory moved in", ago(2 * time.Hour), ago(time.Hour), false},
		{"the first scan", ago(time.Minute), 0, false},
		{"a change in the future", ago(-time.Hour), ago(time.Hour), false},
	} {
		if got := w.unannounced(state.Stat{CtimeNs: c.ctime}, c.previous); got != c.want {
			t.Errorf("%s: unannounced is %v", c.name, got)
		}
	}
	for i, n := range []int64{1, 1, 0, 5, 1} {
		if w.listen(n); w.mode.Load().polling {
			t.Errorf("after scan %d it is polled", i)
		}
	}
	if w.listen(1); !w.mode.Load().polling {
		t.Error("after three in a row it is not polled")
	}
	if w.sayCoverage(); !w.mode.Load().polling {
		t.Error("the coverage ends the polling")
	}
}

func TestAPolledRootIsScannedAtItsOwnInterval(t *testing.T) {
	w := NewWatcher(nil, WatchOptions{Rescan: time.Hour, Poll: time.Minute})
	in := func(from, to time.Duration) {
		t.Helper()
		for range 1000 {
			if d := w.interval(); d < from || d > to {
				t.Fatalf("the next scan is in %v", d)
			}
		}
	}
	in(54*time.Minute, time.Hour)
	why := "it failed"
	w.failure.Store(&why)
	in(54*time.Second, time.Minute)
	w.failure.Store(nil)
	w.tree.short = true
	in(54*time.Second, time.Minute)
	w.tree.short = false
	w.poll("so says the test")
	in(54*time.Second, time.Minute)
	w.o.Rescan = time.Second
	in(900*time.Millisecond, time.Second)
}

func BenchmarkWatchTree(b *testing.B) {
	for _, n := range []int{1_000, 20_000, 100_000} {
		w := watching(b, WatchOptions{Buffer: 1})
		dirs, stats := make([]string, n), make([]state.Stat, n)
		for i := range dirs {
			dirs[i] = filepath.Join(fmt.Sprintf("2026/%04d", i/100), fmt.Sprintf("album %04d", i))
			stats[i] = w.mkdir(b, dirs[i])
		}
		root := w.stat(b, "")
		per := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/dir")
		}
		b.Run(fmt.Sprintf("set/%d", n), func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				b.StopTimer()
				w.beginFull(true)
				w.tree = newWatched()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				w.watch("", root, true)
				for i, dir := range dirs {
					w.watch(dir, stats[i], true)
				}
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.StartTimer()
			}
			per(b)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n), "B/dir")
		})
		b.Run(fmt.Sprintf("rescan/%d", n), func(b *testing.B) {
			for b.Loop() {
				w.beginFull(false)
				w.watch("", root, true)
				for i, dir := range dirs {
					w.watch(dir, stats[i], true)
				}
				w.endFull(true)
			}
			per(b)
		})
	}
}
