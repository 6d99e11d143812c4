package state_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"iksync/state"
)

// The paths of somebody's photographs are nobody else's business.
func TestOnlyTheOwnerCanReadANewStateFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes say nothing here")
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	db := open(t, filepath.Join(dir, "state.db"))
	ensureRoot(t, db, "/photos")

	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, should be 0700", info.Mode().Perm())
	}
	for _, suffix := range []string{"", ".lock", "-wal", "-shm"} {
		info, err := os.Stat(db.Path() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("state.db%s has mode %v, should be 0600", suffix, info.Mode().Perm())
		}
	}
}

func TestCloseLeavesOneFileAndItsLock(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "state.db"))
	root := ensureRoot(t, db, "/photos")
	put(t, db, record(root.ID, "a.jpg"))
	paths(t, db, 0)
	closeDB(t, db)
	closeDB(t, db) // safe to call twice
	if got := names(t, dir); got != "state.db state.db.lock" {
		t.Errorf("left behind: %s", got)
	}
}

func TestAStateFileMayLieAtAnyPath(t *testing.T) {
	for name, sub := range map[string]string{
		"a question mark, as in a URL":      "what?mode=memory&cache=shared.db",
		"a percent sign and what looks hex": "100%41%3F%.db",
		"a hash":                            "#1.db",
		"spaces":                            " a b .db",
		"a plus sign":                       "a+b.db",
		"letters beyond ASCII":              "фото/ñ.db",
		"bytes that are not UTF-8":          "caf\xe9.db",
		"a newline":                         "a\nb.db",
		"quotes":                            `it's "so".db`,
		"a colon and what looks a scheme":   "file:memory:",
		"a backslash":                       `a\b.db`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, sub)
			db := open(t, path)
			root := ensureRoot(t, db, "/photos")
			put(t, db, record(root.ID, "a.jpg"))
			if db.Path() != path {
				t.Errorf("Path is %q, should be %q", db.Path(), path)
			}
			closeDB(t, db)
			base := filepath.Base(path)
			for _, name := range strings.Split(names(t, filepath.Dir(path)), base) {
				if !strings.Contains(" .lock -wal -shm ", name) {
					t.Errorf("beside it lies %q", name)
				}
			}
			ro, err := state.OpenReadOnly(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer ro.Close()
			if got := paths(t, ro, 0); len(got) != 1 {
				t.Errorf("reopened, it holds %q", got)
			}
		})
	}
}

func wantLocked(t *testing.T, err error, lock string, pid int) {
	t.Helper()
	var locked *state.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("error is %v, should be a *LockedError", err)
	}
	if *locked != (state.LockedError{Path: lock, PID: pid}) {
		t.Errorf("locked is %+v, should name %s and pid %d", *locked, lock, pid)
	}
}

func TestASecondOpenInThisProcessIsRefusedUntilClose(t *testing.T) {
	db, _ := openNew(t)
	_, err := state.Open(t.Context(), db.Path())
	wantLocked(t, err, db.Path()+".lock", os.Getpid())
	closeDB(t, db)
	open(t, db.Path())
}

func TestAnotherProcessHoldsTheLockUntilItEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *child){
		"and Close frees it": func(t *testing.T, c *child) {
			if err := c.stdin.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		},
		"and kill -9 frees it": func(t *testing.T, c *child) { c.kill(t) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			c := startChild(t, "hold", path)
			c.line(t)
			_, err := state.Open(t.Context(), path)
			wantLocked(t, err, path+".lock", c.cmd.Process.Pid)
			if !strings.Contains(err.Error(), "stop it") {
				t.Errorf("the message does not say what to do: %v", err)
			}
			ro, err := state.OpenReadOnly(t.Context(), path)
			if err != nil {
				t.Fatal("reading beside the other process: ", err)
			}
			if err := ro.Close(); err != nil {
				t.Error(err)
			}
			end(t, c)
			open(t, path)
		})
	}
}

// Two names of one file would be two daemons that take each other's leases back.
func TestASymlinkToAStateFileIsLockedAsTheFileItself(t *testing.T) {
	db, _ := openNew(t)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(db.Path(), link); err != nil {
		t.Skip("no symlinks here: ", err)
	}
	second, err := state.Open(t.Context(), link)
	if err == nil {
		closeDB(t, second)
		t.Error("the lock lies beside the symlink, so a second writer is let in")
	}
	wantLocked(t, err, db.Path()+".lock", os.Getpid())
}

func TestReadOnlySeesWhatTheWriterHasCommitted(t *testing.T) {
	db, root := openNew(t)
	put(t, db, record(root.ID, "a.jpg"))
	ro, err := state.OpenReadOnly(t.Context(), db.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if got := paths(t, ro, root.ID); len(got) != 1 {
		t.Errorf("it sees %q", got)
	}
	put(t, db, record(root.ID, "b.jpg"))
	if got := paths(t, ro, root.ID); len(got) != 2 {
		t.Errorf("after another commit it sees %q", got)
	}
	if err := ro.Write(t.Context(), state.Durable, func(*state.Tx) error { return nil }); err == nil {
		t.Error("it may write")
	}
	if rows, err := ro.Query(t.Context(), `DELETE FROM files RETURNING id`); err == nil {
		for rows.Next() {
		}
		if rows.Err() == nil {
			t.Error("a reading connection may delete")
		}
		rows.Close()
	}
	told := 0
	ro.WriteLater(state.Durable, func(*state.Tx) error { return nil }, func(err error) {
		if told++; err == nil {
			t.Error("WriteLater says that it wrote")
		}
	})
	if told != 1 {
		t.Errorf("done was called %d times", told)
	}
}

func TestReadOnlyOfAMissingFileSaysSoAndMakesNone(t *testing.T) {
	dir := t.TempDir()
	_, err := state.OpenReadOnly(t.Context(), filepath.Join(dir, "state.db"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, should wrap fs.ErrNotExist", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("it made %s", got)
	}
}

// raw runs statements on a file without this package in between.
func raw(t *testing.T, path string, statements ...string) {
	t.Helper()
	u := url.URL{Scheme: "file", Path: path}
	db, err := sql.Open("sqlite3", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOpenRefusesWhatIsNotItsOwnAndLeavesItByteForByte(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, path string)
		words string
		bug   string
	}{
		{"a file of a newer iksync", func(t *testing.T, path string) {
			closeDB(t, open(t, path))
			raw(t, path, "PRAGMA user_version = 99")
		}, "newer iksync", ""},
		{"another program's database", func(t *testing.T, path string) {
			raw(t, path, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
		}, "not an iksync state file", "journal_mode=WAL is set before the file is identified, which rewrites its header"},
		{"another program's database in WAL mode", func(t *testing.T, path string) {
			raw(t, path, "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)")
		}, "not an iksync state file", ""},
		{"another program's empty database with an id of its own", func(t *testing.T, path string) {
			raw(t, path, "PRAGMA application_id = 1", "PRAGMA user_version = 1")
		}, "not an iksync state file", "journal_mode=WAL is set before the file is identified, which rewrites its header"},
		{"a text file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("notes of a photographer\n", 50)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not an iksync state file or is damaged", ""},
		{"a short text file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not an iksync state file or is damaged", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			c.make(t, path)
			before := readFile(t, path)

			for how, openIt := range map[string]func() (*state.DB, error){
				"OpenReadOnly": func() (*state.DB, error) { return state.OpenReadOnly(t.Context(), path) },
				"Open":         func() (*state.DB, error) { return state.Open(t.Context(), path) },
			} {
				db, err := openIt()
				if err == nil {
					closeDB(t, db)
					t.Fatalf("%s took it", how)
				}
				if !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: the message %q should say %q and name the file", how, err, c.words)
				}
				var version *state.VersionError
				if errors.As(err, &version) != (c.words == "newer iksync") {
					t.Errorf("%s: the error is of type %T", how, err)
				}
			}
			if readFile(t, path) != before {
				if c.bug != "" {
					t.Error(c.bug)
				}
				t.Error("the file was changed")
			}
			if _, err := os.Stat(path + "-wal"); err == nil {
				t.Error("a write-ahead log was left beside it")
			}
		})
	}
}

func TestADirectoryInPlaceOfTheFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if db, err := state.Open(t.Context(), dir); err == nil {
		closeDB(t, db)
		t.Error("a directory was taken for a state file")
	}
}

// A file cut short by a broken disk must not become an empty state file.
func TestADamagedFileIsRefused(t *testing.T) {
	db, root := openNew(t)
	for _, p := range []string{"a", "b", "c"} {
		put(t, db, record(root.ID, p))
	}
	closeDB(t, db)
	raw(t, db.Path(), "PRAGMA wal_checkpoint(TRUNCATE)")
	b := []byte(readFile(t, db.Path()))
	copy(b, strings.Repeat("\x00", 100))
	if err := os.WriteFile(db.Path(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := state.Open(t.Context(), db.Path())
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error is %v, should say that the file is damaged", err)
	}
}
