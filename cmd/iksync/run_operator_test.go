package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/uploader/emulator"
)

// iksync runs a command beside the daemon and returns what it prints.
func (r *runRig) iksync(args ...string) string {
	r.Helper()
	cmd := r.command("iksync", args)
	cmd.Dir = r.base
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Errorf("iksync %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// status asks the daemon, once it answers.
func (r *runRig) status() (s *control.Status) {
	r.Helper()
	waitFor(r.T, "the daemon tells how it stands", func() bool {
		var err error
		s, err = control.NewClient(r.state).Status(context.Background())
		return err == nil
	})
	return s
}

// A pause takes hold at once, but for what is on its way; it lasts across a restart, and
// misses nothing.
func TestAPausedRootSendsNothing(t *testing.T) {
	t.Parallel()
	const workers, files = 2, 60
	r := newRunRig(t, emulator.Options{})
	r.set("workers", fmt.Sprint(workers))
	other := r.addRoot("other", "")
	for i := range files {
		r.write(fmt.Sprintf("%d.jpg", i))
	}
	r.library.hold(0)
	d := r.start()
	r.came(workers)
	waitFor(t, "all are in the queue", func() bool { return r.status().Roots[0].Backlog == files })
	r.iksync("pause", "--config", r.config, "/photos")
	r.library.release()
	waitFor(t, "nothing is on its way", func() bool {
		s := r.status()
		return s.Uploads.InFlight == 0 && s.Roots[0].Backlog == files-workers && s.Roots[0].State == control.Paused && s.State == control.Paused
	})
	r.must(writeFile(other+"/o.jpg", "the other root goes on"))
	waitFor(t, "the other root's file", func() bool { return r.library.server.Stats().Requests["upload"] == workers+1 })
	r.write("later.jpg")
	waitFor(t, "the paused root is watched", func() bool { return r.status().Roots[0].Backlog == files-workers+1 })
	d.stop()
	d = r.start()
	waitFor(t, "both roots are scanned", func() bool {
		s := r.status()
		return s.Roots[0].Scan.Completed > 1 && s.Roots[1].Scan.Completed > 1
	})
	if n := r.library.server.Stats().Requests["upload"]; n != workers+1 {
		t.Errorf("%d uploads, %d of them while the root was paused", n, n-workers-1)
	}
	r.iksync("pause", "--until", "1s", "/photos") // from now on until then
	r.inStep()
	if n := r.library.server.Stats().Requests["upload"]; n != files+2 {
		t.Errorf("%d uploads of %d files", n, files+2)
	}
	d.stop()
}

// What is told of the uploads agrees with what the library has seen, also across a
// reload, which makes all parts anew.
func TestTheStatusCountsAcrossReloads(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	for i := range 20 {
		r.write(fmt.Sprintf("a/%d.jpg", i))
	}
	d := r.start()
	r.inStep()
	r.set("workers", "3")
	r.reload(d)
	for i := range 15 {
		r.write(fmt.Sprintf("b/%d.jpg", i))
	}
	r.inStep()
	waitFor(t, "all are counted", func() bool { return r.status().Uploads.Uploaded == 35 })
	s := r.status()
	if s.Uploads.Workers != 3 || s.Uploads.UploadedBytes == 0 || s.Uploads.LastSuccess.IsZero() || time.Since(s.Uploads.LastSuccess) > time.Minute {
		t.Errorf("the uploads are %+v", s.Uploads)
	}
	if len(s.Recent) != 35 || !strings.HasPrefix(s.Recent[0].Path, "b/") || !strings.HasPrefix(s.Recent[34].Path, "a/") || s.Recent[0].FileID == "" {
		t.Errorf("the recent ones are %+v", s.Recent)
	}
	d.stop()
	for _, told := range []string{r.iksync("status"), r.iksync("status", "--json")} {
		if !strings.Contains(told, control.NotRunning) || !strings.Contains(told, "35") {
			t.Errorf("without a daemon it tells\n%s", told)
		}
	}
}

// What was on its way when the configuration was read again is told until it has come.
func TestWhatIsOnItsWayIsToldAcrossAReload(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.library.hold(0)
	r.write("slow.jpg")
	d := r.start()
	r.came(1)
	r.reload(d)
	if s := r.status(); len(s.Transfers) != 1 || s.Transfers[0].Path != "slow.jpg" || s.Uploads.InFlight != 1 {
		t.Errorf("on their way are %+v", s.Transfers)
	}
	r.library.release()
	r.inStep()
	waitFor(t, "nothing is on its way", func() bool { return len(r.status().Transfers) == 0 })
	d.stop()
}

// reload reloads the daemon and waits for it.
func (r *runRig) reload(d *daemonProcess) {
	r.Helper()
	n := strings.Count(d.log(), "the configuration was read again\",\"changes")
	d.signal(syscall.SIGHUP)
	waitFor(r.T, "the configuration is read again", func() bool {
		return strings.Count(d.log(), "the configuration was read again\",\"changes") > n
	})
}

// Whoever asks at once gets an answer each, while uploads go on.
func TestManyAskTheDaemonAtOnce(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	r.write("first.jpg")
	r.inStep()
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			c := control.NewClient(r.state)
			for n := range 50 {
				if _, err := c.Status(t.Context()); err != nil {
					t.Errorf("question %d of %d: %v", n, i, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		r.write(fmt.Sprintf("%d.jpg", i))
	}
	asking.Wait()
	r.inStep()
	d.stop()
}

// With --watch the status comes again and again, also of another daemon after the first,
// and of the state file while there is none, until it is interrupted.
func TestTheStatusIsWatchedAcrossTheEndOfTheDaemon(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.write("a.jpg", "a")
	d := r.start()
	waitFor(t, "the file is uploaded", func() bool { return r.status().State == control.InStep })
	cmd := r.command("iksync", []string{"status", "--watch", "--json", "--state", r.state})
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	running := func(want bool) {
		t.Helper()
		for lines.Scan() { // a daemon that ends is told for a moment
			var s control.Status
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
				t.Fatalf("%v: %s", err, lines.Bytes())
			}
			if s.Running == want {
				return
			}
		}
		t.Fatalf("it ended: %v", lines.Err())
	}
	running(true)
	running(true)
	d.stop()
	running(false)
	d = r.start()
	running(true)
	r.must(cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	r.must(cmd.Wait()) // exit code 0
	d.stop()
}
