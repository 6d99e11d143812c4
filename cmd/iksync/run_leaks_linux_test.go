package main

import (
	"cmp"
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

// always is so many places for churn that none is used again.
const always = 1 << 30

// churn is a round of a day's work in a tree. Directories of earlier rounds are
// renamed and removed, so that the tree stays as large as it is. After so many
// places the first is used again.
func churn(tree string, round, places int) error {
	const dirs, files = 40, 25
	at := func(round, dir int) string { return fmt.Sprintf("%s/%d/d%d", tree, round%places, dir) }
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
	return os.RemoveAll(filepath.Join(tree, strconv.Itoa((round-1)%places)))
}

// footprint is what a process takes of the system, and what its state file holds.
type footprint struct {
	descriptors, threads, watches, kilobytes int
	rows, stateKB                            int
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
// the daemon are the same after many rounds as after the second, and its state file
// grows by no more than what it keeps.
//
// It goes on for hours when it is told to, and then makes files anew where others
// were, since the library would grow without end. What it takes at the end is
// compared with what it took after a tenth of the time.
//
//	IKSYNC_CHURN=2h go test -run TestADaysChurn -timeout 3h ./cmd/iksync -v
func TestADaysChurnLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() || raceDetector {
		rounds = 5
	}
	r := newRunRig(t, emulator.Options{Discard: true, Behaviour: emulator.Behaviour{VersionLimitDrops: true}})
	hours, err := time.ParseDuration(os.Getenv("IKSYNC_CHURN"))
	long, places := err == nil, always
	r.set("imagekit", "{writes_per_second: 1000, reads_per_second: 1000}")
	if long {
		places = 3
	}
	d := r.start()
	began := time.Now()
	var early, late footprint
	round, warm := 0, false
	for ; long && (round < 3 || time.Since(began) < hours) || !long && round < rounds; round++ {
		r.must(churn(r.tree(), round, places))
		r.inStep("/photos/") // what was renamed and removed stays in the library
		waitFor(t, "the directories that are there are watched, and no others", func() bool {
			return footprintOf(t, d.cmd.Process.Pid).watches == directories(t, r.tree())
		})
		late = footprintOf(t, d.cmd.Process.Pid)
		late.rows, late.stateKB = stateSize(r)
		if round >= 1 && !warm {
			early = late
			warm = !long || time.Since(began) > hours/10
		}
	}
	d.stop()
	t.Logf("%d rounds in %v: early %+v, after the last %+v", round, time.Since(began).Round(time.Second), early, late)
	// Connections and the Go runtime's threads come and go with what is done at once.
	const most = 10
	if late.descriptors > early.descriptors+most || late.threads > early.threads+most {
		t.Error("descriptors or threads leak")
	}
	if !raceDetector && late.kilobytes > early.kilobytes*3/2+16<<10 {
		t.Error("memory leaks")
	}
	// Rows are some hundred bytes, with their indexes and ImageKit's answer less than two thousand.
	if late.stateKB > early.stateKB+2*max(0, late.rows-early.rows)+4<<10 {
		t.Error("the state file grows by more than its rows")
	}
}

// stateSize is how many rows the tables that keep something have, and how large the
// state file is.
func stateSize(r *runRig) (rows, kilobytes int) {
	r.Helper()
	db, err := state.OpenReadOnly(r.Context(), r.state)
	r.must(err)
	defer db.Close()
	counts, err := db.Query(r.Context(), `SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM removed) + (SELECT count(*) FROM folders)`)
	r.must(err)
	defer counts.Close()
	for counts.Next() {
		r.must(counts.Scan(&rows))
	}
	r.must(counts.Err())
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(r.state + suffix); err == nil {
			kilobytes += int(info.Size() >> 10)
		}
	}
	return rows, kilobytes
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
		Key: imagekit.NewKey("k"), UploadURL: r.url + "/api/v1/files/upload", APIURL: r.url + "/v1", MaxConns: 4, Stall: time.Minute, ReadsPerSecond: 1000, WritesPerSecond: 1000,
	})
	r.must(err)
	defer client.Close()
	limits := watcher.Limits{}
	q := newQueue(db)
	for round := range 4 {
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
				ID: root.ID, Dir: dir, Folder: root.Folder, Hold: limits.Hold, Paused: w.Paused,
				Params: func(string) imagekit.Params { return imagekit.Params{UseUniqueFileName: &no} },
			}},
		})
		var group errgroup.Group
		group.Go(func() error { return w.Run(ctx) })
		group.Go(func() error { return pool.Run(ctx) })
		r.must(churn(r.tree(), round, always))
		if round%2 == 0 { // else they end in the middle
			want, why := r.wanted(), ""
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the last look of round %d: %s", round, cmp.Or(why, "all was there"))
				}
			})
			waitFor(t, "the library is what the root holds", func() (ok bool) {
				why, ok = r.holds(want, root.Folder+"/")
				return ok
			})
		}
		cancel()
		r.must(group.Wait())
	}
}
