package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// hostile is a rig whose tree holds what no plain tree does: names that remote
// paths can't have, and files that are listed and not sent.
type hostile struct{ *runRig }

func newHostile(t *testing.T) hostile {
	t.Helper()
	return hostile{newRunRig(t, emulator.Options{})}
}

// at is where a path of the first root is.
func (h hostile) at(path string) string { return h.tree() + "/" + path }

// run runs a backfill to its end and returns what it says.
func (h hostile) run(code int) summary {
	h.Helper()
	return h.runAs(h.backfill(), code)
}

func (h hostile) backfill() *exec.Cmd {
	h.Helper()
	return h.command("iksync", []string{"backfill", "--config", h.config, "--json"})
}

func (h hostile) runAs(cmd *exec.Cmd, code int) (s summary) {
	h.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	h.must(cmd.Start())
	err := cmd.Wait()
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil || cmd.ProcessState.ExitCode() != code {
		h.Fatalf("the backfill ended with %d, not %d (%v):\n%s%s", cmd.ProcessState.ExitCode(), code, err, stdout.Bytes(), stderr.Bytes())
	}
	if strings.Contains(stderr.String(), "DATA RACE") {
		h.Errorf("the race detector reports a race: %v", err)
	}
	return s
}

// open opens the state file as the other commands do beside a daemon.
func (h hostile) open() *state.DB {
	h.Helper()
	db, err := state.OpenReadOnly(h.Context(), h.state)
	h.must(err)
	return db
}

// records are those of the first root, by local path.
func (h hostile) records() map[string]*state.File {
	h.Helper()
	db := h.open()
	defer db.Close()
	all := make(map[string]*state.File)
	for f, err := range db.Files(h.Context(), 1, false) {
		h.must(err)
		all[f.Path] = f
	}
	return all
}

// listed are the jobs that are held or failed, with their reason, by local path.
func (h hostile) listed() map[string]string {
	h.Helper()
	db := h.open()
	defer db.Close()
	all := make(map[string]string)
	for _, s := range []queue.State{queue.Held, queue.Failed} {
		for job, err := range newQueue(db).List(h.Context(), []int64{1}, s) {
			h.must(err)
			all[job.Path] = job.Reason
		}
	}
	return all
}

// unaccounted names a file of the tree that is neither in the library as it is,
// under its record's fileId, nor listed with a reason; "" when there is none.
func (h hostile) unaccounted() (why string) {
	h.Helper()
	if d := h.depths(); d[queue.Ready].Jobs+d[queue.Leased].Jobs > 0 {
		return fmt.Sprintf("jobs wait: %v", d)
	}
	records, listed, assets := h.records(), h.listed(), h.assets()
	dir, err := os.OpenRoot(h.tree()) // for paths that are longer than the kernel takes
	h.must(err)
	defer dir.Close()
	for path, err := range regularFiles(dir, "") {
		h.must(err)
		record := records[path]
		if listed[path] != "" {
			continue
		}
		if record == nil {
			return fmt.Sprintf("%q has no record", path)
		}
		hash, err := h.hash(dir, path)
		h.must(err)
		asset := assets[record.RemotePath]
		if asset.FileID != record.FileID || asset.Hash != hash || record.Hash != hash {
			return fmt.Sprintf("%q is recorded as %+v, the library has %+v", path, record, asset)
		}
	}
	return ""
}

// regularFiles are those of a tree, whatever bytes their names are of: fs.WalkDir
// takes UTF-8 alone.
func regularFiles(dir *os.Root, below string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, err := dir.Open("." + strings.TrimSuffix("/"+below, "/"))
		var entries []os.DirEntry
		if err == nil {
			entries, err = f.ReadDir(-1)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			yield("", err)
			return
		}
		for _, e := range entries {
			switch {
			case e.IsDir():
				for path, err := range regularFiles(dir, below+e.Name()+"/") {
					if !yield(path, err) {
						return
					}
				}
			case e.Type().IsRegular() && !yield(below+e.Name(), nil):
				return
			}
		}
	}
}

func (h hostile) hash(dir *os.Root, path string) (sum [16]byte, err error) {
	f, err := dir.Open(path)
	if err != nil {
		return sum, err
	}
	hasher := xxh3.New()
	_, err = io.Copy(hasher, f)
	return hasher.Sum128().Bytes(), errors.Join(err, f.Close())
}

// accounted wants every file of the tree to be sent or listed.
func (h hostile) accounted() {
	h.Helper()
	if why := h.unaccounted(); why != "" {
		h.Error(why)
	}
}

// settles waits until every file of the tree is sent or listed.
func (h hostile) settles() {
	h.Helper()
	why := ""
	defer func() {
		if h.Failed() {
			h.Logf("not accounted for: %s", why)
		}
	}()
	waitFor(h.T, "every file is sent or listed", func() bool {
		why = h.unaccounted()
		return why == ""
	})
}

// uploads is how many requests to upload the library has had.
func (h hostile) uploads() int64 { return h.library.server.Stats().Requests["upload"] }

// sends wants so many requests to upload by what is done.
func (h hostile) sends(n int64, do func()) {
	h.Helper()
	before := h.uploads()
	do()
	if got := h.uploads() - before; got != n {
		h.Errorf("%d uploads, should be %d", got, n)
	}
}

// rests wants a backfill to send nothing and to leave every file accounted for.
func (h hostile) rests() {
	h.Helper()
	h.sends(0, func() { h.run(0) })
	h.accounted()
}

// both runs a test once with backfills and once with a daemon. What passes lets
// the program look at the tree until every file is sent or listed.
func both(t *testing.T, test func(h hostile, pass func())) {
	t.Helper()
	t.Run("by backfills", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t)
		test(h, func() {
			h.Helper()
			h.run(0)
			h.accounted()
		})
		h.rests()
	})
	t.Run("by the daemon", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t)
		var d *daemonProcess
		test(h, func() {
			h.Helper()
			if d == nil {
				d = h.start()
				d.says(`"scanned"`)
			}
			h.settles()
		})
		d.stop()
		h.rests()
	})
}

// outside is a directory beside the root that nobody may open anything in.
type outside struct {
	hostile
	dir   string
	watch int
}

const secret = "what nobody may read"

func (h hostile) outside() *outside {
	h.Helper()
	o := &outside{hostile: h, dir: filepath.Join(h.base, "outside")}
	h.must(writeFile(o.dir+"/secret.jpg", secret))
	h.must(writeFile(o.dir+"/deeper/secret.jpg", secret))
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	h.must(err)
	h.Cleanup(func() { _ = unix.Close(watch) })
	for _, path := range []string{o.dir, o.dir + "/deeper"} {
		_, err := unix.InotifyAddWatch(watch, path, unix.IN_OPEN|unix.IN_ACCESS)
		h.must(err)
	}
	o.watch = watch
	return o
}

// wasLeftAlone wants nothing there to have been opened or sent.
func (o *outside) wasLeftAlone() {
	o.Helper()
	if n, err := unix.Read(o.watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		o.Errorf("something outside of the root was opened: %d bytes of events, error %v", n, err)
	}
	for path, a := range o.assets() {
		if a.Hash == xxh3.HashString128(secret).Bytes() {
			o.Errorf("%s is from outside of the root", path)
		}
	}
}
