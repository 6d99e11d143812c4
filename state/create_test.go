//go:build unix

package state_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iksync/state"
)

// opens are the ways to a state file.
var opens = map[string]func(ctx context.Context, path string) error{
	"Open": func(ctx context.Context, path string) error {
		db, err := state.Open(ctx, path)
		if err == nil {
			err = db.Close()
		}
		return err
	},
	"OpenReadOnly": func(ctx context.Context, path string) error {
		db, err := state.OpenReadOnly(ctx, path)
		if err == nil {
			err = db.Close()
		}
		return err
	},
	"Copy":   func(ctx context.Context, path string) error { return state.Copy(ctx, path, path+".copy") },
	"Survey": func(_ context.Context, path string) error { _, err := state.Survey(path); return err },
}

// TestAFileThatIsEmptyOrMissingBesideItsLogIsDamaged: taken for new, all would be sent again.
func TestAFileThatIsEmptyOrMissingBesideItsLogIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"missing": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path+"-wal", []byte("log"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			closeDB(t, open(t, path))
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			before := names(t, filepath.Dir(path))
			for how, openIt := range opens {
				var corrupt *state.CorruptError
				if err := openIt(t.Context(), path); !errors.As(err, &corrupt) || !corrupt.Ours || !strings.Contains(err.Error(), "adopt --rebuild") {
					t.Errorf("%s: %v", how, err)
				}
			}
			if after := names(t, filepath.Dir(path)); after != before {
				t.Errorf("there were %s, there are %s", before, after)
			}
			aside, err := state.SetAside(path, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ensureRoot(t, open(t, path), "/photos")
			if left, err := filepath.Glob(aside + "*"); len(left) != 1 || err != nil {
				t.Errorf("set aside are %q, %v", left, err)
			}
		})
	}
}

func TestASymlinkToNoFileMakesNone(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "state.db")
	if err := os.Symlink(filepath.Join(dir, "disk", "state.db"), link); err != nil {
		t.Fatal(err)
	}
	if err := opens["Open"](t.Context(), link); err == nil || !strings.Contains(err.Error(), "may have to be mounted") {
		t.Errorf("error is %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("there is %v, %v", info, err)
	}
}

// Under another name it has another lock and another log.
func TestAFileWithASecondNameIsRefused(t *testing.T) {
	db, _ := openNew(t)
	other := filepath.Join(t.TempDir(), "other.db")
	if err := os.Link(db.Path(), other); err != nil {
		t.Skip("no hard links here: ", err)
	}
	for how, openIt := range opens {
		var linked *state.LinkedError
		if err := openIt(t.Context(), other); !errors.As(err, &linked) || linked.Links != 2 {
			t.Errorf("%s: %v", how, err)
		}
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	open(t, db.Path())
}

func TestALockThatIsAnothersIsNotWritten(t *testing.T) {
	for name, plant := range map[string]func(victim, lock string) error{
		"a symlink":   os.Symlink,
		"a hard link": os.Link,
		"a pipe":      func(_, lock string) error { return unix.Mkfifo(lock, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path, victim := filepath.Join(t.TempDir(), "state.db"), filepath.Join(t.TempDir(), "victim")
			if err := os.WriteFile(victim, []byte("dear to me"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := plant(victim, path+".lock"); err != nil {
				t.Skip(err)
			}
			if err := opens["Open"](t.Context(), path); err == nil || !strings.Contains(err.Error(), path+".lock") || !strings.Contains(err.Error(), "remove it") {
				t.Errorf("error is %v", err)
			}
			if got := readFile(t, victim); got != "dear to me" {
				t.Errorf("the other file holds %q", got)
			}
		})
	}
}

// TestWhatIsLeftOfAFileThatWasNotCompletedIsRemoved: also where it has the file's name
// already, and only its own was not removed yet.
func TestWhatIsLeftOfAFileThatWasNotCompletedIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for _, suffix := range []string{"", "-journal"} {
		if err := os.WriteFile(path+".creating"+suffix, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeDB(t, open(t, path))
	if err := os.Link(path, path+".creating"); err != nil {
		t.Skip("no hard links here: ", err)
	}
	closeDB(t, open(t, path))
	if got := names(t, filepath.Dir(path)); got != "state.db state.db.lock" {
		t.Errorf("there are %s", got)
	}
}

// TestNoDescriptorOfTheFileIsClosedBesideSQLite: that would end SQLite's locks on it,
// and another process could fold and remove the log that this one writes.
func TestNoDescriptorOfTheFileIsClosedBesideSQLite(t *testing.T) {
	if _, err := os.Stat("/proc/locks"); err != nil {
		t.Skip(err)
	}
	db, root := openNew(t)
	put(t, db, record(root.ID, "a.jpg"))
	paths(t, db, 0)
	before := posixLocks(t, db.Path())
	if before == 0 {
		t.Skip("the kernel does not tell of the locks")
	}
	for how, openIt := range opens {
		_ = openIt(t.Context(), db.Path()) // Open is refused: it is locked
		if now := posixLocks(t, db.Path()); now < before {
			t.Errorf("after %s there are %d locks of %d", how, now, before)
		}
	}
}

// posixLocks counts this process's locks on a file that end with any of its descriptors.
func posixLocks(t *testing.T, path string) (n int) {
	t.Helper()
	out, err := exec.Command("stat", "-c", "%i", path).Output()
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(readFile(t, "/proc/locks")) {
		if strings.Contains(line, "POSIX") && strings.Contains(line, ":"+strings.TrimSpace(string(out))+" ") {
			n++
		}
	}
	return n
}
