package state_test

import (
	"errors"
	"testing"

	"iksync/state"
)

// TestRelocateRoot moves a root with its records, and refuses what was decided on other roots
// than are recorded.
func TestRelocateRoot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		before  func(*testing.T, *state.DB, state.Root)
		proven  bool
		refused bool
	}{
		{"proven", func(*testing.T, *state.DB, state.Root) {}, true, false},
		{"by its files", func(*testing.T, *state.DB, state.Root) {}, false, false},
		{"a root without files is at the new path", func(t *testing.T, db *state.DB, _ state.Root) { ensureRoot(t, db, "/new") }, true, false},
		{"a root with files is at the new path", func(t *testing.T, db *state.DB, _ state.Root) {
			f := record(ensureRoot(t, db, "/new").ID, "theirs.jpg")
			f.RemotePath = "/theirs.jpg"
			put(t, db, f)
		}, true, true},
		{"it has got another path meanwhile", func(t *testing.T, db *state.DB, root state.Root) {
			if _, err := db.RelocateRoot(t.Context(), root, "/third", "/", true); err != nil {
				t.Fatal(err)
			}
		}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, root := openNew(t)
			want := record(root.ID, "a.jpg")
			put(t, db, want)
			c.before(t, db, root)
			got, err := db.RelocateRoot(t.Context(), root, "/new", "/folder", c.proven)
			if c.refused {
				if !errors.Is(err, state.ErrRootsChanged) {
					t.Errorf("it was not refused: %+v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (got != state.Root{ID: root.ID, Path: "/new", Folder: "/folder"}) {
				t.Errorf("it is %+v", got)
			}
			roots, err := db.Roots(t.Context())
			if err != nil || len(roots) != 1 || roots[0] != got {
				t.Errorf("recorded are %+v, %v", roots, err)
			}
			f, err := db.FileAt(t.Context(), root.ID, "a.jpg")
			if err != nil {
				t.Fatal(err)
			}
			if f.FileID != want.FileID || f.Hash != want.Hash || f.Stat.Size != want.Stat.Size || f.Stat.MtimeNs != want.Stat.MtimeNs {
				t.Errorf("the record is %+v, and was %+v", f, want)
			}
			if same := f.Stat.Ino == want.Stat.Ino && f.Stat.Dev == want.Stat.Dev; same != c.proven {
				t.Errorf("its inode is %d of %d, and was %d of %d", f.Stat.Ino, f.Stat.Dev, want.Stat.Ino, want.Stat.Dev)
			}
		})
	}
}
