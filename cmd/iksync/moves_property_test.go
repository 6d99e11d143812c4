//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"iksync/uploader/emulator"
	"iksync/watcher/faultfs"
)

// movesBudget is after how long no further seed is begun, unless their number was asked for.
const movesBudget = 50 * time.Second

// movesFailed are seeds that have found something once.
var movesFailed = []uint64{165, 1017, 1052, 2086, 2137, 2180, 2302, 2351, 2399, 2502, 2605, 2881, 2933, 2996, 5484}

// movesWorlds are those that are tried when none is asked for.
const movesWorlds = "all"

// shrinkBudget is how long the least of a program that fails is looked for.
const shrinkBudget = 2 * time.Minute

// TestMovesFollowTheTree proves of random changes of random trees, with backfills
// between them that are killed and fail at random, that the library ends as the
// trees and the policies say, that the records are the library, that files which
// were only moved keep their fileIds, and that nothing is sent that need not be.
//
// IKSYNC_MOVES_SEEDS=1000 tries so many seeds, from IKSYNC_MOVES_FIRST=5000 on.
// IKSYNC_MOVES_SEED=7 tries that one, and takes operations away as long as it fails.
// IKSYNC_MOVES_WORLD=fat lets all be on that world's file system, all chooses by seed.
func TestMovesFollowTheTree(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a thousand processes")
	}
	if one, err := strconv.ParseUint(os.Getenv("IKSYNC_MOVES_SEED"), 10, 64); err == nil {
		movesOne(t, one)
		return
	}
	seeds, asked := uint64(40), false
	if n, err := strconv.ParseUint(os.Getenv("IKSYNC_MOVES_SEEDS"), 10, 64); err == nil {
		seeds, asked = n, true
	}
	first, _ := strconv.ParseUint(os.Getenv("IKSYNC_MOVES_FIRST"), 10, 64)
	var all []uint64
	if !asked {
		all = append(all, movesFailed...)
	}
	for n := range seeds {
		all = append(all, first+n)
	}
	began := time.Now()
	usable := faultfs.Usable(t)
	var sent, needed, ran atomic.Int64
	var group errgroup.Group
	group.SetLimit(8)
	for _, seed := range all {
		group.Go(func() error {
			if !asked && time.Since(began) > movesBudget {
				return nil
			}
			p := newMovesProgram(seed)
			p.world = movesWorldOf(t, seed, usable)
			m, err := runMoves(t, t.TempDir(), p)
			if err != nil {
				t.Errorf("seed %d: %v\n%s", seed, err, m)
			}
			ran.Add(1)
			sent.Add(m.sent)
			needed.Add(m.needed)
			return nil
		})
	}
	_ = group.Wait() // errors are reported
	t.Logf("%d seeds; without kills and faults %d bytes were sent, %d needed: %.4f", ran.Load(), sent.Load(), needed.Load(), float64(sent.Load())/float64(needed.Load()))
}

// movesWorldOf is the world of a seed. Those that have found something once did so on ext4.
func movesWorldOf(t *testing.T, seed uint64, usable bool) world {
	otherwise := movesWorlds
	if slices.Contains(movesFailed, seed) {
		otherwise = string(worldExt4)
	}
	if w := worldOf(t, "IKSYNC_MOVES_WORLD", otherwise, seed); usable {
		return w
	}
	return worldExt4
}

// movesOne runs one seed and looks for the least of it that fails.
func movesOne(t *testing.T, seed uint64) {
	p := newMovesProgram(seed)
	p.world = movesWorldOf(t, seed, faultfs.Usable(t))
	m, err := runMoves(t, t.TempDir(), p)
	if err == nil {
		t.Logf("it passes:\n%s", m)
		return
	}
	t.Logf("it fails: %v\n%s", err, m)
	began := time.Now()
	for less := true; less; {
		less = false
		for _, q := range p.smaller() {
			if time.Since(began) > shrinkBudget {
				break
			}
			if tried, failed := runMoves(t, t.TempDir(), q); failed != nil {
				p, m, err, less = q, tried, failed, true
				break
			}
		}
	}
	t.Errorf("the least that fails: %v\n%s", err, m)
}

// movesRound is some operations and the backfill after them.
type movesRound struct {
	before string // what happens to the disk or the state file first: "", "another path" or "adopt"
	ops    []movesOp
	kill   int       // the request at which the backfill is killed; 0 is never
	how    int       // 0: before the request has its effect; 1: after it; more: some ms later
	more   []movesOp // between the kill and the next start
	faults int       // of movesFaults
}

// movesProgram is all that happens with one seed.
type movesProgram struct {
	seed     uint64
	world    world
	policies [2][2]string // of each root: delete, filtered
	newIDs   bool
	lag, job time.Duration
	more     string // configuration of each root
	rounds   []movesRound
}

func newMovesProgram(seed uint64) *movesProgram {
	r := rand.New(rand.NewPCG(seed, 42))
	p := &movesProgram{seed: seed}
	for i := range p.policies {
		for j := range p.policies[i] {
			p.policies[i][j] = []string{"keep", "trash", "delete"}[r.IntN(3)]
		}
	}
	switch r.IntN(6) {
	case 0:
		p.newIDs = true
	case 1:
		p.lag = 300 * time.Millisecond
	}
	if r.IntN(3) == 0 {
		p.job = time.Duration(r.IntN(300)) * time.Millisecond
	}
	ops := func(n int) []movesOp {
		var all []movesOp
		for range n {
			all = append(all, movesOp{movesOps[r.IntN(len(movesOps))], [4]uint32{r.Uint32() >> 1, r.Uint32() >> 1, r.Uint32() >> 1, r.Uint32() >> 1}})
		}
		return all
	}
	first := ops(5 + r.IntN(25))
	for i := range first {
		first[i].what = "create"
		if i%6 == 0 {
			first[i].what = "create fixed"
		}
	}
	p.rounds = append(p.rounds, movesRound{ops: first})
	wild := r.IntN(2) == 0 // else neither kills nor faults
	for range 2 + r.IntN(3) {
		round := movesRound{ops: ops(1 + r.IntN(8))}
		if wild {
			switch r.IntN(3) {
			case 0:
				round.kill, round.how = 1+r.IntN(12), r.IntN(20)
				if r.IntN(2) == 0 {
					round.more = ops(1 + r.IntN(4))
				}
			case 1:
				round.faults = 1 + r.IntN(len(movesFaults)-1)
			}
		}
		p.rounds = append(p.rounds, round)
	}
	// By numbers of their own, so that the programs of known seeds stay what they were.
	r = rand.New(rand.NewPCG(seed, 43))
	if p.lag > 0 {
		p.lag = []time.Duration{300 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second, 5 * time.Second}[r.IntN(4)]
	}
	if later := p.rounds[1:]; r.IntN(3) == 0 {
		later[r.IntN(len(later))].before = []string{"another path", "adopt"}[r.IntN(2)]
	}
	return p
}

// smaller gives programs with something left out.
func (p *movesProgram) smaller() []*movesProgram {
	var all []*movesProgram
	add := func(change func(q *movesProgram)) {
		q := *p
		q.rounds = slices.Clone(p.rounds)
		change(&q)
		all = append(all, &q)
	}
	for i := len(p.rounds) - 1; i >= 0; i-- {
		add(func(q *movesProgram) { q.rounds = slices.Delete(q.rounds, i, i+1) })
	}
	if p.world != worldExt4 {
		add(func(q *movesProgram) { q.world = worldExt4 })
	}
	if p.lag > 0 || p.job > 0 || p.newIDs {
		add(func(q *movesProgram) { q.lag = 0 })
		add(func(q *movesProgram) { q.job = 0 })
		add(func(q *movesProgram) { q.newIDs = false })
	}
	for i, round := range p.rounds {
		if round.kill > 0 {
			add(func(q *movesProgram) { q.rounds[i].kill = 0 })
		}
		if round.faults > 0 {
			add(func(q *movesProgram) { q.rounds[i].faults = 0 })
		}
		for size := len(round.ops); size >= 1; size /= 2 {
			for at := 0; at+size <= len(round.ops); at += size {
				add(func(q *movesProgram) { q.rounds[i].ops = slices.Delete(slices.Clone(round.ops), at, at+size) })
			}
		}
		for at := range round.more {
			add(func(q *movesProgram) { q.rounds[i].more = slices.Delete(slices.Clone(round.more), at, at+1) })
		}
	}
	for i := range p.policies {
		for j := range p.policies[i] {
			if p.policies[i][j] != "keep" {
				add(func(q *movesProgram) { q.policies[i][j] = "keep" })
			}
		}
	}
	return slices.DeleteFunc(all, func(q *movesProgram) bool { return len(q.rounds) == 0 || fmt.Sprint(*q) == fmt.Sprint(*p) })
}

// movesFaults are what goes wrong in a round; the first is nothing.
var movesFaults = [][]emulator.Fault{
	nil,
	{{Endpoint: "move", Probability: .5, Count: 4, Action: emulator.ActionStatus, Status: 500}, {Endpoint: "rename", Probability: .5, Count: 4, Action: emulator.ActionStatus, Status: 503}},
	{{Endpoint: "move", Probability: .5, Count: 4, Action: emulator.ActionLose}, {Endpoint: "rename", Probability: .5, Count: 4, Action: emulator.ActionLose}},
	{{Endpoint: "moveFolder", Count: 2, Action: emulator.ActionStatus, Status: 423}, {Endpoint: "renameFolder", Count: 1, Action: emulator.ActionStatus, Status: 423}},
	{{Endpoint: "moveFolder", Count: 2, Action: emulator.ActionLose}, {Endpoint: "renameFolder", Count: 2, Action: emulator.ActionLose}},
	{{Endpoint: "list", Probability: .5, Count: 3, Action: emulator.ActionStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "50"}},
		{Endpoint: "details", Probability: .5, Count: 3, Action: emulator.ActionStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "50"}}},
	{{Endpoint: "list", Probability: .5, Count: 3, Action: emulator.ActionStatus, Status: 500}, {Endpoint: "details", Probability: .5, Count: 3, Action: emulator.ActionStatus, Status: 502}},
	{{Endpoint: "move", Count: 1, Action: emulator.ActionTruncated}, {Endpoint: "details", Count: 2, Action: emulator.ActionHTML}, {Endpoint: "rename", Count: 1, Action: emulator.ActionHTML}},
	{{Endpoint: "batchDelete", Count: 2, Action: emulator.ActionLose}, {Endpoint: "move", Probability: .3, Count: 3, Action: emulator.ActionStatus, Status: 500}},
	{{Endpoint: "upload", Probability: .3, Count: 2, Action: emulator.ActionLose}, {Endpoint: "move", Count: 2, Action: emulator.ActionLose}},
	{{Endpoint: "renameFolder", Count: 1, Action: emulator.ActionLose}, {Endpoint: "details", Count: 1, Action: emulator.ActionStatus, Status: 500}, {Endpoint: "moveFolder", Count: 1, Action: emulator.ActionStatus, Status: 500}},
	{{Endpoint: "move", Probability: .4, Count: 4, Action: emulator.ActionStatus, Status: 423}, {Endpoint: "rename", Probability: .4, Count: 4, Action: emulator.ActionStatus, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "50"}}},
}

// movesLibrary is the ImageKit of a run: it counts the bytes of the files that it
// is sent, and kills the sender.
type movesLibrary struct {
	server *emulator.Server
	sent   atomic.Int64
	serves sync.RWMutex // held for reading by requests

	mu     sync.Mutex
	log    []string
	came   int
	killAt int // the request, counted from arm
	how    int
	victim *os.Process
}

func (l *movesLibrary) arm(victim *os.Process, at, how int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.victim, l.came, l.killAt, l.how = victim, 0, at, how
	if victim != nil {
		l.log = append(l.log, "a backfill")
	}
}

// rest waits until no request is served.
func (l *movesLibrary) rest() {
	l.serves.Lock()
	defer l.serves.Unlock()
}

// ServeHTTP lets the emulator answer.
func (l *movesLibrary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.serves.RLock()
	defer l.serves.RUnlock()
	l.mu.Lock()
	l.came++
	l.log = append(l.log, fmt.Sprint(l.came, " ", r.Method, " ", r.URL))
	kill, victim, how := l.came == l.killAt && l.victim != nil, l.victim, l.how
	l.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/upload") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the sender is dead
		}
		l.sent.Add(fileBytes(r, body))
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	switch {
	case !kill:
		l.server.ServeHTTP(w, r)
	case how == 0:
		_ = victim.Kill() // it has ended perhaps
		panic(http.ErrAbortHandler)
	case how == 1:
		l.server.ServeHTTP(httptest.NewRecorder(), r)
		_ = victim.Kill()
		panic(http.ErrAbortHandler)
	default:
		l.server.ServeHTTP(w, r)
		time.AfterFunc(time.Duration(how)*2*time.Millisecond, func() { _ = victim.Kill() })
	}
}

// fileBytes is how large the file of an upload is.
func fileBytes(r *http.Request, body []byte) int64 {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return 0
	}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := form.NextPart()
		if err != nil {
			return 0
		}
		if part.FormName() == "file" {
			n, _ := io.Copy(io.Discard, part)
			return n
		}
	}
}

// movesRun is a program that runs.
type movesRun struct {
	program *movesProgram
	trees   *movesTrees
	disk    *faultfs.FS // that the trees are on; nil for a plain directory
	rand    *rand.Rand  // of the order in which files are looked at after a mount
	library *movesLibrary
	url     string
	config  string
	state   string
	env     []string // of the backfills
	orphans bool     // an upload may have been in flight whose file is gone
	output  string
	sent    int64 // bytes, in rounds without kills and faults
	needed  int64
}

// String tells what was done.
func (m *movesRun) String() string {
	p := m.program
	lines := strings.SplitAfter(m.output, "\n")
	m.library.mu.Lock()
	defer m.library.mu.Unlock()
	said := m.library.log[max(0, len(m.library.log)-100):]
	return fmt.Sprintf("world %s, policies (delete, filtered) %v, new ids %v, lag %v, jobs %v\n  %s\nthe last requests:\n  %s\nthe backfills of the last round:\n%s", p.world, p.policies, p.newIDs, p.lag, p.job,
		strings.Join(m.trees.said, "\n  "), strings.Join(said, "\n  "), strings.Join(lines[max(0, len(lines)-80):], ""))
}

func runMoves(t *testing.T, dir string, p *movesProgram) (*movesRun, error) {
	ctx := t.Context()
	m := &movesRun{
		program: p, config: filepath.Join(dir, "config.yaml"), state: filepath.Join(dir, "state", "iksync.db"),
		trees: &movesTrees{base: filepath.Join(dir, "trees"), roots: []string{"one", "two"}}, library: &movesLibrary{},
		rand: rand.New(rand.NewPCG(p.seed, 2)),
	}
	if err := os.Mkdir(m.trees.base, 0o755); err != nil {
		return m, err
	}
	if m.disk = p.world.mount(t, m.trees.base, p.seed); m.disk != nil {
		defer m.disk.Close()
	}
	r := rand.New(rand.NewPCG(p.seed, 1))
	for range 3 {
		m.trees.contents = append(m.trees.contents, movesNoise(r, 1+r.IntN(2000)))
	}
	for _, root := range m.trees.roots {
		if err := m.trees.write(filepath.Join(root, anchor), []byte(root)); err != nil {
			return m, err
		}
		if err := os.Mkdir(m.trees.abs(filepath.Join(root, "d1")), 0o755); err != nil {
			return m, err
		}
	}
	var err error
	lag := p.lag
	if lag == 0 {
		lag = emulator.NoLag
	}
	m.library.server, err = emulator.New(emulator.Options{Behaviour: emulator.Behaviour{NewFileIDOnMove: p.newIDs, ListingLag: lag, JobDuration: p.job}})
	if err != nil {
		return m, err
	}
	defer m.library.server.Close()
	web := httptest.NewServer(m.library)
	defer web.Close()
	m.url = web.URL
	for i, round := range p.rounds {
		m.trees.say("round %d: kill %d (%d), faults %d", i, round.kill, round.how, round.faults)
		if err := m.round(ctx, &round); err != nil {
			return m, fmt.Errorf("round %d: %w", i, err)
		}
	}
	return m, nil
}

func (m *movesRun) round(ctx context.Context, round *movesRound) error {
	m.output = ""
	m.remount()
	if err := m.begin(ctx, round.before); err != nil {
		return err
	}
	for _, op := range round.ops {
		m.trees.do(op)
	}
	e, err := m.expect(ctx)
	if err != nil {
		return err
	}
	before := m.library.sent.Load()
	wild := false
	m.library.server.SetFaults(emulator.Faults{Seed: int64(m.program.seed), Rules: movesFaults[round.faults]})
	if round.faults > 0 {
		wild = true
		if _, err := m.backfill(ctx, 0, 0); err != nil {
			return err
		}
	}
	m.library.server.SetFaults(emulator.Faults{})
	if round.kill > 0 {
		wild = true
		code, err := m.backfill(ctx, round.kill, round.how)
		if err != nil {
			return err
		}
		m.trees.say("killed: code %d", code)
		if len(round.more) > 0 {
			for _, op := range round.more {
				m.trees.do(op)
			}
			m.orphans = true
			if e, err = m.expect(ctx); err != nil {
				return err
			}
		}
	}
	var wrong error
	code := 0
	m.remount()
	for tries := range 4 {
		if code, err = m.backfill(ctx, 0, 0); err != nil {
			return err
		}
		if code != 0 {
			wrong = fmt.Errorf("the exit code is %d", code)
			continue
		}
		// A second run may be needed: what is removed must have been absent before.
		if wrong = m.judge(ctx, e, true); wrong == nil {
			break
		}
		if tries > 1 {
			break
		}
	}
	if wrong != nil {
		return wrong
	}
	if sent := m.library.sent.Load() - before; !wild && m.program.world.proven() {
		m.sent += sent
		m.needed += e.bytes
		if sent > e.bytes {
			return fmt.Errorf("%d bytes were sent, %d needed", sent, e.bytes)
		}
	}
	return nil
}

// begin lets the trees return at another path, or the state file be made anew from the
// library.
func (m *movesRun) begin(ctx context.Context, what string) error {
	switch what {
	case "another path":
		to := m.trees.base + "'"
		m.trees.say("at another path: %s", filepath.Base(to))
		if m.disk == nil {
			if err := os.Rename(m.trees.base, to); err != nil {
				return err
			}
		} else {
			if err := os.Mkdir(to, 0o755); err != nil {
				return err
			}
			m.disk.MoveTo(to)
		}
		m.trees.base = to
		if err := m.configure(); err != nil {
			return err
		}
		came := m.library.sent.Load()
		if code, err := m.backfill(ctx, 0, 0); err != nil || code != 0 {
			return errors.Join(fmt.Errorf("at another path: exit code %d", code), err)
		}
		if sent := m.library.sent.Load() - came; sent > 0 {
			return fmt.Errorf("at another path: %d bytes were sent", sent)
		}
	case "adopt":
		m.trees.say("the state file is lost, and made anew by adopt")
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(m.state + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		m.orphans = true // nobody knows any more whose copies of absent files are
		if code, err := m.command(ctx, 0, 0, "adopt", "--config", m.config); err != nil || code != 0 {
			return errors.Join(fmt.Errorf("adopt: exit code %d", code), err)
		}
	}
	return nil
}

// remount mounts the trees again, every second time, where that changes what numbers
// files have, and looks at the files in another order than iksync does. What is not
// mounted again shows what is wrong of a file that looks the same.
func (m *movesRun) remount() {
	if m.program.world != worldFAT || m.rand.IntN(2) == 0 {
		return
	}
	m.trees.say("mounted again")
	m.disk.Remount()
	files, _ := m.trees.list()
	m.rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	for _, f := range files {
		m.trees.exists(f)
	}
}

func (m *movesRun) expect(ctx context.Context) (*expectation, error) {
	disk, err := m.trees.look()
	if err != nil {
		return nil, err
	}
	before, err := m.records(ctx)
	if err != nil {
		return nil, err
	}
	return expect(before, disk), m.configure()
}

func (m *movesRun) configure() error {
	var b strings.Builder
	b.WriteString("workers: 4\nlog: {format: console, level: debug}\nimagekit: {reads_per_second: 1000, writes_per_second: 1000}\nroots:\n")
	exclude := `"*.tmp"`
	if m.trees.rawOut {
		exclude += `, "*.raw"`
	}
	for i, root := range m.trees.roots {
		fmt.Fprintf(&b, "  - path: %s\n    folder: /%s\n    junk: false\n    exclude: [%s]\n    delete: %s\n    filtered: %s\n    delete_after: 0s\n    max_delete: \"1000000\"\n%s",
			m.trees.abs(root), root, exclude, m.program.policies[i][0], m.program.policies[i][1], m.program.more)
	}
	return os.WriteFile(m.config, []byte(b.String()), 0o600)
}

// backfill runs one, kills it at a request unless that is 0, and gives its exit code.
func (m *movesRun) backfill(ctx context.Context, kill, how int) (int, error) {
	return m.command(ctx, kill, how, "backfill", "--config", m.config, "--no-progress")
}

func (m *movesRun) command(ctx context.Context, kill, how int, args ...string) (int, error) {
	path, err := exec.LookPath("iksync")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=k", "NO_PROXY=*", "IKSYNC_UPLOAD_URL="+m.url+"/api/v1/files/upload",
		"IKSYNC_API_URL="+m.url+"/v1", "IKSYNC_STATE="+m.state, "GORACE="+raceOptions)
	cmd.Env = append(cmd.Env, m.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	m.library.arm(cmd.Process, kill, how)
	err = cmd.Wait()
	// What it had asked for has its effect now, or has had it.
	m.library.arm(nil, 0, 0)
	m.library.rest()
	m.output += fmt.Sprintf("-- exit code %d\n%s", cmd.ProcessState.ExitCode(), out.String())
	var exited *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("the backfill does not end:\n%s", m.output)
	case strings.Contains(m.output, "DATA RACE"):
		return 0, fmt.Errorf("the race detector reports a race:\n%s", m.output)
	case err != nil && !errors.As(err, &exited):
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}
