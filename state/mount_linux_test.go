package state_test

import (
	"path/filepath"
	"testing"

	"iksync/state"
)

func TestMountsAreNumberedForAllProcesses(t *testing.T) {
	t.Parallel()
	const proc = "/proc" // a file system that proves nothing, on every machine
	path := filepath.Join(t.TempDir(), "iksync.db")
	numberIn := func() int64 {
		db, err := state.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		trust, err := db.Mounts().At(proc)
		if err != nil || trust.Proven() {
			t.Fatalf("%s: %+v, %v", proc, trust, err)
		}
		again, err := db.Mounts().At(proc)
		if err != nil || again != trust {
			t.Errorf("asked again: %+v, %v; before %+v", again, err, trust)
		}
		return trust.Mount
	}
	first := numberIn()
	if second := numberIn(); second != first {
		t.Errorf("the same mount has the number %d, and had %d", second, first)
	}
	db, err := state.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if trust, err := db.Mounts().At(proc); err != nil || trust.Mount != first {
		t.Errorf("beside the process that writes: %+v, %v", trust, err)
	}
	if trust, err := state.TrustAt(proc); err != nil || trust.Proven() || trust.Why == "" {
		t.Errorf("without a state file: %+v, %v", trust, err)
	}
}
