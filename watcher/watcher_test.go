package watcher_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// followed is a tree that a Watcher follows.
type followed struct {
	*tree
	w    *watcher.Watcher
	logs *observer.ObservedLogs
	stop func() error // ends the watcher and returns what Run did
}

const settle = 30 * time.Millisecond

// follow starts a watcher and waits for its first scan.
func (t *tree) follow(set ...func(*watcher.WatchOptions)) *followed {
	t.Helper()
	f := t.start(set...)
	f.until("the first scan is done", func() bool { return f.w.Stats().Scans > 0 })
	return f
}

func (t *tree) start(set ...func(*watcher.WatchOptions)) *followed {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o := watcher.WatchOptions{Options: t.o, Settle: settle, Poll: 200 * time.Millisecond, Log: zap.New(core)}
	for _, f := range set {
		f(&o)
	}
	f := &followed{tree: t, w: watcher.NewWatcher(t.q, o), logs: logs}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.w.Run(ctx) }()
	f.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f
}

// poll calls f every few milliseconds until it returns true; false when that takes too long.
func poll(f func() bool) bool {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !f(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func (f *followed) until(what string, cond func() bool) {
	f.Helper()
	if !poll(cond) {
		f.Fatalf("it never came to it that %s; %+v", what, f.w.Stats())
	}
}

// queued is what the jobs show of their files.
func (t *tree) queued() map[string]state.Stat {
	t.Helper()
	m := make(map[string]state.Stat)
	for after, more := "", true; more; {
		rows, again, err := t.q.Known(t.Context(), t.o.Root.ID, after, 4096)
		t.must(err)
		for _, k := range rows {
			if k.Job {
				m[k.Path] = k.Stat
			}
			after = k.Path
		}
		more = again
	}
	return m
}

// missing says what of the tree is not queued as it is.
func (t *tree) missing() []string {
	t.Helper()
	jobs := t.queued()
	var missing []string
	for p, st := range t.onDisk() {
		if job, ok := jobs[p]; !ok {
			missing = append(missing, p)
		} else if !job.Same(st) {
			missing = append(missing, p+" (as it was before)")
		}
	}
	slices.Sort(missing)
	return missing
}

// converges waits until every file is queued as it is.
func (f *followed) converges() {
	f.Helper()
	var missing []string
	if !poll(func() bool { missing = f.missing(); return len(missing) == 0 }) {
		f.Fatalf("not queued: %q; %+v", missing, f.w.Stats())
	}
}

func (t *tree) dirs() []string {
	t.Helper()
	var dirs []string
	t.must(filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, strings.TrimPrefix(strings.TrimPrefix(path, t.dir), "/"))
		}
		return err
	}))
	return dirs
}

// isWatched proves that every directory is: a file that is made in it now is queued.
func (f *followed) isWatched() {
	f.Helper()
	scans := f.w.Stats().Scans
	for _, d := range f.dirs() {
		f.must(os.WriteFile(filepath.Join(f.dir, d, "probe"), []byte("new"), 0o644))
	}
	f.converges()
	if now := f.w.Stats(); now.Scans != scans {
		f.Errorf("a full scan helped: %+v", now)
	}
}

func TestNoChangeIsLostWhen(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *tree)
		do     func(t *tree, outside string)
	}{
		{"a file is written, appended to, cut and touched", nil, func(t *tree, _ string) {
			t.write("a", "b", "c")
			f, err := os.OpenFile(t.at("a"), os.O_APPEND|os.O_WRONLY, 0)
			t.must(err)
			for range 100 {
				_, err = f.WriteString("more")
				t.must(err)
			}
			t.must(f.Close())
			t.must(os.Truncate(t.at("b"), 0))
			t.must(os.Chtimes(t.at("c"), time.Time{}, time.Unix(1e9, 0)))
		}},
		{"a file's mtime is far in the future", nil, func(t *tree, _ string) {
			t.write("a")
			t.must(os.Chtimes(t.at("a"), time.Time{}, time.Now().Add(1000*time.Hour)))
		}},
		{"a file is saved by a rename over the old one", func(t *tree) { t.write("d/a") }, func(t *tree, _ string) {
			for i := range 20 {
				t.must(os.WriteFile(t.at("d/.a.tmp"), []byte(fmt.Sprint(i)), 0o644))
				t.must(os.Rename(t.at("d/.a.tmp"), t.at("d/a")))
			}
		}},
		{"a file is finished by a hard link", nil, func(t *tree, _ string) {
			t.write("a.part")
			t.must(os.Link(t.at("a.part"), t.at("a")))
			t.must(os.Remove(t.at("a.part")))
		}},
		{"directories are made and filled at once, deeply", nil, func(t *tree, _ string) {
			for i := range 50 {
				t.write(fmt.Sprintf("%d/a/b/c/d/e/f/g/x", i), fmt.Sprintf("%d/a/y", i))
			}
		}},
		{"a directory is renamed, with directories below", func(t *tree) { t.write("a/b/c/x", "a/b/y", "ab/z") }, func(t *tree, _ string) {
			t.must(os.Rename(t.at("a"), t.at("new")))
			t.write("new/b/c/after")
		}},
		{"a directory is renamed again and again", func(t *tree) { t.write("0/b/c/x") }, func(t *tree, _ string) {
			for i := range 30 {
				t.must(os.Rename(t.at(fmt.Sprint(i)), t.at(fmt.Sprint(i+1))))
				t.write(fmt.Sprintf("%d/b/c/%d", i+1, i))
			}
		}},
		{"directories change places", func(t *tree) { t.write("a/s/x", "b/s/y") }, func(t *tree, _ string) {
			for range 15 {
				t.must(os.Rename(t.at("a"), t.at("tmp")))
				t.must(os.Rename(t.at("b"), t.at("a")))
				t.must(os.Rename(t.at("tmp"), t.at("b")))
			}
		}},
		{"a directory is moved out and another in under its name", func(t *tree) { t.write("a/s/x", "a/t/x") }, func(t *tree, outside string) {
			t.write("stage/s/new")
			t.must(os.Rename(t.at("stage"), filepath.Join(outside, "in")))
			t.must(os.Rename(t.at("a"), filepath.Join(outside, "out")))
			t.must(os.Rename(filepath.Join(outside, "in"), t.at("a")))
			t.must(os.WriteFile(filepath.Join(outside, "out/s/not ours"), []byte("x"), 0o644))
		}},
		{"a directory is moved in with its content", nil, func(t *tree, outside string) {
			t.must(os.MkdirAll(filepath.Join(outside, "in/a/b/c"), 0o755))
			t.must(os.WriteFile(filepath.Join(outside, "in/a/b/c/x"), []byte("x"), 0o644))
			t.must(os.Rename(filepath.Join(outside, "in"), t.at("in")))
		}},
		{"a directory is deleted and made again, fast", func(t *tree) { t.write("a/b/x") }, func(t *tree, _ string) {
			for i := range 30 {
				t.must(os.RemoveAll(t.at("a")))
				t.write(fmt.Sprintf("a/b/%d", i), "a/x")
			}
		}},
		{"a file takes the place of a directory and the other way round", func(t *tree) { t.write("a/x", "b", "c/x", "d") }, func(t *tree, _ string) {
			t.must(os.RemoveAll(t.at("a")))
			t.write("a")
			t.must(os.Remove(t.at("b")))
			t.write("b/x/y")
			t.must(os.Rename(t.at("c"), t.at("e")))
			t.must(os.Rename(t.at("d"), t.at("c")))
			t.must(os.WriteFile(t.at("c"), []byte("once more"), 0o644))
		}},
		{"a directory's rights and times change", func(t *tree) { t.write("a/x") }, func(t *tree, _ string) {
			t.must(os.Chmod(t.at("a"), 0o700))
			t.must(os.Chtimes(t.at("a"), time.Time{}, time.Unix(1e9, 0)))
			t.write("a/y")
		}},
		{"more directories appear than wait for their scans", nil, func(t *tree, _ string) {
			for i := range 1500 {
				t.write(fmt.Sprintf("d%d/x", i))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			if c.before != nil {
				c.before(tr)
			}
			f := tr.follow()
			c.do(tr, t.TempDir())
			f.converges()
			f.isWatched()
			f.until("as many directories are watched as there are", func() bool {
				s := f.w.Stats()
				return s.Watched == int64(len(f.dirs())) && s.Dirs == s.Watched
			})
			if s := f.w.Stats(); s.Polling || s.Why != "" || s.Overflows > 0 || s.Scans != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestAnExcludedDirectoryIsNotWatchedAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.filter(filter.Options{Exclude: []string{"raw/"}})
	f := tr.follow()
	tr.write("raw/a/x", "b/raw/x", "b/y")
	f.until("the wanted file is queued", func() bool { return slices.Equal(f.jobs(queue.Ready), []string{"b/y"}) })
	f.until("nothing settles", func() bool { return f.w.Stats().Settling == 0 })
	tr.write("raw/a/z", "last")
	f.until("the last file is queued", func() bool { return slices.Equal(f.jobs(queue.Ready), []string{"b/y", "last"}) })
	if s := f.w.Stats(); s.Watched != 2 {
		t.Errorf("watched are %d directories, should be the root and b", s.Watched)
	}
}

func TestAFileThatIsTooYoungIsQueuedWhenItIsNotAnyMore(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.filter(filter.Options{MinAge: 700 * time.Millisecond})
	tr.write("there before", "d/there before")
	f := tr.follow()
	if got := f.jobs(queue.Ready); len(got) > 0 {
		t.Errorf("too early: %q", got)
	}
	tr.write("an event tells of it", "e/in a new directory")
	f.converges()
	if s := f.w.Stats(); s.Scans != 1 {
		t.Errorf("a full scan helped: %+v", s)
	}
}

func TestAChangeWhileAScanRunsIsNotLost(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	for i := range 40 {
		tr.write(fmt.Sprintf("%02d/a/x", i))
	}
	remote := tr.o.Remote
	var once sync.Once
	tr.o.Remote = func(p string) (string, error) {
		if p == "20/a/x" {
			once.Do(func() { // the scan is past the first and has not seen the last
				tr.write("00/a/x", "00/new/x", "39/a/y", "39/new/x")
				tr.must(os.Rename(tr.at("01"), tr.at("38/moved ahead")))
				tr.must(os.Rename(tr.at("37"), tr.at("00/moved behind")))
				tr.must(os.RemoveAll(tr.at("02")))
			})
		}
		return remote(p)
	}
	f := tr.follow(func(o *watcher.WatchOptions) { o.Settle = 10 * time.Millisecond })
	f.converges()
	f.isWatched()
}

func TestAScanThatGoesOnDoesNotHideWhatTheLastHasSeen(t *testing.T) {
	tr := newTree(t)
	const files = 300
	for i := range files {
		tr.write(fmt.Sprintf("%d/%d", i%20, i))
	}
	f := tr.follow(func(o *watcher.WatchOptions) { o.Rescan = time.Millisecond })
	f.until("a scan was met that goes on", func() bool {
		s := f.w.Stats()
		if s.Report.Files != files || s.Report.Bytes == 0 {
			t.Fatalf("while a scan goes on (%v), %d files are told", s.Scanning, s.Report.Files)
		}
		return s.Scanning && s.Seen < files
	})
}

func TestWhatIsReachedByASymlinkTooIsQueuedUnderBothNames(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"a link", "z link"} { // before and behind the directory in the scan
		t.Run(link, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			tr.o.Symlinks = watcher.FollowInside
			tr.write("dir/sub/x", "other/y")
			tr.must(os.Symlink("dir", tr.at(link)))
			f := tr.follow()
			wait := func(want ...string) {
				t.Helper()
				f.until(fmt.Sprintf("%q are queued", want), func() bool {
					jobs := f.queued()
					for _, p := range want {
						if _, ok := jobs[p]; !ok {
							return false
						}
					}
					return true
				})
			}
			wait("dir/sub/x", link+"/sub/x")
			tr.write("dir/1", "dir/sub/2")
			wait("dir/1", "dir/sub/2", link+"/1", link+"/sub/2")
			tr.write("dir/new/deep/3")
			wait("dir/new/deep/3", link+"/new/deep/3")
			tr.write("dir/new/deep/4")
			wait("dir/new/deep/4", link+"/new/deep/4")

			tr.must(os.Remove(tr.at(link)))
			tr.must(os.Symlink("other", tr.at(link)))
			wait(link + "/y")
			tr.write("other/z", "dir/5", "dir/sub/6")
			wait("other/z", link+"/z", "dir/5", "dir/sub/6")
			if s := f.w.Stats(); s.Scans != 1 || s.Polling {
				t.Errorf("a full scan helped: %+v", s)
			}
		})
	}
}

// rests checks that the loop does not turn without need.
func (f *followed) rests() {
	f.Helper()
	signs := make(map[time.Time]bool)
	n := 0
	poll(func() bool {
		signs[f.w.Stats().Alive] = true
		n++
		return n == 60
	})
	if len(signs) > 10 {
		f.Errorf("the loop gave %d signs of life in %d looks", len(signs), n)
	}
}

func TestTheLoopRestsWhenNothingIsToDo(t *testing.T) {
	tr := synced(t, "a", "b/c")
	tr.filter(filter.Options{MinAge: time.Hour})
	f := tr.follow()
	tr.write("waits until it is old enough")
	f.until("all wait", func() bool { return f.w.Stats().Settling == 3 })
	f.until("it has been looked at", func() bool {
		return time.Since(f.w.Stats().Alive) > settle
	})
	f.rests()
}

func TestAPausedRoot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		away func(t *tree, aside string)
		back func(t *tree, aside string)
	}{
		{"that is gone keeps what settles and resumes with nothing lost", func(*tree, string) {}, func(*tree, string) {}},
		{"in whose place another is takes nothing of that", func(t *tree, _ string) {
			t.must(os.Mkdir(t.dir, 0o755))
			t.write("foreign", "d/foreign")
		}, func(t *tree, _ string) { t.must(os.RemoveAll(t.dir)) }},
		{"in whose place a file is waits", func(t *tree, _ string) {
			t.must(os.WriteFile(t.dir, nil, 0o644))
		}, func(t *tree, _ string) { t.must(os.Remove(t.dir)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "root")
			aside := dir + " aside"
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			tr := treeIn(t, watcher.OpenDB(t), dir)
			tr.write("d/a")
			f := tr.follow()
			tr.write("settles", "d/settles")
			tr.must(os.Rename(dir, aside))
			c.away(tr, aside)
			f.until("it is paused", f.w.Paused)
			tr.must(os.WriteFile(filepath.Join(aside, "d/meanwhile"), []byte("x"), 0o644))
			tr.must(os.MkdirAll(filepath.Join(aside, "d/new"), 0o755))
			f.rests()
			c.back(tr, aside)
			tr.must(os.Rename(aside, dir))
			f.until("it is back", func() bool { return !f.w.Paused() })
			f.converges()
			f.until("it has been scanned", func() bool { s := f.w.Stats(); return s.Scans > 1 && !s.Scanning })
			f.isWatched()
			for p := range f.queued() {
				if strings.HasSuffix(p, "foreign") {
					t.Errorf("%s is queued", p)
				}
			}
			if n := f.logs.FilterMessageSnippet("the root is paused").Len(); n != 1 {
				t.Errorf("it is said %d times that it is paused", n)
			}
		})
	}
}

func TestARootThatIsBackBeforeItsAbsenceIsNoticedIsWatchedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tr := treeIn(t, watcher.OpenDB(t), dir)
	tr.write("d/a")
	f := tr.follow()
	tr.must(os.Rename(dir, dir+" aside"))
	tr.must(os.Rename(dir+" aside", dir))
	f.until("it has been scanned again", func() bool { s := f.w.Stats(); return s.Scans > 1 && !s.Scanning })
	f.isWatched()
}

func TestARootThatIsNotThereAtTheStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "root")
	tr := treeIn(t, watcher.OpenDB(t), dir)
	f := tr.start()
	f.until("it is paused", f.w.Paused)
	tr.write("d/a")
	f.converges()
	f.until("the scan has ended", func() bool { s := f.w.Stats(); return s.Scans > 0 && !s.Scanning })
	f.isWatched()
}

func TestTheWatcherEndsCleanly(t *testing.T) {
	t.Run("when it is told to before it began", func(t *testing.T) {
		if err := newTree(t).start().stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("when it has nothing to do", func(t *testing.T) {
		if err := newTree(t).follow().stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("when it is told to during a scan", func(t *testing.T) {
		tr := newTree(t)
		for i := range 3000 {
			tr.write(fmt.Sprintf("%d/x", i/100), fmt.Sprintf("%d/%d", i/100, i))
		}
		for at := range 8 {
			reached := make(chan struct{})
			var once sync.Once
			remote := tr.o.Remote
			f := tr.start(func(o *watcher.WatchOptions) {
				o.Settle = time.Nanosecond
				o.Remote = func(p string) (string, error) {
					if strings.HasPrefix(p, fmt.Sprint(at)) {
						once.Do(func() { close(reached) })
					}
					return remote(p)
				}
			})
			<-reached
			if err := f.stop(); err != nil {
				t.Error(err)
			}
			tr.must(tr.q.Cancel(t.Context(), tr.o.Root.ID, sortedKeys(tr.onDisk()), time.Now().Add(time.Hour), nil))
		}
	})
	t.Run("with an error when the state file fails", func(t *testing.T) {
		tr := newTree(t)
		w := watcher.NewWatcher(tr.q, watcher.WatchOptions{Options: tr.o, Settle: settle})
		ended := make(chan error, 1)
		go func() { ended <- w.Run(t.Context()) }()
		f := &followed{tree: tr, w: w}
		f.until("the first scan is done", func() bool { return w.Stats().Scans > 0 })
		tr.must(tr.db.Close())
		tr.write("a")
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	})
}

func TestAHealthyRootIsNeverPolledHoweverOftenItIsScanned(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("d/a")
	f := tr.follow(func(o *watcher.WatchOptions) {
		o.Settle, o.Rescan = 5*time.Millisecond, 20*time.Millisecond
	})
	n := 0
	f.until("it was scanned many times", func() bool {
		n++
		tr.write("d/a", fmt.Sprintf("d/%d", n%100), fmt.Sprintf("e%d/f/x", n%50))
		if n%40 == 0 {
			tr.must(os.RemoveAll(tr.at("e3")))
			tr.must(os.Rename(tr.at("d"), tr.at("dd")))
			tr.must(os.Rename(tr.at("dd"), tr.at("d")))
		}
		return f.w.Stats().Scans > 40
	})
	f.converges()
	if s := f.w.Stats(); s.Polling || s.Why != "" {
		t.Errorf("%+v", s)
	}
}

func TestWhenNotEveryDirectoryCanBeWatched(t *testing.T) {
	t.Parallel()
	const dirs, most = 30, 6
	tr := newTree(t)
	for i := range dirs {
		tr.write(fmt.Sprintf("%02d/x", i))
		tr.must(os.Chtimes(tr.at(fmt.Sprintf("%02d", i)), time.Time{}, time.Unix(int64(1e9+(i*7)%dirs), 0)))
	}
	f := tr.follow(func(o *watcher.WatchOptions) { o.MaxWatches, o.Poll = most, 150*time.Millisecond })
	s := f.w.Stats()
	if s.Dirs != dirs+1 || s.Watched != most || !strings.Contains(s.Why, "6 of 31 directories are watched (19 %)") {
		t.Errorf("coverage is %+v", s)
	}
	for i := range dirs {
		tr.write(fmt.Sprintf("%02d/y", i), fmt.Sprintf("%02d/new/z", i))
	}
	f.converges()
	f.until("what is new is counted", func() bool { return f.w.Stats().Dirs == 2*dirs+1 })
	if s := f.w.Stats(); s.Watched != most || s.Polling {
		t.Errorf("coverage is %+v", s)
	}
	f.until("it was polled some times", func() bool { return f.w.Stats().Scans > 6 })
	if n := f.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings, should be one: %+v", n, f.logs.All())
	}
}

// One path, written without end, takes the memory of one path and one job.
func TestAnyNumberOfEventsOfOnePathIsOneJob(t *testing.T) {
	t.Parallel()
	n := 300_000
	if testing.Short() {
		n = 10_000
	}
	tr := newTree(t)
	f := tr.follow()
	file, err := os.Create(tr.at("a"))
	tr.must(err)
	for i := range n {
		_, err := file.WriteAt([]byte{byte(i)}, 0)
		tr.must(err)
		if i%(n/10) == 0 {
			if s := f.w.Stats(); s.Settling > 1 {
				t.Errorf("%d paths settle", s.Settling)
			}
		}
	}
	tr.must(file.Close())
	f.converges()
	f.wantJobs(queue.Ready, "a")
}

// change does one random thing to the tree. What can't be done is left undone.
func change(r *rand.Rand, dir, outside string) {
	names := []string{"a", "b", "c", "d"}
	path := func() string {
		p := dir
		for range 1 + r.IntN(4) {
			p = filepath.Join(p, names[r.IntN(len(names))])
		}
		return p
	}
	p, aside := path(), filepath.Join(outside, names[r.IntN(len(names))])
	content := []byte(strings.Repeat("x", r.IntN(5)))
	switch r.IntN(14) {
	case 0, 1, 2:
		_ = os.MkdirAll(filepath.Dir(p), 0o755)
		_ = os.WriteFile(p, content, 0o644)
	case 3:
		if f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			_, _ = f.Write(content)
			_ = f.Close()
		}
	case 4:
		_ = os.MkdirAll(p, 0o755)
	case 5:
		_ = os.WriteFile(p+".tmp", content, 0o644)
		_ = os.Rename(p+".tmp", p)
	case 6, 7, 8:
		_ = os.Rename(p, path())
	case 9: // two change places
		q := path()
		if os.Rename(p, filepath.Join(outside, "swap")) == nil {
			_ = os.Rename(q, p)
			_ = os.Rename(filepath.Join(outside, "swap"), q)
			_ = os.RemoveAll(filepath.Join(outside, "swap"))
		}
	case 10:
		_ = os.RemoveAll(aside)
		_ = os.Rename(p, aside)
	case 11:
		_ = os.Rename(aside, p)
	case 12:
		_ = os.RemoveAll(p)
	case 13: // a file for a directory, or a directory for a file
		if os.RemoveAll(p) == nil && r.IntN(2) == 0 {
			_ = os.WriteFile(p, content, 0o644)
		} else if os.Mkdir(p, 0o755) == nil {
			_ = os.WriteFile(filepath.Join(p, "in"), content, 0o644)
		}
	}
}

// Whatever is done to a tree while it is followed, in the end every file is
// queued as it is, by events alone, and every directory is watched.
func TestWhateverHappensTheQueueShowsTheTreeInTheEnd(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(seed)))
			tr := newTree(t)
			outside := t.TempDir()
			for range 30 {
				change(r, tr.dir, outside)
			}
			f := tr.follow(func(o *watcher.WatchOptions) {
				o.Settle = 10 * time.Millisecond
				if seed%3 == 2 { // scans amid all
					o.Rescan = 15 * time.Millisecond
				}
			})
			for range 8 {
				for range 1 + r.IntN(200) {
					change(r, tr.dir, outside)
					if r.IntN(10) == 0 { // let the watcher come between
						before := f.w.Stats().Alive
						n := 0
						poll(func() bool { n++; return n > 5 || f.w.Stats().Alive != before })
					}
				}
				f.converges()
			}
			if seed%3 != 2 {
				f.isWatched()
			}
			watchesMatch(f)
		})
	}
}
