package queue_test

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"go.uber.org/goleak"

	"iksync/queue"
	"iksync/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a queue in a real state file, with one root.
type fixture struct {
	testing.TB
	db    *state.DB
	q     *queue.Queue
	root  int64
	there string // which directory is in place of the root
}

func open(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{TB: t}
	f.openFile(filepath.Join(t.TempDir(), "state.db"))
	t.Cleanup(func() {
		if err := f.db.Close(); err != nil {
			t.Error(err)
		}
	})
	f.root = f.ensureRoot("/photos")
	return f
}

func (f *fixture) openFile(path string) {
	f.Helper()
	db, err := state.Open(f.Context(), path)
	if err != nil {
		f.Fatal(err)
	}
	f.db, f.q = db, queue.New(db, alternate)
	roots, err := db.Roots(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, root := range roots {
		f.keepsNames(root.ID)
	}
}

// keepsNames is a library that is known to keep names: remote paths are any here.
func (f *fixture) keepsNames(root int64) {
	f.Helper()
	if err := f.q.NoteNames(f.Context(), root, queue.NamesKept); err != nil {
		f.Fatal(err)
	}
	select {
	case <-f.q.Wake():
	default:
	}
}

// reopen is what a restart of the daemon does to the queue.
func (f *fixture) reopen() {
	f.Helper()
	if err := f.db.Close(); err != nil {
		f.Fatal(err)
	}
	f.openFile(f.db.Path())
}

func (f *fixture) ensureRoot(path string) int64 {
	f.Helper()
	root, err := f.db.EnsureRoot(f.Context(), path, "/")
	if err != nil {
		f.Fatal(err)
	}
	f.keepsNames(root.ID)
	return root.ID
}

func alternate(remote, path string, n int) string {
	h := fnv.New32a()
	fmt.Fprint(h, path, n)
	return fmt.Sprintf("%s_%08x", remote, h.Sum32())
}

// seen is the stat of the n-th content of a file.
func seen(n int64) state.Stat {
	return state.Stat{Size: 100 + n, MtimeNs: n, CtimeNs: n, Dev: 1, Ino: 5}
}

// seenAt is seen with a modification time that no other path's file has: two that
// are alike in size and time look like one that was moved.
func (f *fixture) seenAt(path string, n int64) state.Stat {
	st := seen(n)
	st.MtimeNs += versions * int64(xxh3.HashString(fmt.Sprintf("%d:%s", f.root, path))%1e15)
	return st
}

// versions bounds the contents of a file.
const versions = 1000

func (f *fixture) change(path string, n int64) queue.Change {
	return queue.Change{RootID: f.root, Path: path, Stat: f.seenAt(path, n), Remote: "/" + path}
}

func (f *fixture) enqueue(changes ...queue.Change) queue.Enqueued {
	f.Helper()
	e, err := f.q.Enqueue(f.Context(), changes)
	if err != nil {
		f.Fatal(err)
	}
	return e
}

func (f *fixture) claim(n int) []queue.Job {
	f.Helper()
	return f.claimFor(n, time.Hour)
}

func (f *fixture) claimFor(n int, lease time.Duration) []queue.Job {
	f.Helper()
	jobs, _, err := f.q.Claim(f.Context(), []int64{f.root}, n, lease)
	if err != nil {
		f.Fatal(err)
	}
	return jobs
}

// claimOne claims and expects exactly one job.
func (f *fixture) claimOne() queue.Job {
	f.Helper()
	jobs := f.claim(10)
	if len(jobs) != 1 {
		f.Fatalf("claimed %q, should be one job", pathsOf(jobs))
	}
	return jobs[0]
}

func pathsOf(jobs []queue.Job) []string {
	paths := make([]string, len(jobs))
	for i := range jobs {
		paths[i] = jobs[i].Path
	}
	return paths
}

// fileOf is what an upload of the job would record.
func fileOf(job queue.Job) *state.File {
	id := job.Path
	if job.RemotePath != "/"+job.Path { // of another root, or round
		id = job.RemotePath
	}
	return &state.File{
		RootID: job.RootID, Path: job.Path, Stat: job.Stat, Hash: state.Hash{byte(job.Stat.MtimeNs % versions), 1},
		FileID:     fmt.Sprintf("%s@%d", id, job.Stat.MtimeNs%versions),
		RemotePath: job.RemotePath, Response: []byte("{}"),
		UploadedAt: time.UnixMilli(1), CheckedAt: time.UnixMilli(1),
	}
}

// outcome calls one of the methods that tell their outcome later, and waits.
func (f *fixture) outcome(call func(done func(error))) error {
	told := make(chan error, 1)
	call(func(err error) { told <- err })
	// Somebody who waits makes the writer commit and sync at once.
	_, _ = f.db.EnsureRoot(f.Context(), "/hurry", "/")
	return <-told
}

func (f *fixture) complete(job queue.Job) {
	f.Helper()
	f.completeAs(job, fileOf(job))
}

func (f *fixture) completeAs(job queue.Job, file *state.File) {
	f.Helper()
	if err := f.outcome(func(done func(error)) { f.q.Complete(&job, file, done) }); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) fail(job queue.Job, why queue.Failure) {
	f.Helper()
	if err := f.outcome(func(done func(error)) { f.q.Fail(&job, why, done) }); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) hold(job queue.Job, st state.Stat, class, reason string) {
	f.Helper()
	if err := f.outcome(func(done func(error)) { f.q.Hold(&job, st, class, reason, done) }); err != nil {
		f.Fatal(err)
	}
}

// retry makes what is failing of a root ready.
func (f *fixture) retry(root int64) error {
	_, err := f.q.Retry(f.Context(), queue.Selection{Roots: []int64{root}})
	return err
}

// upload queues a content of a path and completes it.
func (f *fixture) upload(path string, n int64) {
	f.Helper()
	f.enqueue(f.change(path, n))
	f.complete(f.claimOne())
}

// record returns the record of a path; nil when there is none.
func (f *fixture) record(path string) *state.File {
	f.Helper()
	file, err := f.db.FileAt(f.Context(), f.root, path)
	if err != nil {
		f.Fatal(err)
	}
	return file
}

// list returns the jobs of a state as "path", in the order of List.
func (f *fixture) list(s queue.State) []queue.Item {
	f.Helper()
	var items []queue.Item
	for it, err := range f.q.List(f.Context(), []int64{f.root}, s) {
		if err != nil {
			f.Fatal(err)
		}
		items = append(items, it)
	}
	return items
}

// states returns the state of each path that has a job.
func (f *fixture) states() map[string]queue.State {
	f.Helper()
	m := make(map[string]queue.State)
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held} {
		for _, it := range f.list(s) {
			if _, twice := m[it.Path]; twice {
				f.Errorf("%q has two jobs", it.Path)
			}
			m[it.Path] = s
		}
	}
	return m
}

func (f *fixture) wantStates(want map[string]queue.State) {
	f.Helper()
	if got := f.states(); fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("the jobs are %v, should be %v", got, want)
	}
}

func awake(q *queue.Queue) bool {
	select {
	case <-q.Wake():
		return true
	default:
		return false
	}
}
