//go:build unix

package main

import (
	"testing"

	"iksync/state"
	"iksync/uploader/emulator"
)

// Records that were adopted before the local content was noted have no hash: the file
// is read, and compared with its asset.
func TestVerifyHashProvesRecordsWithoutAHash(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	for _, name := range []string{"equal.jpg", "other.jpg", "gone.jpg"} {
		r.write(name)
	}
	r.iksync("backfill", "--config", r.config)
	r.must(r.edit(`UPDATE files SET hash = zeroblob(16), unproven = 1`))
	r.write("other.jpg", "Other.jpg") // of the same size
	r.must(r.edit(`UPDATE files SET absent = 1, absent_at = 1 WHERE path = CAST('gone.jpg' AS BLOB)`))

	cmd := r.command("iksync", []string{"verify", "--config", r.config, "--hash"})
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("verify ended with %v: %s", err, out)
	}
	db, err := state.OpenReadOnly(t.Context(), r.state)
	r.must(err)
	defer db.Close()
	proven := map[string]bool{"equal.jpg": true, "other.jpg": false, "gone.jpg": false}
	want := r.wanted()
	for f, err := range db.Files(t.Context(), 0, false) {
		r.must(err)
		if f.Proven() != proven[f.Path] {
			t.Errorf("%s: %+v\n%s", f.Path, f, out)
		}
		if f.Proven() && f.Hash != want["/photos/"+f.Path] {
			t.Errorf("%s is recorded with another hash", f.Path)
		}
	}
}

// edit changes the state file as no command does.
func (r *runRig) edit(statement string) error {
	r.Helper()
	db, err := state.Open(r.Context(), r.state)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Write(r.Context(), state.Durable, func(tx *state.Tx) error { return tx.Exec(statement) })
}
