package watcher_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iksync/watcher"
)

// kernelWatches counts this process's watches by the inode that they are on.
func kernelWatches(t testing.TB) map[uint64]int {
	t.Helper()
	n := make(map[uint64]int)
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		info, err := os.ReadFile(name)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range bytes.Lines(info) {
			var wd, ino uint64
			if _, err := fmt.Sscanf(string(line), "inotify wd:%x ino:%x", &wd, &ino); err == nil {
				n[ino]++
			}
		}
	}
	return n
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no inode")
	}
	return st.Ino
}

// watchesMatch waits until the kernel watches each directory of the tree once.
func watchesMatch(f *followed) {
	f.Helper()
	var wrong []string
	if !poll(func() bool {
		wrong = nil
		watches := kernelWatches(f)
		for _, d := range f.dirs() {
			if n := watches[inode(f, f.at(d))]; n != 1 {
				wrong = append(wrong, fmt.Sprintf("%s (%d)", d, n))
			}
		}
		return len(wrong) == 0 && f.w.Stats().Watched == int64(len(f.dirs()))
	}) {
		f.Errorf("the kernel does not watch once: %q; %+v", wrong, f.w.Stats())
	}
}

func TestADirectoryThatIsMovedOutIsNotWatchedAnyMore(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("a/b/c/x")
	f := tr.follow()
	outside := t.TempDir()
	tr.must(os.Rename(tr.at("a"), filepath.Join(outside, "a")))
	f.until("the root alone is watched", func() bool { return f.w.Stats().Watched == 1 })
	watches := kernelWatches(t)
	tr.must(filepath.WalkDir(outside, func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && watches[inode(t, path)] > 0 {
			t.Errorf("%s is watched", path)
		}
		return err
	}))
}

func TestWhichDirectoriesAreWatchedDoesNotChangeFromScanToScan(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	want := map[uint64]bool{inode(t, tr.dir): true}
	for i := range 30 {
		d := fmt.Sprintf("%02d", i)
		tr.write(d + "/x")
		age := (i * 7) % 30
		tr.must(os.Chtimes(tr.at(d), time.Time{}, time.Unix(int64(1e9+age), 0)))
		if age >= 25 {
			want[inode(t, tr.at(d))] = true
		}
	}
	f := tr.follow(func(o *watcher.WatchOptions) { o.MaxWatches, o.Poll = 6, 20*time.Millisecond })
	f.until("the check of the root has made it poll", func() bool { return f.w.Stats().Scans > 2 })
	for scans := f.w.Stats().Scans; f.w.Stats().Scans < scans+10; {
		got := make(map[uint64]bool)
		watches := kernelWatches(t)
		for _, d := range f.dirs() {
			if ino := inode(t, f.at(d)); watches[ino] > 0 {
				got[ino] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%d are watched, should be the root and the 5 that changed last", len(got))
		}
	}
}

// The limit of an inotify instance is the one that holds when it is made, so after
// its first overflow a watcher has the usual one.
func TestAnOverflowLosesNothing(t *testing.T) {
	for range 5 {
		t.Run("round", overflow)
	}
}

func overflow(t *testing.T) {
	const limit = "/proc/sys/fs/inotify/max_queued_events"
	before, err := os.ReadFile(limit)
	if err != nil {
		t.Skip("no limit to be read: ", err)
	}
	tr := newTree(t)
	tr.write("a/s/x", "b/s/x", "moves/deep/x", "stays/x", "again/x")
	if err := os.WriteFile(limit, []byte("8"), 0); err != nil {
		t.Skip("the limit can't be set: ", err)
	}
	restore := sync.OnceFunc(func() { tr.must(os.WriteFile(limit, bytes.TrimSpace(before), 0)) })
	defer restore()
	f := tr.follow()
	restore()

	// Files overflow the queue while directories change amid it.
	var burst sync.WaitGroup
	end := make(chan struct{})
	stop := sync.OnceFunc(func() { close(end); burst.Wait() })
	defer stop()
	for g := range 2 {
		burst.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				default:
				}
				p := tr.at(fmt.Sprintf("stays/%d-%d", g, i%500))
				_ = os.WriteFile(p, []byte("x"), 0o644)
			}
		})
	}
	n := 0
	f.until("events are lost", func() bool {
		n++
		from, to := "moves", "moved"
		if _, err := os.Lstat(tr.at(from)); err != nil {
			from, to = to, from
		}
		tr.must(os.Rename(tr.at(from), tr.at(to)))
		tr.must(os.Rename(tr.at("a"), tr.at("tmp")))
		tr.must(os.Rename(tr.at("b"), tr.at("a")))
		tr.must(os.Rename(tr.at("tmp"), tr.at("b")))
		tr.must(os.RemoveAll(tr.at("again")))
		tr.write("again/x", fmt.Sprintf("new%d/d/x", n%5))
		return f.w.Stats().Overflows > 0
	})
	stop()
	f.converges()
	f.until("the scans have ended", func() bool {
		s := f.w.Stats()
		return !s.Scanning && time.Since(s.LastScan) > 10*settle
	})
	watchesMatch(f)
	for _, d := range []string{"a/s", "b/s", "again", "new0/d", "new4/d"} {
		tr.write(d + "/after")
		f.converges()
	}
	if s := f.w.Stats(); s.Polling {
		t.Errorf("it is polled: %+v", s)
	}
	for _, e := range f.logs.All() {
		if strings.Contains(e.Message, "watcher reports") && e.Level > -1 {
			t.Errorf("%s: %v", e.Message, e.ContextMap())
		}
	}
	if said, n := f.logs.FilterMessageSnippet("more happened at once").Len(), f.w.Stats(); int64(said) > n.Scans {
		t.Errorf("%d overflows are said %d times with %d scans", n.Overflows, said, n.Scans)
	}
}

func TestAFileThatCannotBeLookedAtForAWhileIsQueuedAfterwards(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	tr := newTree(t)
	tr.write("d/a", "e/a")
	f := tr.follow(func(o *watcher.WatchOptions) { o.Settle, o.Poll = 100*time.Millisecond, 50*time.Millisecond })
	tr.write("d/b")
	tr.must(os.Mkdir(tr.at("closed"), 0))
	tr.must(os.Chmod(tr.at("d"), 0))
	t.Cleanup(func() { _ = os.Chmod(tr.at("d"), 0o755) })
	tried := func() bool { return f.logs.FilterMessageSnippet("it is tried again").Len() > 2 }
	f.until("it was tried", tried)
	if info, err := os.Lstat(tr.at("d/b")); !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("it can be looked at: %v", info)
	}
	tr.must(os.Chmod(tr.at("d"), 0o755))
	tr.must(os.Chmod(tr.at("closed"), 0o755))
	tr.write("closed/x")
	f.converges()
	f.isWatched()
}
