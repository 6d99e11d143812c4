package state_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iksync/state"
)

// childEnv names what this binary does instead of testing, so that a test can
// have a second process to lock out or to kill.
const childEnv = "IKSYNC_STATE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "hold":
		childHold(os.Args[len(os.Args)-1])
	case "record":
		childRecord(os.Args[len(os.Args)-1])
	default:
		goleak.VerifyTestMain(m)
	}
}

func childFatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childHold opens the file and keeps it until its standard input ends.
func childHold(path string) {
	db, err := state.Open(context.Background(), path)
	childFatal(err)
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	childFatal(db.Close())
}

// childRecord records files for ever and prints each path once it is told that
// it is committed.
func childRecord(path string) {
	ctx := context.Background()
	db, err := state.Open(ctx, path)
	childFatal(err)
	root, err := db.EnsureRoot(ctx, "/photos", "/")
	childFatal(err)
	for i := 0; ; i++ {
		f := record(root.ID, fmt.Sprintf("%06d.jpg", i))
		db.WriteLater(state.Durable, func(tx *state.Tx) error { return tx.PutFile(f) }, func(err error) {
			childFatal(err)
			fmt.Println(f.Path)
		})
	}
}

type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	stdin io.WriteCloser
}

func startChild(t *testing.T, role, path string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &child{cmd, bufio.NewScanner(stdout), stdin}
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatal("the other process ended early: ", c.lines.Err())
	}
	return c.lines.Text()
}

// kill ends the process as kill -9 does, and returns what it had printed until then.
func (c *child) kill(t *testing.T) (rest []string) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for c.lines.Scan() {
		rest = append(rest, c.lines.Text())
	}
	_ = c.cmd.Wait()
	return rest
}

func open(t testing.TB, path string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error("close: ", err)
		}
	})
	return db
}

func openNew(t testing.TB) (*state.DB, state.Root) {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	return db, ensureRoot(t, db, "/photos")
}

func ensureRoot(t testing.TB, db *state.DB, path string) state.Root {
	t.Helper()
	root, err := db.EnsureRoot(t.Context(), path, "/remote")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func closeDB(t testing.TB, db *state.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, db *state.DB, f *state.File) {
	t.Helper()
	if err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.PutFile(f) }); err != nil {
		t.Fatal(err)
	}
}

// record is a complete record of a path, with a remote path of its own.
func record(rootID int64, path string) *state.File {
	return &state.File{
		RootID: rootID, Path: path,
		Stat:       state.Stat{Size: 7, MtimeNs: 11, CtimeNs: 13, Dev: 17, Ino: 19},
		Hash:       state.Hash{1, 15: 2},
		FileID:     "id of " + path,
		VersionID:  "v1",
		Name:       filepath.Base(path),
		RemotePath: fmt.Sprintf("/%d/%s", rootID, path),
		URL:        "https://ik.example/" + path,
		FileType:   "image",
		Response:   []byte(`{}`),
		UploadedAt: time.UnixMilli(1_700_000_000_123),
		CheckedAt:  time.UnixMilli(1_700_000_000_456),
	}
}

// paths returns the recorded paths in the order in which Files gives them.
func paths(t testing.TB, db *state.DB, rootID int64) []string {
	t.Helper()
	var all []string
	for f, err := range db.Files(t.Context(), rootID, false) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Path)
	}
	return all
}

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var errBoom = errors.New("boom")
