package watcher

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/watcher/filter"
)

// scanning is a watcher of a real directory with a real state file, whose loop and
// scans don't run.
func scanning(t *testing.T) *Watcher {
	t.Helper()
	db, dir := OpenDB(t), t.TempDir()
	root, err := db.EnsureRoot(t.Context(), dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	set, err := filter.New(filter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := queue.New(db, func(remote, _ string, _ int) string { return remote + "_" })
	w := NewWatcher(q, WatchOptions{Options: Options{Root: root, Filter: set, Remote: func(path string) (string, error) { return "/" + path, nil }}})
	w.lookAtRoot()
	return w
}

// TestALossBesideAScanThatFailsIsNotForgotten: whatever a scan that fails takes back, it
// takes back nothing that was lost in that moment.
func TestALossBesideAScanThatFailsIsNotForgotten(t *testing.T) {
	w := scanning(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 5_000 {
		w.misses.cover(w.misses.now())
		var over atomic.Bool
		var beside sync.WaitGroup
		beside.Go(func() {
			for w.scanning.Load() == nil && !over.Load() { // it has not begun
			}
			for w.scanning.Load() != nil {
			}
			for range i % 128 { // what the scan does at its end takes a moment
				over.Load()
			}
			w.misses.note()
		})
		err := w.scanOnce(ended)
		over.Store(true)
		beside.Wait()
		if err == nil {
			t.Fatal("the scan did not fail")
		}
		if !w.misses.pending() {
			t.Fatal("events were lost, and nothing is to make up for them")
		}
	}
}

func TestALossIsCoveredByAScanThatBeganAfterIt(t *testing.T) {
	w := scanning(t)
	w.misses.note()
	lost := w.misses.now()
	w.misses.note() // while the scan goes on
	w.misses.cover(lost)
	if !w.misses.pending() {
		t.Error("a scan has covered what was lost after it began")
	}
	w.rescan()
	if err := w.scanOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.misses.pending() {
		t.Error("a complete scan has not covered what was lost before it")
	}
}

// TestASubtreeThatCanNotBeScannedIsAMiss: a full scan that is past it may end well
// after that, and nobody would look at the subtree again.
func TestASubtreeThatCanNotBeScannedIsAMiss(t *testing.T) {
	w := scanning(t)
	if err := w.scanOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.Sound() {
		t.Fatal("it is not sound to begin with")
	}
	if err := w.scanDir(t.Context(), strings.Repeat("n", 300)); err != nil {
		t.Fatal(err)
	}
	w.failure.Store(nil) // as the full scan does that ends well
	if w.Sound() {
		t.Error("it is sound although a directory was not looked at")
	}
}
