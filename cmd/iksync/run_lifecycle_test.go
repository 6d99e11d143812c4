//go:build unix

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// inFlight writes a file and waits until its upload hangs in the library.
func (r *runRig) inFlight(path string) {
	r.Helper()
	r.library.hold(0)
	r.write(path)
	r.came(1)
}

// readyAgain wants that many jobs to be ready, and none leased.
func (r *runRig) readyAgain(n int64) {
	r.Helper()
	if d := r.depths(); d[queue.Ready].Jobs != n || d[queue.Leased].Jobs != 0 {
		r.Errorf("the queue is %v; want %d ready and none leased", d, n)
	}
}

func TestUploadsInFlightFinishWhenTheDaemonIsStopped(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	r.inFlight("a.jpg")
	d.signal(syscall.SIGTERM)
	d.says("stopping: uploads in flight may finish")
	if !d.running() {
		t.Error("it did not wait for the upload")
	}
	r.library.release()
	d.ends(0)
	r.inStep()
	r.nothingIsLeft()
}

func TestASecondSignalBreaksUploadsOffAndReturnsTheirJobs(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	r.inFlight("a.jpg")
	d.signal(syscall.SIGTERM)
	d.says("stopping: uploads in flight may finish")
	d.signal(os.Interrupt)
	d.ends(0)
	r.readyAgain(1)
	r.library.release()
	d = r.start()
	r.inStep()
	d.stop()
}

func TestUploadsAreBrokenOffWhenTheGraceIsOver(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("shutdown_grace", "500ms")
	d := r.start()
	r.inFlight("a.jpg")
	d.stop()
	r.readyAgain(1)
}

// TestTheGraceHoldsForUploadsFromBeforeAReload: those of the old configuration's
// parts too are broken off.
func TestTheGraceHoldsForUploadsFromBeforeAReload(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("shutdown_grace", "500ms")
	d := r.start()
	r.inFlight("a.jpg")
	d.signal(syscall.SIGHUP)
	d.says("the configuration was read again")
	d.stop()
	r.readyAgain(1)
}

func TestABrokenConfigurationIsRefusedAndTheOldOneStays(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	r.write("before.jpg")
	r.gets("before.jpg")
	good, err := os.ReadFile(r.config)
	r.must(err)
	r.must(os.WriteFile(r.config, append(good, "workerz: 5\n"...), 0o600))
	d.signal(syscall.SIGHUP)
	d.says("the new configuration is refused; the old one stays", fmt.Sprintf("[%d:1]", 1+strings.Count(string(good), "\n")), "workerz")
	r.set("state", filepath.Join(r.base, "other.db"))
	d.signal(syscall.SIGHUP)
	r.write("after.jpg")
	r.gets("after.jpg")
	d.stop()
	r.inStep()
}

// TestAReloadAppliesWhatChangedAndLosesNothing: a root comes, one goes, filters,
// workers and the log level change, while an upload is in flight and others wait.
func TestAReloadAppliesWhatChangedAndLosesNothing(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	gone := r.addRoot("gone", "")
	r.set("workers", "1")
	d := r.start()
	r.inFlight("flying.jpg")
	for i := range 30 {
		r.write(fmt.Sprintf("backlog/%d.jpg", i))
	}
	waitFor(t, "the others wait", func() bool {
		depths := r.depths()
		return depths[queue.Ready].Jobs+depths[queue.Leased].Jobs == 31
	})

	r.roots = slices.DeleteFunc(r.roots, func(root runRoot) bool { return root.path == gone })
	r.roots[0].more = "    exclude: [\"*.txt\"]\n"
	added := r.addRoot("added", "")
	r.must(writeFile(filepath.Join(added, "here.jpg"), "here"))
	r.set("workers", "3")
	r.set("log", "{format: json, level: debug}")
	d.signal(syscall.SIGHUP)
	d.says("the configuration was read again", "workers: 1 -> 3", "log.level: info -> debug",
		"root added: "+added, "root removed: "+gone, "root changed: "+r.tree()+" (exclude)")
	r.must(writeFile(filepath.Join(gone, "late.jpg"), "nobody looks"))
	r.write("left-out.txt")
	r.write("taken.jpg")
	r.library.release()
	r.gets("flying.jpg", "taken.jpg", "backlog/29.jpg")
	waitFor(t, "the new root is uploaded", func() bool { return r.has("/added/here.jpg", "here") })
	r.must(os.Remove(filepath.Join(r.tree(), "left-out.txt"))) // which alone the library has not
	r.inStep()
	d.stop()
	if s := r.library.server.Stats(); s.Aborted > 0 || s.Versions > 0 {
		t.Errorf("%d uploads were cut, %d contents came twice", s.Aborted, s.Versions)
	}
}

// TestAReloadWithoutChangesSaysSo: no root is called changed that did not.
func TestAReloadWithoutChangesSaysSo(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.roots[0].more = "    exclude: [\"*.txt\"]\n    types: [image]\n    rules: [{match: \"a/**\", upload: {tags: [a]}}]\n"
	r.configure()
	d := r.start()
	d.says(`"scanned"`)
	d.signal(syscall.SIGHUP)
	d.says(`"the configuration was read again","changes":[]`)
	d.stop()
}

// What flags say holds also after a reload, whatever the configuration says then.
func TestFlagsWinOverTheConfigurationAlsoAfterAReload(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("workers", "1")
	r.set("log", "{format: json, level: warn}")
	d := r.begin(r.command("iksync", []string{"run", "--config", r.config, "--workers", "3", "--log-level", "info"}))
	d.says(`"scanned"`) // at level info
	workers := func() int { return r.status().Uploads.Workers }
	if n := workers(); n != 3 {
		t.Errorf("%d workers, and the flag says 3", n)
	}
	r.set("workers", "2")
	r.set("log", "{format: json, level: error}")
	r.set("settle", "200ms")
	d.signal(syscall.SIGHUP)
	d.says(`"changes":["settle: 300ms -> 200ms"]`)
	if n := workers(); n != 3 {
		t.Errorf("%d workers after a reload, and the flag says 3", n)
	}
	d.stop()
	d.says(`"stopped"`)
	r.begin(r.command("iksync", []string{"run", "--config", r.config, "--workers", "0"})).ends(exitUsage)
}

// notifySocket is a service manager's: it keeps what it is told.
type notifySocket struct {
	path string
	conn *net.UnixConn

	mu   sync.Mutex
	told []string
}

func newNotifySocket(t *testing.T) *notifySocket {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	n := &notifySocket{path: filepath.Join(dir, "notify")}
	if n.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			length, err := n.conn.Read(buf)
			if err != nil {
				return // closed
			}
			n.mu.Lock()
			n.told = append(n.told, string(buf[:length]))
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = n.conn.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return n
}

func (n *notifySocket) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}

// hears waits for a message that holds all texts, behind those that it returned
// before, and returns how many messages there are up to it.
func (n *notifySocket) hears(t *testing.T, after int, texts ...string) int {
	t.Helper()
	found := 0
	defer func() {
		if t.Failed() {
			t.Logf("what was told: %q", n.all())
		}
	}()
	waitFor(t, fmt.Sprintf("the service manager is told %q", texts), func() bool {
		for i, message := range n.all() {
			if i >= after && !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(message, s) }) {
				found = i + 1
				return true
			}
		}
		return false
	})
	return found
}

func TestTheServiceManagerIsToldHowTheDaemonStands(t *testing.T) {
	t.Parallel()
	n := newNotifySocket(t)
	r := newRunRig(t, emulator.Options{})
	for i := range 3 {
		r.write(fmt.Sprintf("%d.jpg", i))
	}
	d := r.start("NOTIFY_SOCKET="+n.path, "WATCHDOG_USEC=60000000")
	at := n.hears(t, 0, "STATUS=opening the state file")
	at = n.hears(t, at, "EXTEND_TIMEOUT_USEC=")
	ready := n.hears(t, at, "READY=1")
	r.inStep()
	n.hears(t, ready, "STATUS=in step, 3 files")
	n.hears(t, ready, "WATCHDOG=1")

	before := len(n.all())
	d.signal(syscall.SIGHUP)
	at = n.hears(t, before, "RELOADING=1", "MONOTONIC_USEC=")
	at = n.hears(t, at, "READY=1")
	r.must(os.WriteFile(r.config, []byte("roots: 5\n"), 0o600))
	d.signal(syscall.SIGHUP)
	at = n.hears(t, at, "RELOADING=1")
	at = n.hears(t, at, "READY=1")

	d.stop()
	n.hears(t, at, "STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=")
	if strings.Contains(d.log(), "no progress") {
		t.Error("it believed to make no progress")
	}
}

// TestOneDaemonForAStateFileAndARoot proves that both locks hold, name the
// other's process, and are given back.
func TestOneDaemonForAStateFileAndARoot(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	d.says(`"scanned"`)
	pid := fmt.Sprintf("pid %d", d.cmd.Process.Pid)
	other := "--state=" + filepath.Join(r.base, "other", "iksync.db")
	for name, args := range map[string][]string{
		"a second run with the same state file": {"run", "--config", r.config},
		"a second run with another state file":  {"run", "--config", r.config, other},
		"a backfill with another state file":    {"backfill", "--config", r.config, other},
	} {
		cmd := r.command("iksync", args)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitBusy || !strings.Contains(string(out), pid) {
			t.Errorf("%s: %v, want exit code %d and %s in\n%s", name, err, exitBusy, pid, out)
		}
	}
	r.write("a.jpg")
	r.inStep()
	d.stop()
	r.nothingIsLeft()
}

// TestUploadsWaitWhileTheKeyIsRefused: one alert, one try now and then, and it goes
// on by itself, also with another key in the file.
func TestUploadsWaitWhileTheKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{PrivateKey: "right"})
	keyFile := filepath.Join(r.base, "key")
	r.must(os.WriteFile(keyFile, []byte("wrong"), 0o600))
	r.set("imagekit", "{private_key_file: "+keyFile+"}")
	r.set("probe", "200ms")
	for i := range 50 {
		r.write(fmt.Sprintf("%d.jpg", i))
	}
	d := r.start("IMAGEKIT_PRIVATE_KEY=")
	const first = 8 // one of each worker
	waitFor(t, "several tries have been made", func() bool { return r.library.server.Stats().Requests["upload"] >= first+3 })
	if n := r.library.server.Stats().Requests["upload"]; n > first+5 {
		t.Errorf("%d uploads were tried", n)
	}
	if n := strings.Count(d.log(), "refuses the private key"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
	r.must(os.WriteFile(keyFile, []byte("right"), 0o600))
	r.inStep()
	d.says("there is another private key")
	d.stop()
}

// hasTried reports whether a job waits that was tried in vain.
func (r *runRig) hasTried() bool {
	r.Helper()
	db, err := state.OpenReadOnly(r.Context(), r.state)
	if err != nil {
		return false // it is not made yet
	}
	defer db.Close()
	for job, err := range newQueue(db).List(r.Context(), []int64{1}, queue.Ready) {
		r.must(err)
		if job.Class != "" {
			return true
		}
	}
	return false
}

// TestAnUnreachableImageKitIsWaitedFor: that there is no network yet is no error.
func TestAnUnreachableImageKitIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	r.url = "http://" + l.Addr().String()
	r.must(l.Close())
	r.write("a.jpg")
	d := r.start()
	waitFor(t, "a try has failed", r.hasTried)
	l, err = listen.Listen(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	r.must(err)
	web := &httptest.Server{Listener: l, Config: &http.Server{Handler: r.library, ReadHeaderTimeout: time.Minute}}
	web.Start()
	defer web.Close()
	r.inStep()
	d.stop()
}

// TestNewFilesGoAheadOfABacklog proves that a file which is made while hundreds
// wait does not wait for them.
func TestNewFilesGoAheadOfABacklog(t *testing.T) {
	t.Parallel()
	const backlog = 400
	r := newRunRig(t, emulator.Options{})
	r.set("workers", "2")
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Latency: emulator.Duration(25 * time.Millisecond)}}})
	for i := range backlog {
		r.write(fmt.Sprintf("old/%d.jpg", i))
	}
	written := time.Now()
	waitFor(t, "the backlog is not new any more", func() bool { return time.Since(written) > time.Second })
	d := r.start()
	r.came(20)
	r.write("new.jpg")
	r.gets("new.jpg")
	before := r.library.server.Stats().Assets
	t.Logf("the new file was one of the first %d of %d", before, backlog+1)
	if before >= backlog*3/4 {
		t.Error("the new file waited for the backlog")
	}
	r.inStep()
	d.stop()
}
