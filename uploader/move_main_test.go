package uploader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
	"iksync/watcher"
	"iksync/watcher/filter"
)

// mirror is one or more roots, a state file and a library that mirrors them,
// wired as the commands wire them.
type mirror struct {
	*testing.T
	*mirrored // the first root

	db         *state.DB
	q          *queue.Queue
	server     *emulator.Server
	client     *imagekit.Client
	roots      []*mirrored
	foreign    map[string]emulator.Asset // what others put into the library, by fileId
	astray     map[string]bool           // files whose remote path is not the one of their path
	seen       map[string]int64          // requests by endpoint when calls was last asked
	contents   []string                  // that were written
	settle     time.Duration
	duplicates uploader.Duplicates
	between    atomic.Pointer[between] // stands before the server; nil is nothing
}

// between decides about a request; serve lets the server have it.
type between func(w http.ResponseWriter, r *http.Request, serve func())

// mirrored is a root of a mirror.
type mirrored struct {
	root   state.Root
	dir    string
	filter *filter.Set
	off    bool // not configured by now
	params imagekit.Params

	names   names.Mode
	removal uploader.Removal
}

// newMirror makes a mirror with a root for each folder, of one when none is named.
func newMirror(t *testing.T, behaviour emulator.Behaviour, folders ...string) *mirror {
	t.Helper()
	return newMirrorOf(t, behaviour, "", folders...)
}

// newMirrorOf is newMirror with a directory for the first root; "" makes one.
func newMirrorOf(t *testing.T, behaviour emulator.Behaviour, dir string, folders ...string) *mirror {
	t.Helper()
	m := &mirror{T: t, foreign: make(map[string]emulator.Asset), astray: make(map[string]bool)}
	m.open(filepath.Join(t.TempDir(), "iksync.db"))
	t.Cleanup(func() { check(t, m.db.Close()) })
	if len(folders) == 0 {
		folders = []string{"/photos"}
	}
	for i, folder := range folders {
		r := &mirrored{dir: dir}
		if i > 0 || dir == "" {
			r.dir = t.TempDir()
		}
		var err error
		r.root, err = m.db.EnsureRoot(t.Context(), r.dir, folder)
		m.must(err)
		r.filter, err = filter.New(filter.Options{})
		m.must(err)
		m.roots = append(m.roots, r)
	}
	m.mirrored = m.roots[0]
	var err error
	m.server, err = emulator.New(emulator.Options{Behaviour: listsAtOnce(behaviour)})
	m.must(err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := m.between.Load(); f != nil {
			(*f)(w, r, func() { m.server.ServeHTTP(w, r) })
			return
		}
		m.server.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { web.Close(); check(t, m.server.Close()) })
	m.client, err = imagekit.New(imagekit.Options{Key: imagekit.NewKey("k"), UploadURL: web.URL + "/api/v1/files/upload",
		APIURL: web.URL + "/v1", ReadsPerSecond: -1, WritesPerSecond: -1})
	m.must(err)
	t.Cleanup(m.client.Close)
	return m
}

func (m *mirror) open(path string) {
	m.Helper()
	db, err := state.Open(m.Context(), path)
	m.must(err)
	m.db, m.q = db, queue.New(db, imagekit.Alternate)
}

func (m *mirror) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (r *mirrored) at(path string) string { return filepath.Join(r.dir, path) }

// write makes files of the first root, with the directories above them; their
// content is their path.
func (m *mirror) write(paths ...string) {
	m.Helper()
	for _, p := range paths {
		m.fill(p, "content of "+p)
	}
}

func (m *mirror) fill(path, content string) {
	m.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.at(path)), 0o755))
	m.must(os.WriteFile(m.at(path), []byte(content), 0o644))
	m.contents = append(m.contents, content)
}

// mv moves files and directories of the first root: from, to, from, to.
func (m *mirror) mv(names ...string) {
	m.Helper()
	for i := 0; i < len(names); i += 2 {
		m.must(os.MkdirAll(filepath.Dir(m.at(names[i+1])), 0o755))
		m.must(os.Rename(m.at(names[i]), m.at(names[i+1])))
	}
}

func (m *mirror) rm(path string) { m.Helper(); m.must(os.RemoveAll(m.at(path))) }

func (m *mirror) written() []string { return m.contents }

func hashOf(content string) state.Hash { return xxh3.Hash128([]byte(content)).Bytes() }

// rehashed lets a pool read every recorded file again.
func (m *mirror) rehashed() {
	m.Helper()
	o := m.options()
	o.Idle, o.Rehash = nil, time.Nanosecond
	ctx, cancel := context.WithCancel(m.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- uploader.New(m.db, m.q, o).Run(ctx) }()
	for {
		pass, err := m.q.Rehash(m.Context(), m.root.ID)
		m.must(err)
		if !pass.Ended.IsZero() {
			break
		}
		runtime.Gosched()
	}
	cancel()
	m.must(<-done)
}

// many gives n paths of files in a directory.
func many(dir string, n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s/f%02d.txt", dir, i)
	}
	return paths
}

func (m *mirror) configured() []*mirrored {
	return slices.DeleteFunc(slices.Clone(m.roots), func(r *mirrored) bool { return r.off })
}

func (m *mirror) scanOptions(r *mirrored) watcher.Options {
	return watcher.Options{Root: r.root, Filter: r.filter,
		Remote: func(path string) (string, error) { return names.Path(r.root.Folder, path, r.names) }}
}

// scan walks all roots.
func (m *mirror) scan() {
	m.Helper()
	// A job of the millisecond in which a scan begins is not cancelled by it.
	for last := time.Now().UnixMilli(); time.Now().UnixMilli() == last; {
		runtime.Gosched()
	}
	for _, r := range m.configured() {
		m.must(watcher.NewScanner(m.q, m.scanOptions(r)).Run(m.Context()))
	}
}

// options are those of a pool that ends when all is done.
func (m *mirror) options() uploader.Options {
	m.Helper()
	idle := make(chan struct{})
	close(idle)
	o := uploader.Options{Client: m.client, Workers: 4, MaxAttempts: 8, Idle: idle, Settle: m.settle}
	no := false
	for _, r := range m.configured() {
		dir, err := os.OpenRoot(r.dir)
		m.must(err)
		m.Cleanup(func() { check(m.T, dir.Close()) })
		scan := m.scanOptions(r)
		o.Roots = append(o.Roots, uploader.Root{
			ID: r.root.ID, Dir: dir, Folder: r.root.Folder, Names: r.names, Removal: r.removal, Hold: scan.Limits.Hold, Duplicates: m.duplicates,
			Params: func(string) imagekit.Params {
				params := r.params
				params.UseUniqueFileName = &no
				return params
			},
			Calm:     func() bool { return true },
			Absence:  func(path string) state.Absence { return scan.Absence(dir, path, time.Now()) },
			Identity: func() ([]byte, error) { return watcher.Identity(r.dir) },
		})
	}
	return o
}

// run lets a pool do what is queued.
func (m *mirror) run() uploader.Stats {
	m.Helper()
	_, err := m.q.Recover(m.Context())
	m.must(err)
	pool := uploader.New(m.db, m.q, m.options())
	m.must(pool.Run(m.Context()))
	return pool.Stats()
}

func (m *mirror) sync() uploader.Stats { m.Helper(); m.scan(); return m.run() }

// synced uploads files, whose records and calls are then the state before.
func (m *mirror) synced(paths ...string) map[string]*state.File {
	m.Helper()
	m.write(paths...)
	m.sync()
	m.verify()
	m.calls()
	return m.records()
}

// calls tells what was asked of the library since it was last asked: "move 2,
// rename 1", without what only reads.
func (m *mirror) calls() string {
	now := m.server.Stats().Requests
	var made []string
	for _, endpoint := range slices.Sorted(maps.Keys(now)) {
		switch n := now[endpoint] - m.seen[endpoint]; {
		case n == 0, endpoint == "list", endpoint == "details", endpoint == "job":
		default:
			made = append(made, fmt.Sprintf("%s %d", endpoint, n))
		}
	}
	m.seen = now
	return strings.Join(made, ", ")
}

func (m *mirror) wantCalls(want string) {
	m.Helper()
	if got := m.calls(); got != want {
		m.Errorf("the calls were %q, should be %q", got, want)
	}
}

// records gives the records of all roots by path, those of other roots than the
// first as "2:path".
func (m *mirror) records() map[string]*state.File {
	m.Helper()
	all := make(map[string]*state.File)
	for f, err := range m.db.Files(m.Context(), 0, true) {
		m.must(err)
		all[m.named(f.RootID, f.Path)] = f
	}
	return all
}

func (m *mirror) named(rootID int64, path string) string {
	for i, r := range m.roots {
		if r.root.ID == rootID && i > 0 {
			return fmt.Sprintf("%d:%s", i+1, path)
		}
	}
	return path
}

func (m *mirror) intents() []queue.Intent {
	m.Helper()
	all, err := m.q.Intents(m.Context())
	m.must(err)
	return all
}

// kept checks that files have the fileId that others had before: from, to.
func (m *mirror) kept(before map[string]*state.File, names ...string) {
	m.Helper()
	now := m.records()
	for i := 0; i < len(names); i += 2 {
		from, to := before[names[i]], now[names[i+1]]
		switch {
		case from == nil || to == nil:
			m.Errorf("%q had the record %v, and %q has %v", names[i], from, names[i+1], to)
		case from.FileID != to.FileID:
			m.Errorf("%q has the fileId %s at %s, should be %s", names[i+1], to.FileID, to.RemotePath, from.FileID)
		}
	}
}

// keptBelow is kept for all files of a directory.
func (m *mirror) keptBelow(before map[string]*state.File, from, to string) {
	m.Helper()
	for path := range before {
		if below, ok := strings.CutPrefix(path, from+"/"); ok {
			m.kept(before, path, to+"/"+below)
		}
	}
}

// verify checks that nothing is left to do, and that disk, records and library
// say the same.
func (m *mirror) verify() {
	m.Helper()
	if left := m.intents(); len(left) > 0 {
		m.Errorf("intents are left: %+v", left)
	}
	for _, r := range m.roots {
		for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held} {
			for item, err := range m.q.List(m.Context(), []int64{r.root.ID}, s) {
				m.must(err)
				m.Errorf("a %s job is left: %+v", s, item)
			}
		}
	}
	records := m.records()
	m.compareDisk(records)
	m.compareLibrary(records)
}

func (m *mirror) compareDisk(records map[string]*state.File) {
	m.Helper()
	for _, r := range m.configured() {
		m.must(filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel := strings.TrimPrefix(path, r.dir+"/")
			f := records[m.named(r.root.ID, rel)]
			if r.filter.Path(rel, info.Size(), info.ModTime(), time.Now()).Excluded {
				return nil
			}
			if f == nil {
				m.Errorf("%q has no record", rel)
			} else if !f.Stat.Same(state.StatOf(info)) || f.Absent != state.Present {
				m.Errorf("%q is not as it is recorded: %+v", rel, f)
			} else if want, err := m.wanted(r, rel); err != nil || f.RemotePath != want && !m.astray[rel] {
				m.Errorf("%q is at %s, should be at %s (%v)", rel, f.RemotePath, want, err)
			}
			return nil
		}))
		for _, f := range records {
			if _, err := os.Lstat(r.at(f.Path)); f.RootID == r.root.ID && f.Absent == state.Present && err != nil {
				m.Errorf("a record says that %q is there: %v", f.Path, err)
			}
		}
	}
}

// wanted is where the asset of a file is to be.
func (m *mirror) wanted(r *mirrored, path string) (string, error) {
	if m.q.Names(r.root.ID) == queue.NamesChanged {
		return names.Path(r.root.Folder, path, names.Safe)
	}
	return names.Path(r.root.Folder, path, r.names)
}

func (m *mirror) compareLibrary(records map[string]*state.File) {
	m.Helper()
	want, got := make(map[string]string), make(map[string]string)
	for _, f := range records {
		want[f.RemotePath] = fmt.Sprintf("%s, %d bytes of %x", f.FileID, f.Stat.Size, f.Hash)
		m.compareAnswer(f)
	}
	for _, a := range m.foreign {
		want[a.FilePath] = fmt.Sprintf("%s, %d bytes of %x", a.FileID, a.Size, a.Hash)
	}
	for _, a := range m.server.Assets() {
		got[a.FilePath] = fmt.Sprintf("%s, %d bytes of %x", a.FileID, a.Size, a.Hash)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.Errorf("the records (-) differ from the library (+):\n%s", diff)
	}
}

// compareAnswer checks what a record keeps of ImageKit's answers.
func (m *mirror) compareAnswer(f *state.File) {
	m.Helper()
	var answer struct{ FileID, Name, FilePath, URL, ThumbnailURL, Thumbnail string }
	m.must(json.Unmarshal(f.Response, &answer))
	if answer.FilePath != f.RemotePath || answer.FileID != f.FileID || answer.Name != f.Name || f.Name != filepath.Base(f.RemotePath) {
		m.Errorf("%q is recorded at %s as %s, named %s, with the answer %s", f.Path, f.RemotePath, f.FileID, f.Name, f.Response)
	}
	for what, raw := range map[string]string{"URL": f.URL, "thumbnail": f.ThumbnailURL, "answer's URL": answer.URL,
		"answer's thumbnail": answer.ThumbnailURL + answer.Thumbnail} {
		u, err := url.Parse(raw)
		if err != nil || raw != "" && !strings.HasSuffix(u.Path, f.RemotePath) {
			m.Errorf("the %s of %q, which is at %s, is %s (%v)", what, f.Path, f.RemotePath, raw, err)
		}
	}
}

// wantVersions checks how many versions assets have: all one, but for those named
// by remote path.
func (m *mirror) wantVersions(more map[string]int) {
	m.Helper()
	for _, a := range m.server.Assets() {
		if want := max(1, more[a.FilePath]); a.Versions != want {
			m.Errorf("%s has %d versions, should have %d", a.FilePath, a.Versions, want)
		}
	}
}

// bounded is how long a request is held back for something that may happen.
const bounded = 5 * time.Second

// awaitRecord waits until a path of the first root has a record, if it gets one.
func (m *mirror) awaitRecord(path string) {
	for end := time.Now().Add(bounded); time.Now().Before(end); {
		if f, err := m.db.FileAt(m.Context(), m.root.ID, path); err != nil || f != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// put is somebody else's upload into the library.
func (m *mirror) put(remote, content string) string {
	m.Helper()
	no := false
	a, err := m.client.Upload(m.Context(), &imagekit.Upload{FileName: filepath.Base(remote), Folder: filepath.Dir(remote),
		Source: imagekit.FromReader(strings.NewReader(content), int64(len(content))), Params: imagekit.Params{UseUniqueFileName: &no}})
	m.must(err)
	m.note(a.FileID)
	m.calls()
	return a.FileID
}

// note takes an asset for somebody else's, as it is by now.
func (m *mirror) note(fileID string) {
	for _, a := range m.server.Assets() {
		if a.FileID == fileID {
			m.foreign[fileID] = a
		}
	}
}

// endpoint names the calls that change the library.
func endpoint(r *http.Request) string {
	for suffix, name := range map[string]string{"/bulkJobs/renameFolder": "renameFolder", "/bulkJobs/moveFolder": "moveFolder",
		"/files/rename": "rename", "/files/move": "move", "/files/upload": "upload"} {
		if strings.HasSuffix(r.URL.Path, suffix) {
			return name
		}
	}
	return ""
}

func (m *mirror) stand(f between) {
	if f == nil {
		m.between.Store(nil)
		return
	}
	m.between.Store(&f)
}

// runUntil runs a pool whose requests meet f, which may end it by stop.
func (m *mirror) runUntil(f func(w http.ResponseWriter, r *http.Request, serve func(), stop func())) error {
	m.Helper()
	ctx, cancel := context.WithCancel(m.Context())
	defer cancel()
	m.stand(func(w http.ResponseWriter, r *http.Request, serve func()) { f(w, r, serve, cancel) })
	defer m.stand(nil)
	return uploader.New(m.db, m.q, m.options()).Run(ctx)
}

// runWhile runs a pool whose requests meet f, while more is queued: nothing is
// decided about moves, and the pool does not end, before calm is called.
func (m *mirror) runWhile(f func(calm func()) between) {
	m.Helper()
	o := m.options()
	idle, calm := make(chan struct{}), sync.Once{}
	o.Idle = idle
	for i := range o.Roots {
		o.Roots[i].Calm = func() bool {
			select {
			case <-idle:
				return true
			default:
				return false
			}
		}
	}
	m.stand(f(func() { calm.Do(func() { close(idle) }) }))
	defer m.stand(nil)
	m.must(uploader.New(m.db, m.q, o).Run(m.Context()))
}

// runWithUploadsHeld is runWhile for uploads that are on their way while the
// mover makes n requests. Then all is queued that first queues.
func (m *mirror) runWithUploadsHeld(n int64, first func()) {
	m.Helper()
	var begun sync.Once
	var others atomic.Int64
	enough := make(chan struct{})
	m.runWhile(func(calm func()) between {
		return func(_ http.ResponseWriter, r *http.Request, serve func()) {
			if endpoint(r) != "upload" {
				serve()
				if others.Add(1) == n {
					close(enough)
				}
				return
			}
			begun.Do(func() { first(); calm() })
			select {
			case <-enough:
			case <-time.After(bounded):
			}
			serve()
		}
	})
}
