package watcher_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
	"iksync/watcher/filter"
)

func TestAScanQueuesTheDifferencesAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*tree)
		want   []string
		gone   int64
	}{
		{"nothing of an unchanged tree", func(*tree) {}, nil, 0},
		{"a new file", func(t *tree) { t.write("d/new") }, []string{"d/new"}, 0},
		{"a new directory", func(t *tree) { t.write("e/f/g/1", "e/2") }, []string{"e/2", "e/f/g/1"}, 0},
		{"an edited file", func(t *tree) { t.must(os.WriteFile(t.at("a"), []byte("longer"), 0o644)) }, []string{"a"}, 0},
		{"a touched file", func(t *tree) { t.must(os.Chtimes(t.at("a"), time.Unix(1, 0), time.Unix(1, 0))) }, []string{"a"}, 0},
		{"a file whose mtime was put back after an edit", func(t *tree) {
			info, err := os.Stat(t.at("a"))
			t.must(err)
			t.must(os.WriteFile(t.at("b"), []byte("A"), 0o644)) // as long as a
			t.must(os.Rename(t.at("b"), t.at("a")))
			t.must(os.Chtimes(t.at("a"), info.ModTime(), info.ModTime()))
		}, []string{"a"}, 0},
		{"nothing of a deleted file, which is counted", func(t *tree) { t.must(os.Remove(t.at("a"))) }, nil, 1},
		{"a renamed directory", func(t *tree) { t.must(os.Rename(t.at("d"), t.at("z"))) }, []string{"z/x", "z/y"}, 2},
		{"a file in place of a directory", func(t *tree) {
			t.must(os.RemoveAll(t.at("d")))
			t.write("d")
		}, []string{"d"}, 2},
		{"a directory in place of a file", func(t *tree) {
			t.must(os.Remove(t.at("a")))
			t.write("a/x")
		}, []string{"a/x"}, 1},
		{"a hard link, which is a path of its own", func(t *tree) { t.must(os.Link(t.at("d/x"), t.at("link"))) }, []string{"d/x", "link"}, 0},
		{"nothing when only a directory's mode changed", func(t *tree) { t.must(os.Chmod(t.at("d"), 0o700)) }, nil, 0},
		{"nothing of a swapped symlink, which is skipped", func(t *tree) {
			t.must(os.Remove(t.at("a")))
			t.must(os.Symlink("d/x", t.at("a")))
		}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := synced(t, "a", "d/x", "d/y")
			c.change(tr)
			r := tr.scan()
			tr.wantJobs(queue.Ready, c.want...)
			if r.Queued != int64(len(c.want)) || r.Gone != c.gone || r.Problems != 0 {
				t.Errorf("the report is %+v", r)
			}
			if r := tr.scan(); r.Queued != 0 || r.Waiting != int64(len(c.want)) || r.Gone != c.gone {
				t.Errorf("the second report is %+v", r)
			}
			if got := tr.records(); len(got) != 3 {
				t.Errorf("records are gone: %v", got)
			}
		})
	}
}

// The order of a walk and the order of whole paths differ around "/".
func TestTheMergeHoldsWithNamesAroundTheSlash(t *testing.T) {
	t.Parallel()
	var files []string
	for _, name := range []string{"a", "a!", "a-", "a.", "a0", "a/", "A", "a\x01", "a\xff", "a ", "a.b", "a\n", "\u00e4", "a\u0308"} {
		files = append(files, strings.ReplaceAll(name, "/", "")+"-dir/x", strings.ReplaceAll(name, "/", "")+"-dir/y/z")
		if name != "a/" && name != "a" {
			files = append(files, name)
		}
	}
	files = append(files, "a/1", "a/!", "a/b/c", "a/b!", "a/b-/c", strings.Repeat("n", 255), strings.Repeat("m", 255)+"/"+strings.Repeat("\xfe", 255))
	slices.Sort(files)
	files = slices.Compact(files)
	tr := synced(t, files...)
	if got := sortedKeys(tr.records()); !slices.Equal(got, files) {
		t.Fatalf("recorded are %q, should be %q", got, files)
	}
	if r := tr.scan(); r.Queued != 0 || r.InStep != int64(len(files)) || r.Gone != 0 {
		t.Errorf("unchanged, but the report is %+v", r)
	}
	away, back := filepath.Join(t.TempDir(), "away"), int64(0)
	for _, p := range files { // each alone missing, with its neighbours there
		tr.must(os.Rename(tr.at(p), away))
		if r := tr.scan(); r.Gone != 1 || r.Queued != back {
			t.Errorf("without %.20q gone are %d and queued %d, should be 1 and %d", p, r.Gone, r.Queued, back)
		}
		tr.upload(all)
		tr.must(os.Rename(away, tr.at(p)))
		back = 1 // its ctime is another now
	}
}

func TestFiltersCutAndCountByTheRuleThatDecided(t *testing.T) {
	tr := newTree(t)
	tr.write("keep.jpg", "notes.txt", ".DS_Store", "raw/1.jpg", "raw/deep/2.jpg", "private/3.jpg", "big.jpg")
	tr.must(os.WriteFile(tr.at("big.jpg"), make([]byte, 1000), 0o644))
	tr.filter(filter.Options{Junk: true, Exclude: []string{"raw/", "private"}, Types: []string{"image"}, MaxSize: 999})
	r := tr.scan()
	tr.wantJobs(queue.Ready, "keep.jpg")
	for rule, n := range map[string]int64{"junk": 1, "exclude": 2, "type": 1, "max_size": 1} {
		if r.Skipped[rule] != n {
			t.Errorf("skipped by %s: %d, should be %d", rule, r.Skipped[rule], n)
		}
	}
	if r.Files != 1 || r.Dirs != 1 {
		t.Errorf("%d files and %d directories were looked at", r.Files, r.Dirs)
	}
}

func TestAYoungFileIsTakenOnceItIsOldEnough(t *testing.T) {
	tr := newTree(t)
	tr.write("young", "old")
	tr.must(os.Chtimes(tr.at("young"), time.Time{}, time.Now().Add(time.Hour)))
	tr.must(os.Chtimes(tr.at("old"), time.Time{}, time.Now().Add(-2*time.Hour)))
	tr.filter(filter.Options{MinAge: time.Hour})
	if r := tr.scan(); r.Skipped["min_age"] != 1 {
		t.Errorf("skipped: %v", r.Skipped)
	}
	tr.wantJobs(queue.Ready, "old")
}

func TestPendingJobsOfWhatIsNotWantedAnyMoreAreCancelled(t *testing.T) {
	prepare := func(t *testing.T) *tree {
		tr := newTree(t)
		tr.write("a", "d/x", "d/y", "z")
		tr.must(os.WriteFile(tr.at("empty"), nil, 0o644))
		tr.scan()
		tr.wantJobs(queue.Held, "empty")
		return tr
	}
	t.Run("when the files are gone", func(t *testing.T) {
		tr := prepare(t)
		tr.must(os.RemoveAll(tr.at("d")))
		tr.must(os.Remove(tr.at("z")))
		tr.must(os.Remove(tr.at("empty")))
		tr.scan()
		tr.wantJobs(queue.Ready, "a")
		tr.wantJobs(queue.Held)
	})
	t.Run("when a filter excludes them", func(t *testing.T) {
		tr := prepare(t)
		tr.filter(filter.Options{Exclude: []string{"d/", "/a"}})
		tr.scan()
		tr.wantJobs(queue.Ready, "z")
	})
	t.Run("but not when the root is empty, as one that is not mounted", func(t *testing.T) {
		tr := prepare(t)
		for _, p := range []string{"a", "d", "z", "empty"} {
			tr.must(os.RemoveAll(tr.at(p)))
		}
		if r := tr.scan(); r.Problems != 1 || r.Gone != 0 {
			t.Errorf("report %+v", r)
		}
		tr.wantJobs(queue.Ready, "a", "d/x", "d/y", "z")
	})
	t.Run("but not one that a worker has", func(t *testing.T) {
		tr := prepare(t)
		_, _, err := tr.q.Claim(t.Context(), []int64{tr.o.Root.ID}, 1, time.Hour)
		tr.must(err)
		tr.must(os.Remove(tr.at("a")))
		tr.scan()
		tr.wantJobs(queue.Leased, "a")
	})
	t.Run("but not those of another root", func(t *testing.T) {
		tr := prepare(t)
		other := treeIn(t, tr.db, t.TempDir())
		other.scan()
		tr.wantJobs(queue.Ready, "a", "d/x", "d/y", "z")
	})
	t.Run("but not when the scan is cancelled midway", func(t *testing.T) {
		tr := prepare(t)
		tr.must(os.Remove(tr.at("a")))
		tr.must(os.Remove(tr.at("z")))
		tr.write("m") // the scan asks where this one goes
		ctx, cancel := context.WithCancel(t.Context())
		tr.o.Remote = func(string) (string, error) { cancel(); return "/m", nil }
		s := watcher.NewScanner(tr.q, tr.o)
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the scan says %v", err)
		}
		if s.Report().Completed {
			t.Error("a cancelled scan is completed")
		}
		tr.wantJobs(queue.Ready, "a", "d/x", "d/y", "z")
	})
	t.Run("but not when it is cancelled before it began", func(t *testing.T) {
		tr := prepare(t)
		tr.must(os.RemoveAll(tr.at("d")))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := watcher.NewScanner(tr.q, tr.o).Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the scan says %v", err)
		}
		tr.wantJobs(queue.Ready, "a", "d/x", "d/y", "z")
	})
}

// once runs do when the scan asks for the remote path of a new file: a moment
// in the midst of a scan that a test can hold.
func (t *tree) once(path string, do func()) {
	plain := t.o.Remote
	t.o.Remote = func(p string) (string, error) {
		if p == path {
			do()
		}
		return plain(p)
	}
}

func (t *tree) event(path string) {
	t.Helper()
	info, err := os.Stat(t.at(path))
	t.must(err)
	_, err = t.q.Enqueue(t.Context(), []queue.Change{{
		RootID: t.o.Root.ID, Path: path, Stat: state.StatOf(info), Remote: fmt.Sprintf("/%d/%s", t.o.Root.ID, path),
	}})
	t.must(err)
}

func TestAScanDoesNotCancelWhatAnEventQueuedMeanwhile(t *testing.T) {
	t.Parallel()
	t.Run("of a file that is back before the cancelling", func(t *testing.T) {
		tr := newTree(t)
		tr.write("a")
		tr.scan()
		tr.must(os.Remove(tr.at("a")))
		tr.write("b")
		tr.once("b", func() {
			tr.write("a")
			tr.event("a")
		})
		tr.scan()
		if got := tr.jobs(queue.Ready); !slices.Contains(got, "a") {
			t.Errorf("the job that an event made after the scan had passed the path is cancelled with it: left are %q", got)
		}
	})
	t.Run("of a file that is back just as it was, so that its job stays as it is", func(t *testing.T) {
		tr := newTree(t)
		tr.write("d/a")
		tr.scan()
		aside := filepath.Join(t.TempDir(), "d")
		tr.must(os.Rename(tr.at("d"), aside))
		tr.write("b", "e/f")
		tr.once("e/f", func() {
			tr.must(os.Rename(aside, tr.at("d")))
			tr.event("d/a")
		})
		tr.scan()
		tr.wantJobs(queue.Ready, "b", "d/a", "e/f")
	})
	t.Run("of a file that came after its directory was listed", func(t *testing.T) {
		tr := newTree(t)
		// So many rows that the job's page is read after the listing.
		tr.must(tr.db.Write(t.Context(), state.Relaxed, func(tx *state.Tx) error {
			for i := range 6 * 4096 {
				p := fmt.Sprintf("m/%06d", i)
				if err := tx.PutFile(&state.File{RootID: tr.o.Root.ID, Path: p, RemotePath: p, Response: []byte{}}); err != nil {
					return err
				}
			}
			return nil
		}))
		tr.write("a")
		tr.once("a", func() {
			tr.write("z")
			tr.event("z")
		})
		tr.scan()
		if got := tr.jobs(queue.Ready); !slices.Contains(got, "z") {
			t.Errorf("the job of a file that came after the listing is cancelled: left are %q", got)
		}
	})
}

func TestSymlinks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		follow  watcher.Symlinks
		links   map[string]string // link to target
		want    []string
		skipped map[string]int64
	}{
		{"are skipped unless asked for", watcher.SkipSymlinks, map[string]string{"l": "f", "m": "d"}, nil, map[string]int64{"symlink": 2}},
		{"to a file inside are followed", watcher.FollowInside, map[string]string{"l": "f"}, []string{"l"}, nil},
		{"to a directory inside are followed", watcher.FollowInside, map[string]string{"l": "d"}, []string{"l/x"}, nil},
		{"to a file upwards inside are followed", watcher.FollowInside, map[string]string{"d/l": "../f"}, []string{"d/l"}, nil},
		{"in a chain are followed", watcher.FollowInside, map[string]string{"l": "m", "m": "n", "n": "d"}, []string{"l/x", "m/x", "n/x"}, nil},
		{"to themselves are skipped", watcher.FollowInside, map[string]string{"l": "l"}, nil, map[string]int64{"symlink": 1}},
		{"to each other are skipped", watcher.FollowInside, map[string]string{"l": "m", "m": "l"}, nil, map[string]int64{"symlink": 2}},
		{"to a directory above end there", watcher.FollowInside, map[string]string{"d/l": "."}, nil, map[string]int64{"loop": 1}},
		{"to the root end there", watcher.FollowInside, map[string]string{"l": "."}, nil, map[string]int64{"loop": 1}},
		{"of two directories to each other end", watcher.FollowInside, map[string]string{"d/l": "../e", "e/m": "../d"},
			[]string{"d/l/y", "e/m/x"}, map[string]int64{"loop": 2}},
		{"to a file outside are skipped", watcher.FollowInside, map[string]string{"l": outside + "/secret"}, nil, map[string]int64{"symlink": 1}},
		{"to a directory outside are skipped", watcher.FollowInside, map[string]string{"l": outside}, nil, map[string]int64{"symlink": 1}},
		{"that climb out are skipped", watcher.FollowInside, map[string]string{"d/l": "../../" + filepath.Base(outside)}, nil, map[string]int64{"symlink": 1}},
		{"that climb out by a detour are skipped", watcher.FollowInside, map[string]string{"l": "m/secret", "m": outside}, nil, map[string]int64{"symlink": 2}},
		{"to nowhere are skipped", watcher.FollowInside, map[string]string{"l": "nothing"}, nil, map[string]int64{"symlink": 1}},
		{"to a device are skipped", watcher.FollowInside, map[string]string{"l": "/dev/zero"}, nil, map[string]int64{"symlink": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("f", "d/x", "e/y")
			tr.o.Symlinks = c.follow
			for link, target := range c.links {
				tr.must(os.Symlink(target, tr.at(link)))
			}
			r := tr.scan()
			tr.wantJobs(queue.Ready, append([]string{"f", "d/x", "e/y"}, c.want...)...)
			for _, rule := range []string{"symlink", "loop"} {
				if r.Skipped[rule] != c.skipped[rule] {
					t.Errorf("skipped as %s: %d, should be %d", rule, r.Skipped[rule], c.skipped[rule])
				}
			}
			if r.Problems != 0 {
				t.Errorf("problems: %v", r.Problem)
			}
			tr.upload(all)
			if r := tr.scan(); r.Queued != 0 || r.Gone != 0 {
				t.Errorf("the second report is %+v", r)
			}
		})
	}
}

func TestAChangedTargetOfAFollowedSymlinkIsSeen(t *testing.T) {
	tr := newTree(t)
	tr.write("f")
	tr.must(os.Symlink("f", tr.at("l")))
	tr.o.Symlinks = watcher.FollowInside
	tr.scan()
	tr.upload(all)
	tr.must(os.WriteFile(tr.at("f"), []byte("changed"), 0o644))
	tr.scan()
	tr.wantJobs(queue.Ready, "f", "l")
}

func TestWhatIsSwappedBetweenListingAndLookingLeadsNowhere(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "x"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		follow   watcher.Symlinks
		swap     func(*tree)
		problems int64
		keep     bool // the jobs below d stay
	}{
		{"a directory for a symlink to outside", watcher.SkipSymlinks, func(t *tree) {
			t.must(os.Rename(t.at("d"), t.at("d-old")))
			t.must(os.Symlink(outside, t.at("d")))
		}, 1, true},
		{"a directory, and the link to it, for a symlink to outside", watcher.FollowInside, func(t *tree) {
			t.must(os.Rename(t.at("d"), t.at("d-old")))
			t.must(os.Symlink(outside, t.at("d")))
		}, 2, true},
		{"a followed symlink for one to outside", watcher.FollowInside, func(t *tree) {
			t.must(os.Remove(t.at("l")))
			t.must(os.Symlink(outside, t.at("l")))
		}, 1, true},
		{"a directory for a file", watcher.SkipSymlinks, func(t *tree) {
			t.must(os.RemoveAll(t.at("d")))
			t.write("d")
		}, 1, true},
		{"a directory that is removed", watcher.SkipSymlinks, func(t *tree) { t.must(os.RemoveAll(t.at("d"))) }, 0, false},
		{"a file for a symlink to outside", watcher.SkipSymlinks, func(t *tree) {
			t.must(os.Remove(t.at("z")))
			t.must(os.Symlink(filepath.Join(outside, "x"), t.at("z")))
		}, 0, true},
		{"a file for a directory", watcher.SkipSymlinks, func(t *tree) {
			t.must(os.Remove(t.at("z")))
			t.write("z/x")
		}, 0, true},
		{"a file that is removed", watcher.SkipSymlinks, func(t *tree) { t.must(os.Remove(t.at("z"))) }, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTree(t)
			tr.o.Symlinks = c.follow
			tr.write("d/x")
			tr.must(os.Symlink("d", tr.at("l")))
			tr.scan()
			tr.write("a", "z")
			tr.once("a", func() { c.swap(tr) })
			r := tr.scan()
			if r.Problems != c.problems {
				t.Errorf("problems: %v, should be %d", r.Problem, c.problems)
			}
			for it, err := range tr.q.List(t.Context(), []int64{tr.o.Root.ID}, queue.Ready) {
				tr.must(err)
				if it.Size == int64(len("secret")) {
					t.Errorf("%s was looked at outside of the root", it.Path)
				}
			}
			if got := slices.Contains(tr.jobs(queue.Ready), "d/x"); got != c.keep {
				t.Errorf("the job below it is kept: %v", got)
			}
		})
	}
}

func TestEmptyTooLargeAndTooDeepFilesAreHeldWithTheirReason(t *testing.T) {
	tr := newTree(t)
	tr.write("small.jpg", "notes.txt", "deep/x.jpg")
	tr.must(os.WriteFile(tr.at("empty.jpg"), nil, 0o644))
	tr.must(os.WriteFile(tr.at("large.jpg"), make([]byte, 100), 0o644))
	tr.must(os.WriteFile(tr.at("large.mp4"), make([]byte, 100), 0o644))
	tr.o.Limits = watcher.Limits{Image: 99, Video: 100, Other: 9}
	plain := tr.o.Remote
	tr.o.Remote = func(p string) (string, error) {
		if strings.HasPrefix(p, "deep/") {
			return "", errDeep
		}
		return plain(p)
	}
	for range 2 { // the second scan finds them held already
		r := tr.scan()
		tr.wantJobs(queue.Held, "empty.jpg", "large.jpg", "deep/x.jpg")
		tr.wantJobs(queue.Ready, "small.jpg", "notes.txt", "large.mp4")
		for class, n := range map[string]int64{watcher.HoldEmpty: 1, watcher.HoldTooLarge: 1, watcher.HoldTooDeep: 1} {
			if r.Held[class] != n {
				t.Errorf("held as %s: %d, should be %d", class, r.Held[class], n)
			}
		}
	}
	for it, err := range tr.q.List(t.Context(), []int64{tr.o.Root.ID}, queue.Held) {
		tr.must(err)
		if words := map[string]string{"empty.jpg": "empty", "large.jpg": "100 B is more than the limit of 99 B", "deep/x.jpg": errDeep.Error()}[it.Path]; !strings.Contains(it.Reason, words) {
			t.Errorf("%s is held because %q, should say %q", it.Path, it.Reason, words)
		}
	}

	t.Run("and are released when they change", func(t *testing.T) {
		tr.TB = t
		tr.must(os.WriteFile(tr.at("empty.jpg"), []byte("now"), 0o644))
		tr.must(os.WriteFile(tr.at("large.jpg"), make([]byte, 99), 0o644))
		tr.scan()
		tr.wantJobs(queue.Held, "deep/x.jpg")
	})
	t.Run("and when the limits change, either way", func(t *testing.T) {
		tr.TB = t
		tr.o.Limits.Image = 50
		tr.scan()
		tr.wantJobs(queue.Held, "deep/x.jpg", "large.jpg")
		tr.o.Limits.Image = 0
		tr.o.Remote = plain
		tr.scan()
		tr.wantJobs(queue.Held)
		tr.wantJobs(queue.Ready, "small.jpg", "notes.txt", "large.mp4", "large.jpg", "empty.jpg", "deep/x.jpg")
	})
	t.Run("but what is uploaded stays so when the limits shrink", func(t *testing.T) {
		tr.TB = t
		tr.upload(all)
		tr.o.Limits = watcher.Limits{Image: 1, Video: 1, Other: 1}
		tr.o.Remote = func(string) (string, error) { return "", errDeep }
		if r := tr.scan(); r.InStep != 6 || r.Queued != 0 || len(r.Held) != 0 {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("and an uploaded file that is emptied is held until it has content", func(t *testing.T) {
		tr.TB = t
		tr.o.Limits, tr.o.Remote = watcher.Limits{}, plain
		tr.must(os.Truncate(tr.at("small.jpg"), 0))
		tr.scan()
		tr.wantJobs(queue.Held, "small.jpg")
		tr.write("small.jpg")
		tr.scan()
		tr.wantJobs(queue.Held)
		tr.wantJobs(queue.Ready, "small.jpg")
	})
}

func TestARootThatCannotBeScannedIsAnErrorAndChangesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*tree){
		"because it is missing":      func(t *tree) { t.must(os.Rename(t.dir, t.dir+"-away")) },
		"because it is a file":       func(t *tree) { t.must(os.RemoveAll(t.dir)); t.must(os.WriteFile(t.dir, nil, 0o644)) },
		"because it is a lost link":  func(t *tree) { t.must(os.RemoveAll(t.dir)); t.must(os.Symlink("nowhere", t.dir)) },
		"because the file is closed": func(t *tree) { t.must(t.db.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			db := watcher.OpenDB(t)
			tr := treeIn(t, db, filepath.Join(t.TempDir(), "photos"))
			tr.write("a")
			tr.scan()
			spoil(tr)
			s := watcher.NewScanner(tr.q, tr.o)
			err := s.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tr.dir) {
				t.Errorf("error is %v, should name the root", err)
			}
			if name == "because it is missing" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error is %v, should wrap fs.ErrNotExist", err)
			}
			if s.Report().Completed {
				t.Error("the scan is completed")
			}
			if name != "because the file is closed" {
				tr.wantJobs(queue.Ready, "a")
			}
		})
	}
}

// More rows than a page holds, with pairs of a record and a job around its end.
func TestMoreRowsThanAPageHolds(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	const n = 5000
	for i := range n {
		tr.must(os.WriteFile(tr.at(fmt.Sprintf("%04d", i)), []byte("x"), 0o644))
	}
	if r := tr.scan(); r.Queued != n {
		t.Errorf("queued %d", r.Queued)
	}
	tr.upload(all)
	if r := tr.scan(); r.InStep != n || r.Queued != 0 || r.Gone != 0 {
		t.Errorf("unchanged, but the report is %+v", r)
	}
	const changed = n / 4
	for i := n - changed; i < n; i++ { // these have two rows from now on, around the page's end
		tr.must(os.Truncate(tr.at(fmt.Sprintf("%04d", i)), 2))
	}
	for _, want := range []int64{changed, 0} {
		if r := tr.scan(); r.Queued != want || r.Waiting != changed-want || r.InStep != n-changed || r.Gone != 0 {
			t.Errorf("changed: the report is %+v", r)
		}
	}
	tr.must(os.RemoveAll(tr.dir))
	tr.must(os.Mkdir(tr.dir, 0o755))
	tr.write("new")
	if r := tr.scan(); r.Gone != n {
		t.Errorf("gone are %d", r.Gone)
	}
	tr.wantJobs(queue.Ready, "new")
}

func TestCollidingNamesAreReportedOnce(t *testing.T) {
	tr := newTree(t)
	tr.o.Remote = func(p string) (string, error) {
		return "/" + strings.Map(func(r rune) rune {
			if r == ' ' || r == '!' {
				return '_'
			}
			return r
		}, p), nil
	}
	tr.write("a b", "a!b", "a_b", "c")
	if r := tr.scan(); r.Queued != 4 || r.Renamed != 2 || len(r.Renames) != 2 {
		t.Errorf("the report is %+v", r)
	}
	if r := tr.scan(); r.Renamed != 0 || r.Waiting != 4 {
		t.Errorf("the second report is %+v", r)
	}
	tr.upload(all)
	if r := tr.scan(); r.Renamed != 0 || r.InStep != 4 {
		t.Errorf("the third report is %+v", r)
	}
}

func TestAFailedJobIsCountedAndNotQueuedAgain(t *testing.T) {
	tr := newTree(t)
	tr.write("a")
	tr.scan()
	jobs, _, err := tr.q.Claim(t.Context(), []int64{tr.o.Root.ID}, 1, time.Hour)
	tr.must(err)
	told := make(chan error, 1)
	tr.q.Fail(&jobs[0], queue.Failure{Dead: true}, func(err error) { told <- err })
	tr.must(<-told)
	if r := tr.scan(); r.Failing != 1 || r.Queued != 0 {
		t.Errorf("the report is %+v", r)
	}
	tr.must(os.Truncate(tr.at("a"), 5))
	if r := tr.scan(); r.Failing != 0 || r.Queued != 1 {
		t.Errorf("changed: the report is %+v", r)
	}
}

// The report of a scan that runs may be asked for by the page that shows it.
func TestAReportMayBeReadWhileTheScanRuns(t *testing.T) {
	tr := newTree(t)
	for i := range 300 {
		tr.write(fmt.Sprintf("%d/x", i))
	}
	s := watcher.NewScanner(tr.q, tr.o)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	for {
		r := s.Report()
		select {
		case err := <-ended:
			tr.must(err)
			if r := tr.addsUp(s.Report()); r.Files != 300 || !r.Completed {
				t.Errorf("the report is %+v", r)
			}
			return
		default:
			if r.Completed && r.Files != 300 {
				t.Errorf("completed with %d files", r.Files)
			}
		}
	}
}

// Nanoseconds since 1970 fit no time after 2262.
func TestATimeThatNanosecondsDoNotHoldIsInStep(t *testing.T) {
	tr := newTree(t)
	tr.write("2300.jpg", "1903.jpg")
	for name, at := range map[string]time.Time{"2300.jpg": time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), "1903.jpg": time.Date(1903, 1, 1, 0, 0, 0, 0, time.UTC)} {
		tr.must(os.Chtimes(tr.at(name), at, at))
	}
	tr.scan()
	tr.upload(all)
	if got, want := tr.records(), tr.onDisk(); !maps.EqualFunc(got, want, state.Stat.Same) {
		t.Errorf("recorded is %+v, on disk is %+v", got, want)
	}
	if r := tr.scan(); r.InStep != 2 {
		t.Errorf("%d of 2 files are in step", r.InStep)
	}
}
