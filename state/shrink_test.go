package state_test

import (
	"slices"
	"testing"

	"iksync/state"
)

func TestAFileThatWasShrunkIsReadAndWrittenAsBefore(t *testing.T) {
	db, root := openNew(t)
	put(t, db, record(root.ID, "a"))
	open := db.Files(t.Context(), root.ID, false)
	for f, err := range open { // a reader that is in use stays
		if err != nil {
			t.Fatal(err)
		}
		if got := paths(t, db, root.ID); !slices.Equal(got, []string{f.Path}) {
			t.Errorf("recorded: %q", got)
		}
		if n := state.Readers(db); n < 2 {
			t.Errorf("%d connections read, should be those of two loops", n)
		}
		db.Shrink()
		if n := state.Readers(db); n != 1 {
			t.Errorf("%d connections read, should be the one that is in use", n)
		}
		put(t, db, record(root.ID, "b"))
	}
	db.Shrink()
	if n := state.Readers(db); n != 0 {
		t.Errorf("%d connections that read are left", n)
	}
	put(t, db, record(root.ID, "c"))
	if got := paths(t, db, root.ID); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("recorded: %q", got)
	}
}
