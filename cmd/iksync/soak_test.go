//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"iksync/state"
	"iksync/uploader/emulator"
	"iksync/watcher/faultfs"
)

const (
	// soakStill is how many files there are that nothing happens to.
	soakStill = 30
	// How long a daemon lives before it is killed.
	soakLeast, soakMost = 100 * time.Millisecond, 1500 * time.Millisecond
	// soakFar is from when on a backoff is left to the backfill at the end, which
	// waits for none.
	soakFar = 5 * time.Second
	// soakWorlds are those that are tried when none is asked for.
	soakWorlds = "all"
)

// soak is a rig whose daemon is killed again and again, while its trees change and
// its library goes wrong.
type soak struct {
	*runRig
	rand     *rand.Rand
	journal  *journal
	library  *soakLibrary
	churn    *soakChurn
	policies map[string]string
	runs     int               // of the daemon
	ids      map[string]string // fileIds of the files that nothing happens to
	twice    int               // fileIds that dead daemons had recorded twice
	world    world
	disk     *faultfs.FS // that the trees are on; nil for a plain directory
	disks    [2]string   // the backing of the trees, and another one
	away     bool        // the other disk is in its place
}

// soakDaemon is a run of the daemon.
type soakDaemon struct {
	cmd   *exec.Cmd
	run   int
	ended chan struct{}
}

// TestSoakOfKills proves promise 2 by brute force: the daemon is killed at random
// moments, with a tree that never rests and a library of whose answers a fifth are
// bad. When all that ends everything is in step, the library holds nothing that no
// record has, and files that nothing happened to have kept their fileIds.
//
// The long form, half an hour or so, and a form that repeats a seed (what is done,
// not the moments at which it is done):
//
//	IKSYNC_SOAK_KILLS=1000 go test -run TestSoakOfKills -timeout 3h ./cmd/iksync -v
//	IKSYNC_SOAK_SEED=7 go test -run TestSoakOfKills ./cmd/iksync -v
//
// IKSYNC_SOAK_WORLD=fat chooses the file system that the trees are on, all does so by
// seed. A disk is mounted again now and then, and another one is in its place for a while.
//
// With -artifacts the whole story of one that fails is kept as soak.log.
func TestSoakOfKills(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills fifty processes")
	}
	kills := 50
	if n, err := strconv.Atoi(os.Getenv("IKSYNC_SOAK_KILLS")); err == nil {
		kills = n
	}
	seed := rand.Uint64N(1_000_000)
	if n, err := strconv.ParseUint(os.Getenv("IKSYNC_SOAK_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("IKSYNC_SOAK_SEED=%d", seed)
	began := time.Now()
	s := newSoak(t, seed)
	s.storm(kills)
	s.library.mend()
	files := s.calm()
	found, o := s.judge()

	if s.twice > 0 {
		o.kinds[fileIDsTwiceWhileMoving] = s.twice
	}
	stats := s.library.server.Stats()
	s.library.mu.Lock()
	t.Logf("seed %d, world %s, policies %v: %d kills, %d starts, %d files, %d changes made, %d uploads came and %d took effect, %d without a good answer (and %d of all answers aborted), "+
		"second assets and orphans and the like %v, %d extra versions of the %d files that nothing happened to, %v",
		seed, s.world, s.policies, len(s.library.killed), s.runs, files, s.churn.changes, s.library.came, stats.Uploads, s.library.lost, stats.Aborted,
		o.kinds, o.versions, soakStill, time.Since(began).Round(time.Second))
	s.library.mu.Unlock()
	var about []string
	for _, f := range found {
		t.Error(f.what)
		if f.about != "" {
			_, below, _ := strings.Cut(strings.TrimPrefix(f.about, "/"), "/")
			about = append(about, below)
		}
	}
	s.explain(about)
}

// explain tells what led to a failure.
func (s *soak) explain(about []string) {
	if s.journal.race {
		s.Error("the race detector reports a race")
	}
	if !s.Failed() {
		return
	}
	at := filepath.Join(s.ArtifactDir(), "soak.log")
	if err := os.WriteFile(at, s.journal.all(), 0o600); err != nil {
		s.Log(err)
	}
	s.Logf("the story (all of it: %s)\n%s", at, s.journal.tail(150, about[:min(len(about), 5)]))
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 4))
	b := emulator.Behaviour{VersionLimitDrops: true}
	if r.IntN(3) == 0 {
		b.ListingLag = 300 * time.Millisecond
	}
	if r.IntN(3) == 0 {
		b.JobDuration = time.Duration(r.IntN(300)) * time.Millisecond
	}
	rig := newRunRig(t, emulator.Options{Behaviour: b})
	rig.addRoot("more", "")
	for key, value := range map[string]string{
		"settle": "60ms", "workers": "6", "log": "{format: console, level: debug}", "imagekit": "{writes_per_second: 1000, reads_per_second: 1000}",
	} {
		rig.settings[key] = value
	}
	s := &soak{runRig: rig, rand: r, journal: &journal{began: time.Now()}, policies: make(map[string]string), ids: make(map[string]string)}
	policies := []string{"keep", []string{"trash", "delete"}[r.IntN(2)]}
	r.Shuffle(2, func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
	for i := range rig.roots {
		rig.roots[i].more = fmt.Sprintf("    junk: false\n    exclude: [\"*.tmp\"]\n    delete: %s\n    delete_after: 0s\n    max_delete: \"1000000\"\n", policies[i])
		s.policies[filepath.Base(rig.roots[i].path)] = policies[i]
	}
	s.mount(t, seed)
	rig.configure()
	s.journal.say("seed %d, world %s, policies %v, %+v", seed, s.world, policies, b)
	s.library = newSoakLibrary(rig.library.server, s.journal, seed)
	front := httptest.NewServer(s.library)
	t.Cleanup(front.Close)
	rig.url = front.URL

	trees := &movesTrees{base: filepath.Join(rig.base, "disk"), roots: []string{"photos", "more"}}
	for range 3 {
		trees.contents = append(trees.contents, movesNoise(r, 1+r.IntN(2000)))
	}
	for i := range soakStill {
		s.must(trees.write(fmt.Sprintf("%s/%s/%d/f%d.jpg", trees.roots[i%2], still, i/6, i), movesNoise(r, 1+r.IntN(20_000))))
	}
	s.churn = &soakChurn{trees: trees, rand: rand.New(rand.NewPCG(seed, 5)), journal: s.journal}
	return s
}

// mount puts the roots onto a disk of the world.
func (s *soak) mount(t *testing.T, seed uint64) {
	t.Helper()
	at := filepath.Join(s.base, "disk")
	s.must(os.Mkdir(at, 0o755))
	s.world = worldOf(t, "IKSYNC_SOAK_WORLD", soakWorlds, seed)
	if s.world != worldExt4 && !faultfs.Usable(t) {
		s.world = worldExt4
	}
	if s.disk = s.world.mount(t, at, seed); s.disk != nil {
		s.disks = [2]string{s.disk.Backing(), t.TempDir()}
	}
	for i := range s.roots {
		name := filepath.Base(s.roots[i].path)
		s.roots[i].path = filepath.Join(at, name)
		s.must(os.Mkdir(s.roots[i].path, 0o755))
		if s.disk != nil {
			s.must(writeFile(filepath.Join(s.disks[1], name, "other.jpg"), "of the other disk"))
		}
	}
}

// disturb mounts the disk again, or another one in its place, or puts it back.
func (s *soak) disturb() {
	switch {
	case s.away:
		s.away = false
		s.journal.say("-- the disk is back")
		s.churn.while(false, func() { s.disk.Swap(s.disks[0]) })
	case s.rand.IntN(2) == 0:
		s.away = true
		s.churn.while(true, func() { s.disk.Swap(s.disks[1]) })
		s.journal.say("-- another disk is in place")
	default:
		s.churn.while(false, s.disk.Remount)
		s.journal.say("-- the disk was mounted again")
	}
}

// command makes a command with a prefix of its own in the URLs.
func (s *soak) command(args ...string) (*exec.Cmd, int) {
	run := s.runs
	s.runs++
	cmd := s.runRig.command("iksync", append(args, "--config", s.config),
		fmt.Sprintf("IKSYNC_UPLOAD_URL=%s/%d/api/v1/files/upload", s.url, run), fmt.Sprintf("IKSYNC_API_URL=%s/%d/v1", s.url, run))
	cmd.Stdout, cmd.Stderr = s.journal, s.journal
	return cmd, run
}

func (s *soak) start() *soakDaemon {
	s.Helper()
	d := &soakDaemon{ended: make(chan struct{})}
	d.cmd, d.run = s.command("run")
	s.journal.say("-- run %d begins", d.run)
	s.must(d.cmd.Start())
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait() // its state is looked at
	}()
	return d
}

// kill kills a daemon, and waits until it is dead.
func (s *soak) kill(d *soakDaemon) {
	select {
	case <-d.ended:
		return
	default:
	}
	s.library.kill(d.run)
	_ = d.cmd.Process.Kill() // it may have ended just now
	<-d.ended
	s.journal.say("-- run %d is dead: %v", d.run, d.cmd.ProcessState)
}

// storm kills so many daemons while the trees change.
func (s *soak) storm(kills int) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	churned := make(chan struct{})
	go func() {
		defer close(churned)
		s.churn.run(ctx)
	}()
	defer func() {
		cancel()
		<-churned
		if s.away {
			s.disturb()
		}
	}()
	for range kills {
		life := time.Duration(float64(soakLeast) * math.Pow(float64(soakMost)/float64(soakLeast), s.rand.Float64()))
		if !s.live(life) {
			return
		}
		s.notice()
	}
}

// live lets a daemon live for so long, and kills it. Something happens to its disk meanwhile.
func (s *soak) live(life time.Duration) bool {
	s.Helper()
	disturbed := time.Duration(0)
	if s.disk != nil && s.rand.IntN(4) == 0 {
		disturbed = time.Duration(s.rand.Int64N(int64(life)))
	}
	d := s.start()
	defer s.kill(d)
	if disturbed > 0 {
		if !s.lasts(d, disturbed, false) {
			return false
		}
		s.disturb()
	}
	return s.lasts(d, life-disturbed, disturbed > 0)
}

// lasts lets time pass while a daemon lives. One that has not read its configuration yet
// when its disk is away for a moment refuses to start without its roots.
func (s *soak) lasts(d *soakDaemon, life time.Duration, mayRefuse bool) bool {
	s.Helper()
	timer := time.NewTimer(life)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.ended:
		if code := d.cmd.ProcessState.ExitCode(); mayRefuse && (code == exitConfig || code == 1) {
			return true
		}
		s.Errorf("the daemon ended before it was killed: %v", d.cmd.ProcessState)
		s.explain(nil)
		s.FailNow()
	}
	return false
}

// notice looks at the state file as a dead daemon left it.
func (s *soak) notice() {
	s.Helper()
	records, err := soakLook(s.Context(), s.state)
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*state.VersionError)) {
		return // it was killed before there was one
	}
	s.must(err)
	ids := make(map[string]string)
	for at, f := range records.files {
		if other, ok := ids[f.FileID]; ok && records.intents > 0 && soakTolerates[fileIDsTwiceWhileMoving] {
			s.twice++
		} else if ok {
			s.Errorf("after run %d %s and %s have one fileId, %s", s.runs-1, at, other, f.FileID)
		}
		ids[f.FileID] = at
		if !strings.Contains(at, "/"+still+"/") {
			continue
		}
		if was, ok := s.ids[at]; !ok {
			s.ids[at] = f.FileID
		} else if was != f.FileID {
			s.Errorf("after run %d %s has the fileId %s, and had %s", s.runs-1, at, f.FileID, was)
		}
	}
}

// calm lets a daemon run until all is in step, stops it, and wants a backfill to
// find no fault. It tells how many files there are.
func (s *soak) calm() int {
	s.Helper()
	disk, err := s.churn.trees.look()
	s.must(err)
	d := s.start()
	defer s.kill(d) // if it is not in step in time
	why := ""
	defer func() {
		if why != "" {
			s.Logf("not in step: %s", why)
			s.explain(nil)
		}
	}()
	waitFor(s.T, "the daemon has all in step", func() bool {
		why = s.behind(disk)
		return why == ""
	})
	s.must(d.cmd.Process.Signal(syscall.SIGTERM))
	waitFor(s.T, "the daemon ends", func() bool {
		select {
		case <-d.ended:
			return true
		default:
			return false
		}
	})
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		s.Errorf("the daemon's exit code is %d", code)
	}
	cmd, run := s.command("backfill", "--no-progress")
	s.journal.say("-- run %d is a backfill", run)
	if err := cmd.Run(); err != nil {
		s.Errorf("the backfill: %v", err)
	}
	return len(disk)
}

// behind says what is not in step with the trees, but for what waits for a backoff
// that is far from its end; "" when all is.
func (s *soak) behind(disk map[string]onDisk) string {
	s.Helper()
	db, err := state.OpenReadOnly(s.Context(), s.state)
	s.must(err)
	defer db.Close()
	rows, err := db.Query(s.Context(), `SELECT count(*), count(*) FILTER (WHERE state = 0 AND (leased <> 0 OR not_before < ?)), (SELECT count(*) FROM intents),
		(SELECT count(*) FROM files WHERE astray <> 0) FROM jobs`, time.Now().Add(soakFar).UnixMilli())
	s.must(err)
	defer rows.Close()
	var jobs, due, intents, astray int
	for rows.Next() {
		s.must(rows.Scan(&jobs, &due, &intents, &astray))
	}
	s.must(rows.Err())
	if due > 0 || intents > 0 || astray > 0 {
		return fmt.Sprintf("%d jobs, %d of them due, %d intents, %d astray: %s", jobs, due, intents, astray, s.waiting(db))
	}
	records, err := (&movesRun{state: s.state}).records(s.Context())
	s.must(err)
	for at, f := range disk {
		if r := records.files[at]; f.wanted && !records.inFlight(at) && (r == nil || r.Hash != f.hash || r.Absent != state.Present) {
			return at + " has another content than its record, or none"
		}
	}
	for at, r := range records.files {
		if !s.world.proven() {
			break // absence proves nothing there
		}
		root, _, _ := strings.Cut(at, "/")
		if f := disk[at]; !f.wanted && (r.Absent == state.Present || f.at == "" && s.policies[root] != "keep" && jobs == 0) {
			return at + " is gone, and its record is there, or does not say so"
		}
	}
	return ""
}

// waiting describes a few of the jobs that are left.
func (s *soak) waiting(db *state.DB) string {
	s.Helper()
	rows, err := db.Query(s.Context(), `SELECT CAST(j.path AS TEXT) || ' (state ' || j.state || ', move ' || j.move || ', leased ' || (j.leased <> 0) || ', priority ' || j.priority
		|| ', not before ' || j.not_before || ', unsure ' || j.unsure || ', class ' || j.class || ', to ' || coalesce(j.remote_path, '-') || ', donor ' || coalesce((SELECT CAST(f.path AS TEXT) FROM files f WHERE f.id = j.donor), '-') || ')'
		FROM jobs j LIMIT 5`)
	s.must(err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var job string
		s.must(rows.Scan(&job))
		all = append(all, job)
	}
	s.must(rows.Err())
	return strings.Join(all, "; ")
}

// judge says what is wrong in the end.
func (s *soak) judge() ([]soakFinding, *soakOutcome) {
	s.Helper()
	disk, err := s.churn.trees.look()
	s.must(err)
	records, err := soakLook(s.Context(), s.state)
	s.must(err)
	s.notice()
	o := &soakOutcome{
		disk: disk, records: records, assets: s.library.server.Assets(), policies: s.policies, ids: s.ids, why: s.library.why, proven: s.world.proven(),
	}
	return o.check(), o
}
