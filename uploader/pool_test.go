package uploader_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "16") // they wait for most of their time; the command line still has the last word
	goleak.VerifyTestMain(m)
}

// rig is a root, a state file and a pool against an emulator.
type rig struct {
	t      *testing.T
	dir    string
	db     *state.DB
	q      *queue.Queue
	root   state.Root
	server *emulator.Server
	client *imagekit.Client
	params imagekit.Params
	follow bool
}

// listsAtOnce gives b with listings that don't lag unless b says how long they do:
// most tests are about something else, and would wait.
func listsAtOnce(b emulator.Behaviour) emulator.Behaviour {
	if b.ListingLag == 0 {
		b.ListingLag = emulator.NoLag
	}
	return b
}

func newRig(t *testing.T, behaviour emulator.Behaviour) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	var err error
	if r.db, err = state.Open(t.Context(), filepath.Join(t.TempDir(), "iksync.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, r.db.Close()) })
	if r.root, err = r.db.EnsureRoot(t.Context(), r.dir, "/photos"); err != nil {
		t.Fatal(err)
	}
	r.q = queue.New(r.db, imagekit.Alternate)
	if r.server, err = emulator.New(emulator.Options{Behaviour: listsAtOnce(behaviour)}); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(r.server)
	t.Cleanup(func() { web.Close(); check(t, r.server.Close()) })
	r.client = newClient(t, web.URL)
	no := false
	r.params = imagekit.Params{UseUniqueFileName: &no}
	return r
}

func newClient(t *testing.T, base string) *imagekit.Client {
	t.Helper()
	client, err := imagekit.New(imagekit.Options{Key: imagekit.NewKey("k"), UploadURL: base + "/api/v1/files/upload", APIURL: base + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	full := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
		r.t.Fatal(err)
	}
}

// enqueue queues paths as a scan would.
func (r *rig) enqueue(names ...string) {
	r.t.Helper()
	var changes []queue.Change
	for _, name := range names {
		info, err := os.Stat(filepath.Join(r.dir, name))
		if err != nil {
			r.t.Fatal(err)
		}
		remote, err := imagekit.RemotePath(r.root.Folder, name)
		if err != nil {
			r.t.Fatal(err)
		}
		changes = append(changes, queue.Change{RootID: r.root.ID, Path: name, Stat: state.StatOf(info), Remote: remote})
	}
	if _, err := r.q.Enqueue(r.t.Context(), changes); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) options() uploader.Options {
	r.t.Helper()
	dir, err := os.OpenRoot(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { check(r.t, dir.Close()) })
	idle := make(chan struct{})
	close(idle)
	return uploader.Options{
		Client: r.client, Workers: 4, MaxAttempts: 3, Idle: idle,
		Roots: []uploader.Root{{ID: r.root.ID, Dir: dir, Follow: r.follow,
			Params: func(string) imagekit.Params { return r.params },
			Hold: func(name string, size int64) (string, string) {
				switch {
				case size == 0:
					return "empty", "empty"
				case size > 1<<20 && path.Ext(name) != ".mp4":
					return "too_large", "too large"
				}
				return "", ""
			}}},
	}
}

// drain runs a pool until nothing waits.
func (r *rig) drain() uploader.Stats {
	r.t.Helper()
	pool := uploader.New(r.db, r.q, r.options())
	if err := pool.Run(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return pool.Stats()
}

func (r *rig) content(remote string) string {
	r.t.Helper()
	f, err := r.server.Open(remote)
	if err != nil {
		r.t.Fatalf("open %s in the library: %v", remote, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func (r *rig) record(name string) *state.File {
	r.t.Helper()
	f, err := r.db.FileAt(r.t.Context(), r.root.ID, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) jobs(s queue.State) map[string]queue.Item {
	r.t.Helper()
	items := make(map[string]queue.Item)
	for item, err := range r.q.List(r.t.Context(), []int64{r.root.ID}, s) {
		if err != nil {
			r.t.Fatal(err)
		}
		items[item.Path] = item
	}
	return items
}

// Between the look of a worker that finds nothing and the end of its job the file
// comes back just as it was; a scan finds its job in work then, and leaves it.
func TestAFileThatIsBackBeforeItsJobHasEndedIsUploaded(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("d/a.jpg", "a")
	r.enqueue("d/a.jpg")
	aside := filepath.Join(t.TempDir(), "d")
	check(t, os.Rename(filepath.Join(r.dir, "d"), aside))

	// The writer of the state file is held once the job is claimed, and so is the job's end.
	busy, release := make(chan struct{}), make(chan struct{})
	var hold sync.Once
	var holder sync.WaitGroup
	o := r.options()
	o.Roots[0].Halted = func() bool {
		if len(r.jobs(queue.Leased)) == 0 {
			return false
		}
		hold.Do(func() {
			holder.Go(func() {
				check(t, r.db.Write(context.WithoutCancel(t.Context()), state.Relaxed, func(*state.Tx) error {
					close(busy)
					<-release
					return nil
				}))
			})
		})
		<-busy
		return false
	}
	pool := uploader.New(r.db, r.q, o)
	var ended sync.WaitGroup
	ended.Go(func() { check(t, pool.Run(t.Context())) })
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for pool.Stats().Vanished == 0 {
		<-ticker.C
	}
	check(t, os.Rename(aside, filepath.Join(r.dir, "d")))
	close(release)
	holder.Wait()
	ended.Wait()
	if f := r.record("d/a.jpg"); f == nil || r.content("/photos/d/a.jpg") != "a" {
		t.Errorf("its record is %+v", f)
	}
}

func TestEveryFileIsUploadedAndItsFileIDRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	var names []string
	for i := range 200 {
		name := fmt.Sprintf("d%d/sub dir/f %d.txt", i%7, i)
		r.write(name, strings.Repeat("x", i*i)+name)
		names = append(names, name)
	}
	r.write("big.mp4", strings.Repeat("0123456789abcdef", 1<<18))
	r.enqueue(append(names, "big.mp4")...)
	stats := r.drain()
	if stats.Uploaded != 201 || stats.Requests != 201 || stats.Failed+stats.Retries+stats.InFlight != 0 {
		t.Fatalf("stats %+v", stats)
	}
	assets := r.server.Assets()
	if len(assets) != 201 {
		t.Fatalf("%d assets in the library", len(assets))
	}
	for _, a := range assets {
		if a.Versions != 1 {
			t.Errorf("%s has %d versions", a.FilePath, a.Versions)
		}
	}
	for _, name := range append(names, "big.mp4") {
		f := r.record(name)
		if f == nil {
			t.Fatalf("%s has no record", name)
		}
		local, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if r.content(f.RemotePath) != string(local) {
			t.Errorf("%s differs in the library", name)
		}
		if f.FileID == "" || f.VersionID == "" || f.URL == "" || len(f.Response) == 0 || f.Stat.Size != int64(len(local)) {
			t.Errorf("record of %s: %+v", name, f)
		}
	}
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held} {
		if left := r.jobs(s); len(left) > 0 {
			t.Errorf("%s jobs are left: %v", s, left)
		}
	}
}

func TestATouchedFileCostsAReadAndNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("a.txt", "content")
	r.enqueue("a.txt")
	r.drain()
	before := r.record("a.txt")
	later := time.Now().Add(time.Hour)
	check(t, os.Chtimes(filepath.Join(r.dir, "a.txt"), later, later))
	r.enqueue("a.txt")
	if stats := r.drain(); stats.Requests != 0 || stats.Touched != 1 {
		t.Fatalf("stats %+v", stats)
	}
	after := r.record("a.txt")
	if after.FileID != before.FileID || after.Stat.MtimeNs != later.UnixNano() || after.Hash != before.Hash {
		t.Errorf("record %+v, before %+v", after, before)
	}
}

func TestAnEditKeepsTheFileIDAndMakesOneVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("a.txt", "before")
	r.enqueue("a.txt")
	r.drain()
	first := r.record("a.txt")
	r.write("a.txt", "after!") // of the same size: the content decides
	r.enqueue("a.txt")
	r.drain()
	second := r.record("a.txt")
	if second.FileID != first.FileID || second.VersionID == first.VersionID || second.Hash == first.Hash {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if a := r.server.Assets(); len(a) != 1 || a[0].Versions != 2 {
		t.Errorf("assets %+v", a)
	}
	if got := r.content("/photos/a.txt"); got != "after!" {
		t.Errorf("the library has %q", got)
	}
}

func TestWhatIsGoneOrReplacedAtItsTurnIsNotSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	secret := filepath.Join(t.TempDir(), "secret.txt")
	check(t, os.WriteFile(secret, []byte("secret"), 0o600))
	for _, name := range []string{"gone.txt", "dir.txt", "link.txt", "inside.txt", "emptied.txt", "grown.txt", "swapped/a.txt"} {
		r.write(name, "content")
	}
	r.enqueue("gone.txt", "dir.txt", "link.txt", "inside.txt", "emptied.txt", "grown.txt", "swapped/a.txt")
	at := func(name string) string { return filepath.Join(r.dir, name) }
	outside := t.TempDir()
	check(t, os.WriteFile(filepath.Join(outside, "a.txt"), []byte("secret"), 0o600))
	check(t, errors.Join(
		os.Remove(at("gone.txt")),
		os.Remove(at("dir.txt")), os.Mkdir(at("dir.txt"), 0o755),
		os.Remove(at("link.txt")), os.Symlink(secret, at("link.txt")),
		os.Remove(at("inside.txt")), os.Symlink("other.txt", at("inside.txt")), os.WriteFile(at("other.txt"), []byte("other"), 0o644),
		os.WriteFile(at("emptied.txt"), nil, 0o644),
		os.Truncate(at("grown.txt"), 2<<20),
		os.RemoveAll(at("swapped")), os.Symlink(outside, at("swapped")),
	))
	stats := r.drain()
	if stats.Requests != 0 || stats.Uploaded != 0 {
		t.Fatalf("stats %+v, assets %+v", stats, r.server.Assets())
	}
	held := r.jobs(queue.Held)
	if held["emptied.txt"].Class != "empty" || held["grown.txt"].Class != "too_large" || len(held) != 2 {
		t.Errorf("held %+v", held)
	}
	// A path that leads out of the root now is listed with its reason, not dropped in silence.
	for _, name := range []string{"link.txt", "swapped/a.txt"} {
		if _, ok := r.jobs(queue.Failed)[name]; !ok {
			t.Errorf("%s is not listed as failed: %+v", name, r.jobs(queue.Failed))
		}
	}
}

func TestAFileThatChangesWhileItIsSentIsSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("a.mp4", strings.Repeat("a", 3<<20))
	r.enqueue("a.mp4")
	// The server holds the first request until the file was changed under it.
	var once sync.Once
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		once.Do(func() { r.write("a.mp4", strings.Repeat("b", 3<<20)) })
		r.server.ServeHTTP(w, req)
	}))
	defer web.Close()
	r.client = newClient(t, web.URL)
	stats := r.drain()
	if stats.Uploaded != 1 || stats.Changed != 1 {
		t.Fatalf("stats %+v", stats)
	}
	if got := r.content("/photos/a.mp4"); got != strings.Repeat("b", 3<<20) {
		t.Error("the library has another content than the disk")
	}
	if f := r.record("a.mp4"); f.FileID != r.server.Assets()[0].FileID {
		t.Error("the fileId is not the asset's")
	}
}

func TestAFileThatChangesAndGoesWhileItIsSentKeepsItsFileID(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("a.mp4", strings.Repeat("a", 3<<20))
	r.enqueue("a.mp4")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.server.ServeHTTP(w, req) // stored; the file changes before the answer has come, and is gone at the next try
		f, err := os.OpenFile(filepath.Join(r.dir, "a.mp4"), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString("more")
			err = errors.Join(err, f.Close(), os.Remove(filepath.Join(r.dir, "a.mp4")))
		}
		check(t, err)
	}))
	defer web.Close()
	r.client = newClient(t, web.URL)
	if stats := r.drain(); stats.Changed != 1 || stats.Vanished != 1 {
		t.Fatalf("stats %+v", stats)
	}
	if f := r.record("a.mp4"); f == nil || f.FileID != r.server.Assets()[0].FileID {
		t.Errorf("the asset's fileId was lost: %+v", f)
	}
}

func TestAPathThatImageKitStoresElsewhereIsRecordedAsItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	unique := true
	r.params.UseUniqueFileName = &unique
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	if stats := r.drain(); stats.Renamed != 1 {
		t.Fatalf("stats %+v", stats)
	}
	f := r.record("a.txt")
	if f.RemotePath == "/photos/a.txt" || f.RemotePath != r.server.Assets()[0].FilePath {
		t.Errorf("recorded at %s", f.RemotePath)
	}
}

func TestAnUnreachableServerCostsNoAttemptAndEndsTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	web := httptest.NewServer(http.NotFoundHandler())
	r.client = newClient(t, web.URL)
	web.Close()
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	ctx, cancel := context.WithCancel(t.Context())
	pool := uploader.New(r.db, r.q, r.options())
	ended := make(chan error)
	go func() { ended <- pool.Run(ctx) }()
	for pool.Stats().Requests == 0 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-t.Context().Done():
			t.Fatal("no request was tried")
		default:
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if item := r.jobs(queue.Ready)["a.txt"]; item.Attempts != 0 {
		t.Errorf("job %+v", item)
	}
}

func TestAnAssetThatImageKitTransformsFirstIsRecordedWhenItIsListed(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.params.Transformation = []byte(`{"pre":"w-100"}`)
	r.write("v.mp4", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"+strings.Repeat("v", 100))
	r.enqueue("v.mp4")
	if stats := r.drain(); stats.Uploaded != 1 || stats.Requests != 2 {
		t.Fatalf("stats %+v, failed %+v", stats, r.jobs(queue.Failed))
	}
	if assets := r.server.Assets(); len(assets) != 1 || assets[0].Versions != 1 || r.record("v.mp4").FileID != assets[0].FileID {
		t.Errorf("assets %+v, record %+v", assets, r.record("v.mp4"))
	}
}
