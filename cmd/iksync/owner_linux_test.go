package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"iksync/uploader/emulator"
)

// Another user than the daemon's is told as whom to run a command, whether the directory of the
// state file is closed to him, as that of the service is, or only the files in it.
func TestAnotherUserIsToldWhoOwnsTheState(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can run a command as somebody else")
	}
	r := newRunRig(t, emulator.Options{})
	r.write("a.jpg")
	d := r.start()
	r.inStep()
	program := r.copied("iksync")
	dir := filepath.Dir(r.state)
	for _, at := range []struct {
		mode  os.FileMode
		owned string
	}{{0o700, dir}, {0o755, r.state}} {
		r.must(os.Chmod(dir, at.mode))
		for _, args := range [][]string{{"status"}, {"page"}, {"rescan"}, {"pause"}, {"why", r.tree() + "/a.jpg"}, {"failures"}, {"undo"}, {"export"}} {
			cmd := r.command("iksync", args)
			cmd.Path, cmd.Dir = program, "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != exitConfig || !strings.Contains(string(out), "permission denied: run it as root, who owns "+at.owned) {
				t.Errorf("%q in a directory of mode %o: %v\n%s", args, at.mode, err, out)
			}
		}
	}
	// A state file that others may read does not make the daemon one that is not running.
	r.must(os.Chmod(r.state, 0o644))
	cmd := r.command("iksync", []string{"status"})
	cmd.Path, cmd.Dir = program, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "run it as root") {
		t.Errorf("status with a socket that is closed: %v\n%s", err, out)
	}
	d.stop()
}

// copied makes a copy of a program, which every user may run, and opens the rig's directory.
func (r *runRig) copied(name string) string {
	r.Helper()
	path, err := exec.LookPath(name)
	r.must(err)
	r.must(os.Chmod(filepath.Dir(r.base), 0o755))
	r.must(os.Chmod(r.base, 0o755))
	program := filepath.Join(r.base, name)
	r.must(exec.Command("cp", path, program).Run()) // not here: a file that a fork has open for writing can't be run
	r.must(os.Chmod(program, 0o755))
	return program
}
