package watcher_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/queue"
	"iksync/watcher"
)

// Opening a FIFO waits for a writer, opening a device may do anything.
func TestFIFOsSocketsAndDevicesAreSkippedAndNeverOpened(t *testing.T) {
	for name, follow := range map[string]watcher.Symlinks{"when links are skipped": watcher.SkipSymlinks, "when links are followed": watcher.FollowInside} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.o.Symlinks = follow
			tr.write("a", "z")
			tr.must(unix.Mknod(tr.at("fifo.jpg"), unix.S_IFIFO|0o644, 0))
			tr.must(unix.Mknod(tr.at("socket.jpg"), unix.S_IFSOCK|0o644, 0))
			tr.must(os.Symlink("fifo.jpg", tr.at("link.jpg")))
			special := []string{"fifo.jpg", "socket.jpg"}
			if err := unix.Mknod(tr.at("device.jpg"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))); err == nil {
				special = append(special, "device.jpg")
			}
			watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
			tr.must(err)
			defer unix.Close(watch)
			for _, p := range special {
				_, err := unix.InotifyAddWatch(watch, tr.at(p), unix.IN_OPEN)
				tr.must(err)
			}

			r := tr.scan()
			tr.wantJobs(queue.Ready, "a", "z")
			if r.Skipped["special"] != int64(len(special)) || r.Skipped["symlink"] != 1 || r.Problems != 0 {
				t.Errorf("the report is %+v", r)
			}
			if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("something was opened: %d bytes of events, error %v", n, err)
			}

			t.Run("also in place of a file or directory that was listed", func(t *testing.T) {
				tr.TB = t
				tr.write("m", "n/x", "o")
				tr.once("m", func() {
					tr.must(os.RemoveAll(tr.at("n")))
					tr.must(unix.Mknod(tr.at("n"), unix.S_IFIFO|0o644, 0))
					tr.must(os.Remove(tr.at("o")))
					tr.must(unix.Mknod(tr.at("o"), unix.S_IFIFO|0o644, 0))
				})
				if r := tr.scan(); r.Problems != 1 || r.Problem[0].Path != "n/" {
					t.Errorf("the report is %+v", r)
				}
				tr.wantJobs(queue.Ready, "a", "m", "z")
			})
		})
	}
}

// unprivileged runs the test in a process that file modes hold for: for root it
// starts one in a user namespace in which the same user is not root. It reports
// whether this is that process.
func unprivileged(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skip("file modes don't hold for root, and there is no user namespace here: ", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("the test did not run unprivileged:\n%s", out)
	}
	return false
}

// Nothing is inferred from not seeing.
func TestWhatCannotBeReadIsAProblemAndKeepsItsJobsAndRecords(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	for _, c := range []struct {
		name     string
		path     string
		mode     os.FileMode
		problems []string
		cancels  []string
	}{
		{"a directory that can't be listed", "d", 0o300, []string{"d/"}, nil},
		{"a directory that can't be opened at all", "d", 0, []string{"d/"}, nil},
		{"a directory whose files can't be looked at", "d", 0o400, []string{"d/e/", "d/x", "d/y"}, nil},
		{"not a file that can't be read: its stat is all that a scan needs", "d/x", 0, nil, []string{"d/gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("d/recorded", "d.jpg")
			tr.scan()
			tr.upload(all)
			tr.must(os.Remove(tr.at("d/recorded")))
			tr.write("d/x", "d/y", "d/gone", "d/e/deep", "d0")
			tr.scan()
			before := tr.jobs(queue.Ready)
			tr.must(os.Remove(tr.at("d/gone")))

			tr.must(os.Chmod(tr.at(c.path), c.mode))
			t.Cleanup(func() { tr.must(os.Chmod(tr.at(c.path), 0o755)) })
			r := tr.scan()
			var problems []string
			for _, p := range r.Problem {
				problems = append(problems, p.Path)
				if !errors.Is(p.Err, unix.EACCES) {
					t.Errorf("%s: %v", p.Path, p.Err)
				}
			}
			slices.Sort(problems)
			if !slices.Equal(problems, c.problems) || int(r.Problems) != len(c.problems) {
				t.Errorf("problems: %q, should be %q", problems, c.problems)
			}
			left := slices.DeleteFunc(before, func(p string) bool { return slices.Contains(c.cancels, p) })
			if c.path == "d/x" { // its ctime is another now, but it is the same job
				tr.wantJobs(queue.Ready, left...)
			} else if got := tr.jobs(queue.Ready); !slices.Equal(got, left) {
				t.Errorf("left are %q, should be %q", got, left)
			}
			if len(tr.records()) != 2 {
				t.Error("records are gone")
			}
		})
	}
	t.Run("and an unreadable root is an error", func(t *testing.T) {
		tr := newTree(t)
		tr.write("a")
		tr.scan()
		tr.must(os.Chmod(tr.dir, 0))
		t.Cleanup(func() { tr.must(os.Chmod(tr.dir, 0o755)) })
		if err := watcher.NewScanner(tr.q, tr.o).Run(t.Context()); !errors.Is(err, unix.EACCES) {
			t.Errorf("the scan says %v", err)
		}
		tr.wantJobs(queue.Ready, "a")
	})
}

// Names are looked up one at a time, so no path is too long for the scan.
func TestAPathLongerThanTheKernelTakesIsScanned(t *testing.T) {
	tr := newTree(t)
	root, err := os.OpenRoot(tr.dir)
	tr.must(err)
	defer root.Close()
	deep := strings.TrimSuffix(strings.Repeat(strings.Repeat("n", 255)+"/", 20), "/")
	tr.must(root.MkdirAll(deep, 0o755))
	tr.must(root.WriteFile(filepath.Join(deep, "x"), []byte("x"), 0o644))
	if r := tr.scan(); r.Problems != 0 || r.Dirs != 21 {
		t.Errorf("the report is %+v", r)
	}
	tr.wantJobs(queue.Ready, deep+"/x")
	tr.upload(all)
	if r := tr.scan(); r.InStep != 1 {
		t.Errorf("the second report is %+v", r)
	}
}
