package watcher

import (
	"fmt"
	"os"
	"testing"

	"iksync/state"
)

// TestToBeginAnewIsNoBurstOfEvents: every watch that is ended one by one is an
// event, and more of them than the kernel's queue holds would make a scan of every
// overflow overflow the queue again.
func TestToBeginAnewIsNoBurstOfEvents(t *testing.T) {
	const file = "/proc/sys/fs/inotify/max_queued_events"
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("16"), 0o644)
	}
	if err != nil {
		t.Skipf("the kernel's queue of events stays as it is: %v", err)
	}
	w := watching(t, WatchOptions{})
	if err := os.WriteFile(file, before, 0o644); err != nil { // the watcher has its queue
		t.Fatal(err)
	}
	var dirs []string
	stats := map[string]state.Stat{"": w.stat(t, "")}
	for i := range 3000 {
		dir := fmt.Sprint(i)
		dirs, stats[dir] = append(dirs, dir), w.mkdir(t, dir)
	}
	dirs = append(dirs, "")
	for range 3 {
		w.beginFull(true)
		for _, dir := range dirs {
			w.watch(dir, stats[dir], true)
		}
		w.endFull(true)
	}
	w.isConsistent(t, dirs...)
	if err := w.closeEvents(); err != nil { // what it has told is all read then
		t.Fatal(err)
	}
	if n := w.overflows.Load(); n > 0 {
		t.Errorf("the queue of events has overflowed %d times, and nothing has happened", n)
	}
}
