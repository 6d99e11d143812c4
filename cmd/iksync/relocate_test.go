//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"iksync/state"
	"iksync/uploader/emulator"
)

// relocation is a rig with some uploaded files.
type relocation struct {
	*removalRig
	ids map[string]string // fileId by remote path
}

const relocated12 = 12 // files

func newRelocation(t *testing.T) *relocation {
	t.Helper()
	r := &relocation{removalRig: newRemovalRig(t, emulator.Behaviour{}, "delete: delete")}
	for i := range relocated12 {
		r.write(fmt.Sprintf("d%d/%d.jpg", i%3, i))
	}
	r.backfill()
	r.ids = r.fileIDs()
	if len(r.ids) != relocated12 {
		t.Fatalf("%d files were uploaded", len(r.ids))
	}
	return r
}

// fileIDs are those of all records, by remote path.
func (r *relocation) fileIDs() map[string]string {
	r.Helper()
	db, err := state.OpenReadOnly(r.Context(), r.state)
	r.must(err)
	defer db.Close()
	ids := make(map[string]string)
	for f, err := range db.Files(context.Background(), 0, false) {
		r.must(err)
		ids[f.RemotePath] = f.FileID
	}
	return ids
}

// uploads is how many uploads have come.
func (r *relocation) uploads() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range r.calls {
		if strings.HasSuffix(call, "/upload") {
			n++
		}
	}
	return n
}

// wantSame wants no upload since the first, and the same records and assets.
func (r *relocation) wantSame() {
	r.Helper()
	if n := r.uploads(); n != relocated12 {
		r.Errorf("%d uploads, and not %d", n, relocated12)
	}
	if ids := r.fileIDs(); !maps.Equal(ids, r.ids) {
		r.Errorf("the records are of %v, and were of %v", ids, r.ids)
	}
	r.wantAssets(slices.Collect(maps.Keys(r.ids))...)
	r.wantUntouched()
}

// ends runs a command that ends with a code.
func (r *relocation) ends(code int, args ...string) string {
	r.Helper()
	cmd := r.command("iksync", args)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		r.Fatalf("iksync %q ends with %d, and not %d:\n%s", args, got, code, out)
	}
	return string(out)
}

func (r *relocation) says(out string, texts ...string) {
	r.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			r.Errorf("it does not say %q:\n%s", text, out)
		}
	}
}

// moveTree renames the first root's directory and configures where it is.
func (r *relocation) moveTree(how func(from, to string)) {
	r.Helper()
	from, to := r.tree(), r.tree()+"-moved"
	how(from, to)
	r.roots[0].path = to
	r.configure()
}

func (r *relocation) rename(from, to string) {
	r.Helper()
	r.must(os.Rename(from, to))
}

// copyAway copies the directory, with its times, as another disk would have it.
func (r *relocation) copyAway(from, to string) {
	r.Helper()
	r.must(os.CopyFS(to, os.DirFS(from)))
	r.must(filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, strings.TrimPrefix(path, from)), info.ModTime(), info.ModTime())
	}))
	r.must(os.RemoveAll(from))
}

// TestARootAtAnotherPathIsTheRecordedOne: its directory was renamed, or is on another disk.
func TestARootAtAnotherPathIsTheRecordedOne(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(*relocation) func(from, to string){
		"renamed": func(r *relocation) func(string, string) { return r.rename },
		"copied":  func(r *relocation) func(string, string) { return r.copyAway },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelocation(t)
			r.moveTree(how(r))
			is := r.tree() + " is the recorded root " + strings.TrimSuffix(r.tree(), "-moved")
			r.says(r.ends(0, "plan", "--config", r.config), is, "To send: 0 B in 0 files")
			r.says(r.ends(0, "check", "--config", r.config), is)
			r.says(r.backfill(), is)
			r.wantSame()
			r.says(r.ends(0, "plan", "--config", r.config), "To send: 0 B in 0 files")
			// A rename in it is a move still.
			r.rename(filepath.Join(r.tree(), "d0", "0.jpg"), filepath.Join(r.tree(), "d0", "new.jpg"))
			r.backfill()
			if n := r.uploads(); n != relocated12 {
				t.Errorf("%d uploads", n)
			}
			if id := r.fileIDs()["/photos/d0/new.jpg"]; id != r.ids["/photos/d0/0.jpg"] {
				t.Errorf("the moved file has the id %q", id)
			}
		})
	}
}

// TestAStateFileOnAnotherMachine finds the files at the same path, with other inodes: they are
// read, and nothing is sent or removed.
func TestAStateFileOnAnotherMachine(t *testing.T) {
	t.Parallel()
	r := newRelocation(t)
	path := r.tree()
	away := path + "-away"
	r.rename(path, away)
	r.copyAway(away, path)
	db, err := state.Open(t.Context(), r.state)
	r.must(err)
	r.must(db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE roots SET identity = CAST('uuid:of the other disk:2' AS BLOB)`)
	}))
	r.must(db.Close())
	r.remove("d0/0.jpg")
	for range 2 {
		r.backfillAnyhow()
	}
	r.wantSame()
}

// TestAnInodeOfAnotherMachineProvesNothing: it may be that of a recorded file by chance.
func TestAnInodeOfAnotherMachineProvesNothing(t *testing.T) {
	t.Parallel()
	r := newRelocation(t)
	path := r.tree()
	r.rename(path, path+"-away")
	r.copyAway(path+"-away", path)
	before, err := os.Stat(filepath.Join(path, "d0/0.jpg"))
	r.must(err)
	r.remove("d0/0.jpg")
	r.write("d0/new.jpg", "another!") // of the same size
	r.must(os.Chtimes(filepath.Join(path, "d0/new.jpg"), before.ModTime(), before.ModTime()))
	info, err := os.Stat(filepath.Join(path, "d0/new.jpg"))
	r.must(err)
	st := state.StatOf(info)
	db, err := state.Open(t.Context(), r.state)
	r.must(err)
	r.must(db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		if err := tx.Exec(`UPDATE roots SET identity = CAST('uuid:of the other disk:2' AS BLOB)`); err != nil {
			return err
		}
		return tx.Exec(`UPDATE files SET dev = ?, ino = ?, ctime_ns = ? WHERE path = CAST('d0/0.jpg' AS BLOB)`, int64(st.Dev), int64(st.Ino), st.CtimeNs)
	}))
	r.must(db.Close())
	r.backfillAnyhow()
	if !r.has("/photos/d0/new.jpg", "another!") {
		t.Error("the content of another file was taken for that of the new one")
	}
}

// TestAnotherDirectoryWithTheFolderOfARootNeedsADecision.
func TestAnotherDirectoryWithTheFolderOfARootNeedsADecision(t *testing.T) {
	t.Parallel()
	other := func(t *testing.T) *relocation {
		r := newRelocation(t)
		r.moveTree(func(_, to string) { r.must(writeFile(filepath.Join(to, "other.jpg"), "other")) })
		return r
	}
	t.Run("it waits", func(t *testing.T) {
		t.Parallel()
		r := other(t)
		r.says(r.ends(exitConfig, "backfill", "--config", r.config), "iksync relocate", "--new-root")
		r.says(r.ends(0, "plan", "--config", r.config), "needs decision", "iksync relocate", "--new-root")
		r.says(r.ends(0, "check", "--config", r.config), "iksync relocate", "--new-root")
		r.wantSame()
	})
	t.Run("it is new", func(t *testing.T) {
		t.Parallel()
		r := other(t)
		r.ends(0, "backfill", "--config", r.config, "--new-root")
		r.ends(0, "backfill", "--config", r.config)
		r.wantAssets(append(slices.Collect(maps.Keys(r.ids)), "/photos/other.jpg")...)
	})
	t.Run("it is said to be new", func(t *testing.T) {
		t.Parallel()
		r := other(t)
		r.ends(0, "relocate", "--new-root", r.tree(), "--config", r.config)
		r.ends(0, "backfill", "--config", r.config)
		r.wantAssets(append(slices.Collect(maps.Keys(r.ids)), "/photos/other.jpg")...)
	})
	t.Run("it is said to be the recorded one", func(t *testing.T) {
		t.Parallel()
		r := other(t)
		r.ends(0, "relocate", strings.TrimSuffix(r.tree(), "-moved"), r.tree(), "--config", r.config)
		r.backfillAnyhow()
		r.wantAssets(append(slices.Collect(maps.Keys(r.ids)), "/photos/other.jpg")...)
		r.wantUntouched() // nothing is removed
	})
	t.Run("other roots go on", func(t *testing.T) {
		t.Parallel()
		r := other(t)
		r.must(writeFile(filepath.Join(r.addRoot("second", ""), "a.jpg"), "a"))
		r.ends(exitConfig, "backfill", "--config", r.config)
		r.wantAssets(append(slices.Collect(maps.Keys(r.ids)), "/second/a.jpg")...)
	})
}

// TestTwoDirectoriesMayMirrorIntoOneFolder, each by a command of its own.
func TestTwoDirectoriesMayMirrorIntoOneFolder(t *testing.T) {
	t.Parallel()
	r := newRelocation(t)
	other := filepath.Join(r.base, "other")
	r.must(writeFile(filepath.Join(other, "other.jpg"), "other"))
	r.ends(0, "backfill", other, "--to", "/photos")
	r.ends(0, "backfill", "--config", r.config)
	r.wantAssets(append(slices.Collect(maps.Keys(r.ids)), "/photos/other.jpg")...)
}

// TestTheDaemonServesOtherRootsWhileOneNeedsADecision, and takes that up without a restart.
func TestTheDaemonServesOtherRootsWhileOneNeedsADecision(t *testing.T) {
	t.Parallel()
	r := newRelocation(t)
	second := r.addRoot("second", "")
	r.moveTree(func(_, to string) { r.must(writeFile(filepath.Join(to, "other.jpg"), "other")) })
	d := r.start()
	d.says("a root needs a decision")
	r.must(writeFile(filepath.Join(second, "a.jpg"), "a"))
	waitFor(t, "the other root is served", func() bool { return r.has("/second/a.jpg", "a") })
	r.says(r.ends(0, "status", "--config", r.config), "needs decision", "iksync relocate")
	r.ends(exitConfig, "backfill", "--config", r.config)
	r.ends(0, "relocate", "--new-root", r.tree(), "--config", r.config)
	waitFor(t, "the decided one is served", func() bool { return r.has("/photos/other.jpg", "other") })
	d.stop()
}

// TestARootIsRelocatedWhileTheDaemonRuns: its path is edited and the configuration read again.
func TestARootIsRelocatedWhileTheDaemonRuns(t *testing.T) {
	t.Parallel()
	r := newRelocation(t)
	d := r.start()
	d.says(`"scanned"`)
	r.inStep()
	r.moveTree(r.rename)
	d.signal(syscall.SIGHUP)
	d.says("is the recorded root")
	r.write("later.jpg")
	r.gets("later.jpg")
	d.stop()
	r.ids["/photos/later.jpg"] = r.fileIDs()["/photos/later.jpg"]
	if ids := r.fileIDs(); !maps.Equal(ids, r.ids) || r.uploads() != relocated12+1 {
		t.Errorf("the records are of %v, and were of %v; %d uploads", ids, r.ids, r.uploads())
	}
}

// TestAChangedFolder is told, and its assets are moved when that is asked for.
func TestAChangedFolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		folder  string
		prepare func(*relocation)
		daemon  bool
	}{
		"renamed":              {folder: "/images"},
		"renamed, by a daemon": {folder: "/images", daemon: true},
		"moved and renamed":    {folder: "/all/images"},
		"taken": {folder: "/images", prepare: func(r *relocation) {
			theirs := filepath.Join(r.base, "theirs")
			r.must(writeFile(filepath.Join(theirs, "theirs.jpg"), "of somebody else"))
			cmd := r.command("iksync", []string{"backfill", theirs, "--to", "/images", "--state", filepath.Join(r.base, "theirs.db")})
			if out, err := cmd.CombinedOutput(); err != nil {
				r.Fatalf("%v\n%s", err, out)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.calls = r.calls[:relocated12]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelocation(t)
			if c.prepare != nil {
				c.prepare(r)
			}
			r.roots[0].folder = c.folder
			r.configure()
			const told = "changing folder affects new uploads only; 12 assets stay outside of "
			r.says(r.ends(0, "plan", "--config", r.config), told+c.folder)
			r.says(r.ends(0, "check", "--config", r.config), told+c.folder)
			if c.daemon {
				d := r.start()
				d.says("scanned")
				r.ends(0, "relocate", "--folder", c.folder, "--config", r.config)
				waitFor(t, "the assets are moved", func() bool { return r.fileIDs()[c.folder+"/d0/0.jpg"] != "" })
				d.stop()
			} else {
				r.ends(0, "relocate", "--folder", c.folder, "--config", r.config)
			}
			want := make(map[string]string)
			for remote, id := range r.ids {
				want[c.folder+strings.TrimPrefix(remote, "/photos")] = id
			}
			if ids := r.fileIDs(); !maps.Equal(ids, want) {
				t.Errorf("the records are of %v, and should be of %v", ids, want)
			}
			if n := r.uploads(); n != relocated12 {
				t.Errorf("%d uploads", n)
			}
			// A listing may not show yet that the folder is taken; then a folder job is refused.
			took := r.took()
			whole := !slices.ContainsFunc(took, func(call string) bool { return strings.HasSuffix(call, "/files/move") })
			if whole != (c.prepare == nil) {
				t.Errorf("the library was told %q", took)
			}
		})
	}
}
