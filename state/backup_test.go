package state

import (
	"os"
	"path/filepath"
	"testing"
)

// Internal, since there is no older schema yet that an Open would back up.
func TestTheBackupBeforeAMigrationHoldsEverythingAndIsTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := db.EnsureRoot(t.Context(), "/photos", "/")
	if err != nil {
		t.Fatal(err)
	}
	path := db.Path()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	dst := filepath.Join(dir, "it's a copy?.bak")
	if err := os.WriteFile(dst, []byte("what an interrupted backup left"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := &DB{path: path}
	if err := again.openReaders("rw"); err != nil {
		t.Fatal(err)
	}
	defer again.read.Close()
	conn, err := again.read.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "PRAGMA query_only = 0"); err != nil {
		t.Fatal(err)
	}
	if err := backup(t.Context(), conn, dst); err != nil {
		t.Fatal(err)
	}

	kept, err := OpenReadOnly(t.Context(), dst)
	if err != nil {
		t.Fatal("the backup is no state file: ", err)
	}
	defer kept.Close()
	roots, err := kept.Roots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(roots) != 1 || roots[0] != root {
		t.Errorf("it holds %+v, should hold %+v", roots, root)
	}
	info, err := os.Stat(dst)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("SQLite makes the backup with mode %v: others can read the paths in it", info.Mode().Perm())
	}
}
