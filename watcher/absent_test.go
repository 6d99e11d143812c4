package watcher_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// absent is why records are absent, by path; those that are there are left out.
func (t *tree) absent() map[string]state.Absence {
	t.Helper()
	m := make(map[string]state.Absence)
	for f, err := range t.q.AbsentFiles(t.Context(), t.o.Root.ID) {
		t.must(err)
		m[f.Path] = f.Absent
	}
	return m
}

func gone(paths ...string) map[string]state.Absence {
	m := make(map[string]state.Absence)
	for _, p := range paths {
		m[p] = state.Gone
	}
	return m
}

func (t *tree) wantAbsent(want map[string]state.Absence) {
	t.Helper()
	if got := t.absent(); !maps.Equal(got, want) {
		t.Errorf("absent are %v, should be %v", got, want)
	}
}

// removable is what a remover without any grace or brake would be given.
func (t *tree) removable() []string {
	t.Helper()
	// All records of a fixture have one fileId, for which nothing would be due.
	t.must(t.db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.Exec(`UPDATE files SET file_id = 'id' || id`) }))
	d, err := t.q.Due(t.Context(), queue.Removal{RootID: t.o.Root.ID, Gone: true, Filtered: true, Limit: 1000})
	t.must(err)
	var paths []string
	for _, f := range d.Files {
		paths = append(paths, f.Path)
	}
	return paths
}

// onAnotherDevice makes records those of files on a device that is not there.
func (t *tree) onAnotherDevice(below string) {
	t.Helper()
	t.must(t.db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE files SET dev = dev + 1 WHERE path > ? AND path < ?`, []byte(below+"/"), []byte(below+"0"))
	}))
}

// TestAScanMarksWhatIsAbsent and nothing else.
func TestAScanMarksWhatIsAbsent(t *testing.T) {
	t.Parallel()
	filtered := func(o filter.Options) func(*tree) { return func(t *tree) { t.filter(o) } }
	for _, c := range []struct {
		name   string
		change func(*tree)
		want   map[string]state.Absence
	}{
		{"nothing of an unchanged tree", func(*tree) {}, nil},
		{"a removed file", func(t *tree) { t.must(os.Remove(t.at("a"))) }, gone("a")},
		{"a removed directory", func(t *tree) { t.must(os.RemoveAll(t.at("d"))) }, gone("d/x", "d/y", "d/e/z")},
		{"the files of a directory that is empty now", func(t *tree) { t.must(os.RemoveAll(t.at("d/e/z"))) }, gone("d/e/z")},
		{"a renamed directory", func(t *tree) { t.must(os.Rename(t.at("d"), t.at("n"))) }, gone("d/x", "d/y", "d/e/z")},
		{"a file that is a directory now", func(t *tree) { t.must(os.Remove(t.at("a"))); t.write("a/b") }, gone("a")},
		{"a directory that is a file now", func(t *tree) { t.must(os.RemoveAll(t.at("d"))); t.write("d") }, gone("d/x", "d/y", "d/e/z")},
		{"not a file with another content", func(t *tree) { t.must(os.WriteFile(t.at("a"), []byte("new"), 0o644)) }, nil},
		{"not a file that is empty now", func(t *tree) { t.must(os.Truncate(t.at("a"), 0)) }, nil},
		{"what is excluded now", filtered(filter.Options{Exclude: []string{"/d/"}}), map[string]state.Absence{"d/x": 2, "d/y": 2, "d/e/z": 2}},
		{"what is not included", filtered(filter.Options{Include: []string{"x"}}), map[string]state.Absence{"a": 2, "d/y": 2, "d/e/z": 2, "m": 2}},
		{"what is of another type", filtered(filter.Options{Types: []string{"video"}}), map[string]state.Absence{"a": 2, "d/x": 2, "d/y": 2, "d/e/z": 2, "m": 2}},
		{"what is too small now", filtered(filter.Options{MinSize: 2}), map[string]state.Absence{"a": 2, "m": 2}},
		{"what is removed from an excluded directory, as gone", func(t *tree) {
			t.filter(filter.Options{Exclude: []string{"/d/"}})
			t.must(os.Remove(t.at("d/x")))
		}, map[string]state.Absence{"d/x": 1, "d/y": 2, "d/e/z": 2}},
		{"not what is only too young", filtered(filter.Options{MinAge: time.Hour}), nil},
		{"a symlink in place of a file", func(t *tree) {
			t.must(os.Remove(t.at("a")))
			t.must(os.Symlink("m", t.at("a")))
		}, map[string]state.Absence{"a": 2}},
		{"not a symlink that is followed, whether it leads anywhere or not", func(t *tree) {
			t.o.Symlinks = watcher.FollowInside
			t.must(os.Remove(t.at("a")))
			t.must(os.Symlink("m", t.at("a")))
			t.must(os.Remove(t.at("d/x")))
			t.must(os.Symlink("nowhere", t.at("d/x")))
			t.must(os.Remove(t.at("d/y")))
			t.must(os.Symlink("/etc/passwd", t.at("d/y")))
		}, nil},
		{"not what is behind a symlink out of the root", func(t *tree) {
			t.must(os.Rename(t.at("d"), filepath.Join(t.TempDir(), "d")))
			t.must(os.Symlink(t.TempDir(), t.at("d")))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := synced(t, "a", "d/x", "d/y", "d/e/z", "m")
			c.change(tr)
			tr.scan()
			tr.wantAbsent(c.want)
			tr.scan()
			tr.wantAbsent(c.want)
		})
	}
}

func TestWhatIsBackIsPresentAgain(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "d/x", "m")
	away := filepath.Join(t.TempDir(), "d")
	tr.must(os.Rename(tr.at("d"), away)) // so that the file comes back as it was
	tr.scan()
	tr.wantAbsent(gone("d/x"))
	tr.must(os.Rename(away, tr.at("d")))
	tr.scan()
	tr.wantAbsent(nil)
	tr.filter(filter.Options{Exclude: []string{"a"}})
	tr.scan()
	tr.wantAbsent(map[string]state.Absence{"a": state.Filtered})
	tr.filter(filter.Options{})
	tr.scan()
	tr.wantAbsent(nil)
}

// TestWhatIsBackIsQueuedWhenItsRecordEnds while the scan goes on that finds it as it was
// recorded: its copy has just been removed, say.
func TestWhatIsBackIsQueuedWhenItsRecordEnds(t *testing.T) {
	t.Parallel()
	tr := synced(t, "d/x", "m")
	away := filepath.Join(t.TempDir(), "d")
	tr.must(os.Rename(tr.at("d"), away))
	tr.scan()
	tr.wantAbsent(gone("d/x"))
	tr.must(os.Rename(away, tr.at("d")))
	tr.write("a-new")
	remote := tr.o.Remote
	tr.o.Remote = func(path string) (string, error) {
		if path == "a-new" { // what is known of d/x was read by now
			for f, err := range tr.db.FilesBelow(t.Context(), tr.o.Root.ID, "d") {
				tr.must(err)
				tr.must(tr.q.Lost(t.Context(), f.ID))
			}
		}
		return remote(path)
	}
	tr.must(watcher.NewScanner(tr.q, tr.o).Run(t.Context()))
	tr.wantJobs(queue.Ready, "a-new", "d/x")
	tr.wantAbsent(nil)
}

// TestAReasonThatChangesIsNoted: each has a policy of its own.
func TestAReasonThatChangesIsNoted(t *testing.T) {
	t.Parallel()
	tr := synced(t, "d/x", "m")
	tr.filter(filter.Options{Exclude: []string{"/d/"}})
	tr.scan()
	tr.must(os.RemoveAll(tr.at("d")))
	tr.scan()
	tr.wantAbsent(gone("d/x"))
}

// TestNothingIsInferredFromNotSeeing: promise 5.
func TestNothingIsInferredFromNotSeeing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*tree)
	}{
		{"an empty root", func(t *tree) {
			for _, p := range []string{"a", "d", "m"} {
				t.must(os.RemoveAll(t.at(p)))
			}
		}},
		{"an empty directory where another device was", func(t *tree) {
			t.onAnotherDevice("d")
			t.must(os.RemoveAll(t.at("d")))
			t.must(os.Mkdir(t.at("d"), 0o755))
		}},
		{"an empty directory where another device was, deeper", func(t *tree) {
			t.onAnotherDevice("d/e")
			t.must(os.RemoveAll(t.at("d/e/f")))
		}},
		{"a directory where another device was is not there, as automounters leave it", func(t *tree) {
			t.onAnotherDevice("d")
			t.must(os.RemoveAll(t.at("d")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := synced(t, "a", "d/x", "d/e/f/z", "m")
			c.change(tr)
			tr.scan()
			tr.wantAbsent(nil)
			tr.scan()
			if got := tr.removable(); len(got) > 0 {
				t.Errorf("%q may be removed", got)
			}
		})
	}
}

// TestAnEmptyRootLetsNothingGo that was absent before: it may be back where the
// disk is.
func TestAnEmptyRootLetsNothingGo(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "m")
	tr.must(os.Remove(tr.at("a")))
	tr.scan()
	tr.must(os.Remove(tr.at("m")))
	tr.scan()
	if got := tr.removable(); len(got) > 0 {
		t.Errorf("%q may be removed while the root is empty", got)
	}
}

// TestFilesOfAnotherDirectoryDoNotVouchForIt: those that were uploaded since it is
// in the root's place are as they are recorded, and prove nothing.
func TestFilesOfAnotherDirectoryDoNotVouchForIt(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "m")
	tr.scan() // notes which directory it is
	tr.must(os.Rename(tr.dir, filepath.Join(t.TempDir(), "away")))
	tr.must(os.Mkdir(tr.dir, 0o755))
	tr.write("other")
	for range 3 {
		tr.scan()
		tr.upload(all)
		if got := tr.removable(); len(got) > 0 {
			t.Fatalf("%q may be removed", got)
		}
	}
}

// TestAScanThatIsCutShortConfirmsNothing.
func TestAScanThatIsCutShortConfirmsNothing(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "b/x", "c/x", "m")
	tr.must(os.Remove(tr.at("a")))
	ctx, cancel := context.WithCancel(t.Context())
	o := tr.o
	o.Watch = func(dir string, _ state.Stat) {
		if dir == "c" {
			cancel()
		}
	}
	if err := watcher.NewScanner(tr.q, o).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if got := tr.removable(); len(got) > 0 {
		t.Errorf("%q may be removed", got)
	}
	for p, why := range tr.absent() {
		if p != "a" {
			t.Errorf("%s is %v", p, why)
		}
	}
}

// TestAScanOfOneDirectoryConfirmsNothing, and marks only what is below.
func TestAScanOfOneDirectoryConfirmsNothing(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "d/x", "d/e/y", "d0", "m")
	before, err := tr.q.Standing(t.Context(), tr.o.Root.ID)
	tr.must(err)
	tr.must(os.RemoveAll(tr.at("d/e")))
	tr.must(os.Remove(tr.at("a")))
	tr.must(watcher.NewScanner(tr.q, tr.o).RunBelow(t.Context(), "d"))
	tr.wantAbsent(gone("d/e/y"))
	after, err := tr.q.Standing(t.Context(), tr.o.Root.ID)
	tr.must(err)
	if !before.Scanned.Equal(after.Scanned) {
		t.Errorf("noted as a complete scan: %v, %v", before, after)
	}
}

func TestARootThatIsReplacedDuringAScanConfirmsNothing(t *testing.T) {
	t.Parallel()
	tr := synced(t, "a", "b/x", "m")
	tr.must(os.Remove(tr.at("a")))
	before, err := tr.q.Standing(t.Context(), tr.o.Root.ID)
	tr.must(err)
	away := filepath.Join(t.TempDir(), "away")
	o := tr.o
	o.Watch = func(dir string, _ state.Stat) {
		if dir == "b" {
			tr.must(os.Rename(tr.dir, away))
			tr.must(os.Mkdir(tr.dir, 0o755))
		}
	}
	tr.must(watcher.NewScanner(tr.q, o).Run(t.Context()))
	after, err := tr.q.Standing(t.Context(), tr.o.Root.ID)
	tr.must(err)
	if !before.Scanned.Equal(after.Scanned) {
		t.Errorf("noted as a complete scan: %v, %v", before, after)
	}
}

// TestEventsMarkWhatIsAbsent, without a scan.
func TestEventsMarkWhatIsAbsent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*followed)
		want   map[string]state.Absence
	}{
		{"a removed file", func(f *followed) { f.must(os.Remove(f.at("a"))) }, gone("a")},
		{"a file that was moved out", func(f *followed) { f.must(os.Rename(f.at("a"), filepath.Join(f.TempDir(), "a"))) }, gone("a")},
		{"a removed directory", func(f *followed) { f.must(os.RemoveAll(f.at("d"))) }, gone("d/x", "d/e/y")},
		{"a directory that was moved out", func(f *followed) { f.must(os.Rename(f.at("d"), filepath.Join(f.TempDir(), "d"))) }, gone("d/x", "d/e/y")},
		{"a file that is a directory now", func(f *followed) {
			f.must(os.Remove(f.at("a")))
			f.must(os.Mkdir(f.at("a"), 0o755))
		}, gone("a")},
		{"the files of a directory of this device that is empty now", func(f *followed) {
			f.must(os.RemoveAll(f.at("d/e/y")))
		}, gone("d/e/y")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := synced(t, "a", "d/x", "d/e/y", "m").follow()
			scans := f.w.Stats().Scans
			c.change(f)
			f.until("it is marked", func() bool { return maps.Equal(f.absent(), c.want) })
			if n := f.w.Stats().Scans; n != scans {
				t.Errorf("%d scans were needed", n-scans)
			}
		})
	}
}

// TestEventsInferNothing from what an unmounted disk leaves.
func TestEventsInferNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*followed)
	}{
		{"from a root that is emptied at once", func(f *followed) {
			away := f.TempDir()
			for _, p := range []string{"a", "d", "m"} {
				f.must(os.Rename(f.at(p), filepath.Join(away, p)))
			}
		}},
		{"from a root that is another directory now", func(f *followed) {
			f.must(os.Rename(f.dir, filepath.Join(f.TempDir(), "away")))
			f.must(os.Mkdir(f.dir, 0o755))
			f.must(os.WriteFile(f.at("strange"), nil, 0o644))
		}},
		{"from a root that is not there", func(f *followed) { f.must(os.Rename(f.dir, filepath.Join(f.TempDir(), "away"))) }},
		{"from what is left of another device", func(f *followed) {
			f.onAnotherDevice("d")
			f.must(os.RemoveAll(f.at("d/x")))
			f.must(os.RemoveAll(f.at("d/e")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := synced(t, "a", "d/x", "d/e/y", "m").follow()
			c.change(f)
			settled := func() bool { return f.w.Stats().Settling == 0 }
			f.until("all is settled, or waits for the root", func() bool { return settled() || f.w.Paused() })
			f.w.Rescan()
			scans := f.w.Stats().Scans
			f.until("it was scanned, or is paused", func() bool { return f.w.Stats().Scans > scans || f.w.Paused() })
			f.wantAbsent(nil)
			if got := f.removable(); len(got) > 0 {
				t.Errorf("%q may be removed", got)
			}
		})
	}
}

// TestAFileThatReturnsIsPresentAgainByEvents: as it was, which only the directory
// shows, and as another.
func TestAFileThatReturnsIsPresentAgainByEvents(t *testing.T) {
	t.Parallel()
	f := synced(t, "a", "d/x", "m").follow()
	away := filepath.Join(t.TempDir(), "d")
	f.must(os.Rename(f.at("d"), away))
	f.until("it is marked", func() bool { return maps.Equal(f.absent(), gone("d/x")) })
	f.must(os.Rename(away, f.at("d")))
	f.until("it is there again", func() bool { return len(f.absent()) == 0 })
	f.wantJobs(queue.Ready)
	f.must(os.Remove(f.at("a")))
	f.until("it is marked", func() bool { return maps.Equal(f.absent(), gone("a")) })
	f.write("a")
	f.until("it is queued", func() bool { return len(f.jobs(queue.Ready)) == 1 })
	if got := f.removable(); len(got) > 0 {
		t.Errorf("%q may be removed", got)
	}
}
