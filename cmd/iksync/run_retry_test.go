//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"iksync/queue"
	"iksync/uploader/emulator"
)

// refuse lets the library refuse files by their names, and no others.
func (r *runRig) refuse(names ...string) {
	r.Helper()
	var plan emulator.Faults
	for _, name := range names {
		plan.Rules = append(plan.Rules, emulator.Fault{Endpoint: "upload", Path: name, Action: emulator.ActionStatus, Status: 400, Message: "Invalid file."})
	}
	r.must(plan.Validate())
	r.library.server.SetFaults(plan)
}

// fails waits until so many uploads have come since the start and so many files
// are dead letters.
func (r *runRig) fails(uploads, failed int64) {
	r.Helper()
	waitFor(r.T, fmt.Sprintf("%d uploads and %d failed", uploads, failed), func() bool {
		return r.library.server.Stats().Requests["upload"] >= uploads && r.depths()[queue.Failed].Jobs == failed
	})
}

// retry runs the command where users would.
func (r *runRig) retry(args ...string) string {
	r.Helper()
	cmd := r.command("iksync", append([]string{"retry"}, args...))
	cmd.Dir = r.base
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Errorf("retry %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestRetryBesideADaemon(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.refuse("b.jpg", "c.jpg", "d.jpg")
	for _, name := range []string{"a.jpg", "b.jpg", "album/c.jpg", "album/d.jpg"} {
		r.write(name)
	}
	d := r.start()
	r.gets("a.jpg")
	r.fails(4, 3)
	r.refuse("d.jpg")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"photos/a.jpg"}, "Nothing there fails.\n"},
		{[]string{"--class", "unreadable"}, "Nothing there fails.\n"},
		{[]string{"photos/b.jpg"}, "1 file will be tried again.\n"},
		{[]string{"photos/album", "--config", r.config}, "2 files will be tried again.\n"},
	} {
		if got := r.retry(c.args...); got != c.want {
			t.Errorf("retry %q says %q, should say %q", c.args, got, c.want)
		}
	}
	r.gets("b.jpg", "album/c.jpg")
	r.fails(7, 1)
	r.refuse()
	if got, want := r.retry("--class", "file"), "1 file will be tried again.\n"; got != want {
		t.Errorf("retry says %q, should say %q", got, want)
	}
	r.inStep()
	d.stop()
	if n := r.library.server.Stats().Requests["upload"]; n != 8 {
		t.Errorf("there were %d uploads", n)
	}
}

// TestWhatFailedIsTriedAgainWhenItsCauseMayBeGone: when the daemon starts, when a
// reload changes the limits or the key, when a root comes; and not at other times.
func TestWhatFailedIsTriedAgainWhenItsCauseMayBeGone(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	keyFile := filepath.Join(r.base, "key")
	key := func(is string) { r.must(os.WriteFile(keyFile, []byte(is), 0o600)) }
	key("one")
	r.set("imagekit", "{private_key_file: "+keyFile+"}")
	r.set("rescan", "1h")
	r.refuse("a.jpg", "b.jpg")
	r.write("a.jpg")
	d := r.start("IMAGEKIT_PRIVATE_KEY=")
	r.fails(1, 1)
	d.stop()
	d = r.start("IMAGEKIT_PRIVATE_KEY=")
	r.fails(2, 1)
	const readAgain = `"the configuration was read again"`
	d.signal(syscall.SIGHUP)
	d.says(readAgain + `,"changes":[]`)
	r.set("workers", "7")
	d.signal(syscall.SIGHUP)
	d.says("workers: 8 -> 7")
	more := r.addRoot("more", "")
	r.must(writeFile(filepath.Join(more, "b.jpg"), "b"))
	d.signal(syscall.SIGHUP)
	d.says("root added: " + more)
	r.fails(3, 2)
	r.set("limits", "{plan: free}")
	d.signal(syscall.SIGHUP)
	d.says(`"limits: `)
	r.fails(5, 2)
	key("two")
	d.signal(syscall.SIGHUP)
	r.fails(7, 2)

	// A root that was missing is as one that is new.
	d.stop()
	r.must(os.Rename(more, more+".away"))
	d = r.start("IMAGEKIT_PRIVATE_KEY=")
	r.fails(8, 2)
	r.must(os.Rename(more+".away", more))
	d.says("is there now")
	r.fails(9, 2)
	d.stop()
	if n := r.library.server.Stats().Requests["upload"]; n != 9 {
		t.Errorf("there were %d uploads, not 9", n)
	}
}
