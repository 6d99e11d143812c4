package state_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/state"
)

// A disk that fills up is the one fault that every long-running daemon meets.
// The test fills a small tmpfs, in a mount namespace of its own.
func TestAFullDiskIsSaidToBeFullAndNothingIsLost(t *testing.T) {
	const inside = "IKSYNC_STATE_TEST_TMPFS"
	dir := os.Getenv(inside)
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err != nil && !errors.As(err, &exit):
			t.Skip("no mount namespace here: ", err)
		case err != nil:
			t.Fatalf("%v\n%s", err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("%s", out)
		}
		return
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}

	db := open(t, filepath.Join(dir, "state.db"))
	root := ensureRoot(t, db, "/photos")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var want []string
	var refused *state.File
	for i := 0; refused == nil; i++ {
		f := record(root.ID, fmt.Sprintf("%05d", i))
		f.Response = make([]byte, 4000)
		err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.PutFile(f) })
		switch {
		case err == nil:
			want = append(want, f.Path)
		case !state.IsFull(err):
			t.Fatalf("after %d records the error is %v, which IsFull does not know", i, err)
		default:
			refused = f
		}
	}
	if len(want) == 0 {
		t.Fatal("nothing could be written")
	}
	told := make(chan error)
	db.WriteLater(state.Durable, func(tx *state.Tx) error { return tx.PutFile(refused) }, func(err error) { told <- err })
	if err := <-told; !state.IsFull(err) {
		t.Errorf("WriteLater says %v", err)
	}
	if got := paths(t, db, 0); !slices.Equal(got, want) {
		t.Errorf("on the full disk %d are recorded, should be %d", len(got), len(want))
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, db, refused)
	want = append(want, refused.Path)
	closeDB(t, db)
	if got := paths(t, open(t, db.Path()), 0); !slices.Equal(got, want) {
		t.Errorf("reopened, %d are recorded, should be %d", len(got), len(want))
	}
}
