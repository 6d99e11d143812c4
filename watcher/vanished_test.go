package watcher

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// OpenDB makes a state file, also for the tests from outside of the package.
func OpenDB(t testing.TB) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// recording is a watcher whose loop and scans don't run, of a root with n recorded files
// in a directory "d" that is not there; other.jpg is there.
func recording(t *testing.T, n int) *Watcher {
	t.Helper()
	db := OpenDB(t)
	dir := t.TempDir()
	root, err := db.EnsureRoot(t.Context(), dir, "/")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "other.jpg"), nil, 0o644)
	}
	if err == nil {
		err = db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
			for i := range n {
				path := fmt.Sprintf("d/%05d.jpg", i)
				if err := tx.PutFile(&state.File{RootID: root.ID, Path: path, FileID: path, RemotePath: "/" + path, Response: []byte("{}")}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	w := NewWatcher(queue.New(db, nil), WatchOptions{Options: Options{Root: root}})
	w.lookAtRoot()
	return w
}

func (w *Watcher) countAbsent(t *testing.T) int {
	t.Helper()
	n := 0
	for _, err := range w.q.AbsentFiles(t.Context(), w.o.Root.ID) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// turn is a turn of the loop, when nothing has settled.
func (w *Watcher) turn(t *testing.T) {
	t.Helper()
	if err := w.settleDue(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

// TestADirectoryThatVanishedIsNotedTurnByTurn: others that settle wait for no more than
// one of them, and nothing is removed until it is all noted.
func TestADirectoryThatVanishedIsNotedTurnByTurn(t *testing.T) {
	const n = 3000
	w := recording(t, n)
	w.gone("d")
	for turns, before := 0, 0; before < n; turns++ {
		w.turn(t)
		now := w.countAbsent(t)
		switch more := now - before; {
		case more == 0:
			t.Fatalf("after %d turns it stays at %d of %d", turns, now, n)
		case more > n/4:
			t.Fatalf("%d of %d are noted in one turn", more, n)
		case w.vanishing.Load() != (len(w.vanished) > 0) || now < n && !w.vanishing.Load():
			t.Fatalf("%d of %d are noted; there are more: %v", now, n, w.vanishing.Load())
		}
		before = now
	}
	w.turn(t)
	if w.vanishing.Load() {
		t.Error("it never comes to an end")
	}
}

// TestWhatVanishedAndIsBackIsNotNotedFurther: not a directory that is there again, nor
// anything when the root is away.
func TestWhatVanishedAndIsBackIsNotNotedFurther(t *testing.T) {
	const n = 3000
	for name, c := range map[string]struct {
		do   func(w *Watcher) error
		scan bool // it asks for a scan of the directory
		on   bool // it goes on all the same
	}{
		"the directory is back":  {do: func(w *Watcher) error { return os.Mkdir(w.onDisk("d"), 0o755) }, scan: true},
		"a file is in its place": {do: func(w *Watcher) error { return os.WriteFile(w.onDisk("d"), nil, 0o644) }, on: true},
		"the root is not there":  {do: func(w *Watcher) error { return os.Rename(w.o.Root.Path, w.o.Root.Path+" away") }},
		"another is in the root's place": {do: func(w *Watcher) error {
			if err := os.Rename(w.o.Root.Path, w.o.Root.Path+" away"); err != nil {
				return err
			}
			return os.Mkdir(w.o.Root.Path, 0o755)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := recording(t, n)
			w.gone("d")
			w.turn(t)
			begun := w.countAbsent(t)
			if err := c.do(w); err != nil {
				t.Fatal(err)
			}
			for range n {
				w.turn(t)
			}
			if now := w.countAbsent(t); !c.on && now != begun || c.on && now != n {
				t.Errorf("%d were noted before, %d afterwards", begun, now)
			}
			if _, asked := w.below.take()["d"]; asked != c.scan {
				t.Errorf("a scan of it is asked for: %v", asked)
			}
			if w.vanishing.Load() {
				t.Error("there is still more to note")
			}
		})
	}
}
