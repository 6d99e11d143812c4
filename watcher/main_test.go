package watcher_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
	"iksync/watcher/filter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is a real directory with a real state file.
type tree struct {
	testing.TB
	dir string
	db  *state.DB
	q   *queue.Queue
	o   watcher.Options
}

func newTree(t testing.TB) *tree {
	t.Helper()
	return treeIn(t, watcher.OpenDB(t), t.TempDir())
}

func treeIn(t testing.TB, db *state.DB, dir string) *tree {
	t.Helper()
	root, err := db.EnsureRoot(t.Context(), dir, "/")
	if err != nil {
		t.Fatal(err)
	}
	alternate := func(remote, path string, n int) string { return fmt.Sprintf("%s_%q_%d", remote, path, n) }
	tr := &tree{TB: t, dir: dir, db: db, q: queue.New(db, alternate)}
	// The library is known to keep names; otherwise one at a time would be claimed.
	tr.must(tr.q.NoteNames(t.Context(), root.ID, queue.NamesKept))
	tr.o = watcher.Options{
		Root:   root,
		Remote: func(path string) (string, error) { return fmt.Sprintf("/%d/%s", root.ID, path), nil },
	}
	tr.filter(filter.Options{})
	return tr
}

func (t *tree) filter(o filter.Options) {
	t.Helper()
	set, err := filter.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.o.Filter = set
}

func (t *tree) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *tree) at(path string) string { return filepath.Join(t.dir, path) }

// write makes files, with the directories above them; their content is their path.
func (t *tree) write(paths ...string) {
	t.Helper()
	for _, p := range paths {
		t.must(os.MkdirAll(filepath.Dir(t.at(p)), 0o755))
		t.must(os.WriteFile(t.at(p), []byte(p), 0o644))
	}
}

func (t *tree) scan() watcher.Report {
	t.Helper()
	// A job of the millisecond in which a scan begins is not cancelled by it.
	for last := time.Now().UnixMilli(); time.Now().UnixMilli() == last; {
		runtime.Gosched()
	}
	s := watcher.NewScanner(t.q, t.o)
	t.must(s.Run(t.Context()))
	r := s.Report()
	if !r.Completed {
		t.Error("the scan ended and is not completed")
	}
	return t.addsUp(r)
}

// addsUp checks what must be true of every report of a tree that nobody else changes.
func (t *tree) addsUp(r watcher.Report) watcher.Report {
	t.Helper()
	var held int64
	for _, n := range r.Held {
		held += n
	}
	if sum := r.InStep + r.Waiting + r.Failing + r.Queued + held; sum != r.Files {
		t.Errorf("in step %d + waiting %d + failing %d + queued %d + held %d is %d, but there are %d files",
			r.InStep, r.Waiting, r.Failing, r.Queued, held, sum, r.Files)
	}
	if r.WaitingBytes+r.QueuedBytes > r.Bytes {
		t.Errorf("waiting %d and queued %d bytes of %d", r.WaitingBytes, r.QueuedBytes, r.Bytes)
	}
	if int64(len(r.Problem)) > r.Problems || int64(len(r.Renames)) > r.Renamed {
		t.Errorf("more problems or renames are shown than counted: %+v", r)
	}
	return r
}

func (t *tree) jobs(s queue.State) []string {
	t.Helper()
	var paths []string
	for it, err := range t.q.List(t.Context(), []int64{t.o.Root.ID}, s) {
		t.must(err)
		paths = append(paths, it.Path)
	}
	slices.Sort(paths)
	return paths
}

func (t *tree) wantJobs(s queue.State, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := t.jobs(s); !slices.Equal(got, want) {
		t.Errorf("%v are %q, should be %q", s, got, want)
	}
}

// upload finishes up to n of the ready jobs as if they had been uploaded.
func (t *tree) upload(n int) {
	t.Helper()
	jobs, _, err := t.q.Claim(t.Context(), []int64{t.o.Root.ID}, n, time.Hour)
	t.must(err)
	told := make(chan error, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		t.q.Complete(j, &state.File{
			RootID: j.RootID, Path: j.Path, Stat: j.Stat, FileID: fmt.Sprint(j.RootID, ":", j.Path), RemotePath: j.RemotePath, Response: []byte("{}"),
		}, func(err error) { told <- err })
	}
	// Somebody who waits makes the writer commit and sync at once.
	_, err = t.db.EnsureRoot(t.Context(), t.dir, "/")
	t.must(err)
	for range jobs {
		t.must(<-told)
	}
}

const all = 1 << 20

// synced is a tree whose files have all been uploaded.
func synced(t testing.TB, paths ...string) *tree {
	t.Helper()
	tr := newTree(t)
	tr.write(paths...)
	tr.scan()
	tr.upload(all)
	return tr
}

func (t *tree) records() map[string]state.Stat {
	t.Helper()
	m := make(map[string]state.Stat)
	for f, err := range t.db.Files(t.Context(), t.o.Root.ID, false) {
		t.must(err)
		m[f.Path] = f.Stat
	}
	return m
}

// onDisk finds the regular files in the plainest way.
func (t *tree) onDisk() map[string]state.Stat {
	t.Helper()
	m := make(map[string]state.Stat)
	t.must(filepath.WalkDir(t.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := os.Lstat(path)
		m[strings.TrimPrefix(path, t.dir+"/")] = state.StatOf(info)
		return err
	}))
	return m
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

var errDeep = errors.New("more than 10 folders deep")
