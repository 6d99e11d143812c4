package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// churn is a round of a day's work in a tree. Directories of earlier rounds are
// renamed and removed, so that the tree stays as large as it is.
func churn(tree string, round int) error {
	const dirs, files = 40, 25
	at := func(round, dir int) string { return fmt.Sprintf("%s/%d/d%d", tree, round, dir) }
	write := func(dir, i int, content string) error {
		return writeFile(fmt.Sprintf("%s/sub/%d.jpg", at(round, dir), i), fmt.Sprintf("%s of %d/%d, round %d", content, dir, i, round))
	}
	for dir := range dirs {
		for i := range files {
			if err := write(dir, i, "first"); err != nil {
				return err
			}
		}
	}
	for dir := 0; dir < dirs; dir += 2 {
		for i := range files / 2 {
			if err := write(dir, i, "second"); err != nil {
				return err
			}
		}
		if err := os.Remove(fmt.Sprintf("%s/sub/%d.jpg", at(round, dir), files-1)); err != nil {
			return err
		}
	}
	for dir := 0; dir < dirs; dir += 5 {
		if err := os.Rename(at(round, dir), at(round, dir)+"-renamed"); err != nil {
			return err
		}
	}
	if round == 0 {
		return nil
	}
	return os.RemoveAll(filepath.Join(tree, strconv.Itoa(round-1)))
}

// footprint is what a process takes of the system.
type footprint struct {
	descriptors, threads, watches, kilobytes int
}

var statusLine = regexp.MustCompile(`(?m)^(Threads|VmRSS):\s+(\d+)`)

func footprintOf(t *testing.T, pid int) (f footprint) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", pid)
	descriptors, err := os.ReadDir(proc + "/fdinfo")
	if err != nil {
		t.Fatal(err)
	}
	f.descriptors = len(descriptors)
	for _, fd := range descriptors {
		info, err := os.ReadFile(filepath.Join(proc, "fdinfo", fd.Name()))
		if err == nil { // else it was closed meanwhile
			f.watches += strings.Count(string(info), "inotify wd:")
		}
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range statusLine.FindAllStringSubmatch(string(status), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if m[1] == "Threads" {
			f.threads = n
		} else {
			f.kilobytes = n
		}
	}
	return f
}

// directories counts those of a tree, itself included.
func directories(t *testing.T, tree string) (n int) {
	t.Helper()
	err := filepath.WalkDir(tree, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestADaysChurnLeavesNothingBehind: descriptors, threads, watches and memory of
// the daemon are the same after many rounds as after the second.
func TestADaysChurnLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() || raceDetector {
		rounds = 5
	}
	r := newRunRig(t, emulator.Options{})
	d := r.start()
	var early, late footprint
	for round := range rounds {
		r.must(churn(r.tree(), round))
		r.inStep("/photos/") // what was renamed and removed stays in the library
		waitFor(t, "the directories that are there are watched, and no others", func() bool {
			return footprintOf(t, d.cmd.Process.Pid).watches == directories(t, r.tree())
		})
		late = footprintOf(t, d.cmd.Process.Pid)
		if round == 1 {
			early = late
		}
	}
	d.stop()
	t.Logf("after the second round %+v, after the last %+v", early, late)
	// Connections and the Go runtime's threads come and go with what is done at once.
	const most = 10
	if late.descriptors > early.descriptors+most || late.threads > early.threads+most {
		t.Error("descriptors or threads leak")
	}
	if !raceDetector && late.kilobytes > early.kilobytes*3/2+16<<10 {
		t.Error("memory leaks")
	}
}

// TestWatcherAndPoolLeaveNoGoroutines runs both in this process, churns, and ends
// them while there is work.
func TestWatcherAndPoolLeaveNoGoroutines(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRunRig(t, emulator.Options{})
	defer r.library.close() // before goroutines are counted
	db, err := state.Open(t.Context(), r.state)
	r.must(err)
	defer db.Close()
	root, err := db.EnsureRoot(t.Context(), r.tree(), "/photos")
	r.must(err)
	dir, err := os.OpenRoot(r.tree())
	r.must(err)
	defer dir.Close()
	all, err := filter.New(filter.Options{})
	r.must(err)
	client, err := imagekit.New(imagekit.Options{
		Key: imagekit.NewKey("k"), UploadURL: r.url + "/api/v1/files/upload", APIURL: r.url + "/v1", MaxConns: 4, Stall: time.Minute,
	})
	r.must(err)
	defer client.Close()
	limits := watcher.Limits{}
	q := newQueue(db)
	for round := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		w := watcher.NewWatcher(q, watcher.WatchOptions{
			Options: watcher.Options{
				Root: root, Filter: all, Limits: limits,
				Remote: func(path string) (string, error) { return imagekit.RemotePath("/photos", path) },
			},
			Settle: 50 * time.Millisecond, Log: zap.NewNop(),
		})
		no := false
		pool := uploader.New(db, q, uploader.Options{
			Client: client, Workers: 4, Grace: time.Minute,
			Roots: []uploader.Root{{
				ID: root.ID, Dir: dir, Hold: limits.Hold, Paused: w.Paused,
				Params: func(string) imagekit.Params { return imagekit.Params{UseUniqueFileName: &no} },
			}},
		})
		var group errgroup.Group
		group.Go(func() error { return w.Run(ctx) })
		group.Go(func() error { return pool.Run(ctx) })
		r.must(churn(r.tree(), round))
		if round%2 == 0 { // else they end in the middle
			want := r.wanted()
			waitFor(t, "the library is what the root holds", func() bool {
				_, ok := r.holds(want, "/photos/")
				return ok
			})
		}
		cancel()
		r.must(group.Wait())
	}
}
