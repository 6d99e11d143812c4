package uploader_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// newKeeping is a mirror whose root sends names as they are, to a library that keeps them,
// or changes them as ImageKit's documentation says.
func newKeeping(t *testing.T, behaviour emulator.Behaviour, lax bool) *mirror {
	t.Helper()
	behaviour.StrictNames = !lax
	m := newMirror(t, behaviour)
	m.names = names.Keep
	return m
}

func libraries(t *testing.T, test func(t *testing.T, lax bool)) {
	t.Helper()
	for name, lax := range map[string]bool{"lax": true, "strict": false} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, lax) })
	}
}

// sentTo is the remote path that an upload asks for; "" of any other request.
func sentTo(t *testing.T, r *http.Request) string {
	if endpoint(r) != "upload" {
		return ""
	}
	body, err := io.ReadAll(r.Body)
	check(t, err)
	r.Body = io.NopCloser(bytes.NewReader(body))
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	check(t, err)
	form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(1 << 20)
	check(t, err)
	return strings.TrimSuffix(form.Value["folder"][0], "/") + "/" + form.Value["fileName"][0]
}

func TestNamesAreSentAsTheyAre(t *testing.T) {
	t.Parallel()
	m := newKeeping(t, emulator.Behaviour{}, true)
	m.synced("my album/a b (1).jpg", "v1.2/x & y+z.jpg", "plain/a.txt")
	if at := m.records()["my album/a b (1).jpg"].RemotePath; at != "/photos/my album/a b (1).jpg" {
		t.Errorf("the asset is at %s", at)
	}
	if kept := m.q.Names(m.root.ID); kept != queue.NamesKept {
		t.Errorf("the library does %d with names", kept)
	}
	m.fill("my album/a b (1).jpg", "another content")
	m.sync()
	m.wantVersions(map[string]int{"/photos/my album/a b (1).jpg": 2})
	m.verify()
}

// A library that changes names is found out by the first answer: one name is sent as it is.
func TestALibraryThatChangesNamesGetsSafeOnes(t *testing.T) {
	t.Parallel()
	m := newKeeping(t, emulator.Behaviour{}, false)
	for i := range 40 {
		m.write(fmt.Sprintf("my album/a b (%d).jpg", i), fmt.Sprintf("plain/%d.txt", i))
	}
	m.scan()
	var kept atomic.Int64
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		if at := sentTo(t, r); names.Key(at) != at {
			kept.Add(1)
		}
		serve()
	})
	core, logs := observer.New(zap.WarnLevel)
	o := m.options()
	o.Log, o.Workers = zap.New(core), 16
	pool := uploader.New(m.db, m.q, o)
	m.must(pool.Run(t.Context()))
	if kept.Load() != 1 {
		t.Errorf("%d names were sent as they are, should be 1", kept.Load())
	}
	if n := logs.FilterMessageSnippet("does not keep names").Len(); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	if stats := pool.Stats(); stats.Uploaded != 80 || stats.Renamed != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.verify()
	m.wantVersions(nil)

	m.write("my album/a new one.jpg") // after a restart it is known still
	m.must(m.db.Close())
	m.open(m.db.Path())
	if stats := m.sync(); stats.Uploaded != 1 || kept.Load() != 1 {
		t.Errorf("stats %+v, and %d names were sent as they are", stats, kept.Load())
	}
	m.verify()
}

func TestNoSecondNameIsSentBeforeTheFirstAnswer(t *testing.T) {
	t.Parallel()
	libraries(t, func(t *testing.T, lax bool) {
		m := newKeeping(t, emulator.Behaviour{}, lax)
		for i := range 20 {
			m.write(fmt.Sprintf("a b (%d).jpg", i), fmt.Sprintf("plain-%d.txt", i))
		}
		m.scan()
		var kept, plain atomic.Int64
		all := make(chan struct{})
		m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
			at := sentTo(t, r)
			switch {
			case at != "" && names.Key(at) != at && kept.Add(1) == 1:
				select {
				case <-all: // every other file has come meanwhile
				case <-time.After(bounded):
					t.Error("files with plain names wait for the first answer")
				}
				if n := kept.Load(); n != 1 {
					t.Errorf("%d names were sent before the first answer", n)
				}
			case at != "" && names.Key(at) == at && plain.Add(1) == 20:
				close(all)
			}
			serve()
		})
		m.run()
		m.stand(nil)
		m.verify()
		m.wantVersions(nil)
	})
}

// Whatever the library does with names, no two files share an asset.
func TestANameIsReservedInAllItsForms(t *testing.T) {
	t.Parallel()
	libraries(t, func(t *testing.T, lax bool) {
		for name, steps := range map[string][][]string{
			"at once":        {{"a b.txt", "a_b.txt", "a?b.txt", "d e/x.txt", "d_e/x.txt"}},
			"safe one first": {{"a_b.txt", "d_e/x.txt"}, {"a b.txt", "d e/x.txt"}},
			"kept one first": {{"a b.txt", "d e/x.txt"}, {"a_b.txt", "d_e/x.txt"}, {"a?b.txt"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := newKeeping(t, emulator.Behaviour{}, lax)
				for _, p := range []string{"a b.txt", "a_b.txt", "a?b.txt", "d e/x.txt", "d_e/x.txt"} {
					m.astray[p] = true // some get a suffix
				}
				for _, paths := range steps {
					m.write(paths...)
					m.sync()
					m.verify()
				}
				m.wantVersions(nil)
				m.fill("a b.txt", "changed")
				m.sync()
				m.verify()
				m.wantVersions(map[string]int{m.records()["a b.txt"].RemotePath: 2})
			})
		}
	})
}

func TestTheUploadOfANameWithoutAnAnswerIsFoundInEitherForm(t *testing.T) {
	t.Parallel()
	libraries(t, func(t *testing.T, lax bool) {
		m := newKeeping(t, emulator.Behaviour{}, lax)
		m.write("a b.txt", "c d.txt")
		m.scan()
		if !m.killAt(1, true) {
			t.Fatal("nothing was sent")
		}
		m.sync()
		m.verify()
		m.wantVersions(nil)
	})
}

func TestFilesWithSuchNamesAreMoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ files, moves, kept []string }{
		"renamed":           {[]string{"a b.txt"}, []string{"a b.txt", "c d.txt"}, []string{"a b.txt", "c d.txt"}},
		"renamed to a form": {[]string{"a_b.txt"}, []string{"a_b.txt", "a b.txt"}, []string{"a_b.txt", "a b.txt"}},
		"moved":             {[]string{"my dir/a b.txt"}, []string{"my dir/a b.txt", "your dir/c d.txt"}, []string{"my dir/a b.txt", "your dir/c d.txt"}},
		"swapped":           {[]string{"a b.txt", "c d.txt"}, []string{"a b.txt", "x", "c d.txt", "a b.txt", "x", "c d.txt"}, []string{"a b.txt", "c d.txt", "c d.txt", "a b.txt"}},
	} {
		libraries(t, func(t *testing.T, lax bool) {
			for _, unknown := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " unknown ", unknown), func(t *testing.T) {
					t.Parallel()
					m := newKeeping(t, emulator.Behaviour{}, lax)
					if unknown {
						m.names = names.Safe
					}
					before := m.synced(c.files...)
					m.names = names.Keep
					m.mv(c.moves...)
					if stats := m.sync(); stats.Uploaded != 0 && (name != "renamed to a form" || lax) {
						t.Errorf("stats %+v", stats)
					}
					if name == "renamed to a form" && !lax {
						return // to the library it has the name already
					}
					m.kept(before, c.kept...)
					m.verify()
					m.wantVersions(nil)
				})
			}
		})
	}
}

func TestADirectoryWithSuchNamesIsMovedAsAWhole(t *testing.T) {
	t.Parallel()
	libraries(t, func(t *testing.T, lax bool) {
		for _, safeFirst := range []bool{false, true} {
			for _, newID := range []bool{false, true} {
				t.Run(fmt.Sprintf("safe first %t, new fileIds %t", safeFirst, newID), func(t *testing.T) {
					t.Parallel()
					m := newKeeping(t, emulator.Behaviour{NewFileIDOnMove: newID}, lax)
					if safeFirst {
						m.names = names.Safe
					}
					files := append(many("my dir", 10), "my dir/sub dir/a b.txt")
					before := m.synced(files...)
					m.names = names.Keep
					m.mv("my dir", "up per/your dir")
					if stats := m.sync(); stats.Uploaded != 0 || stats.MovedFolders != 1 || stats.Moved != int64(len(files)) {
						t.Errorf("stats %+v", stats)
					}
					m.wantCalls("moveFolder 1, renameFolder 1")
					if !newID {
						m.keptBelow(before, "my dir", "up per/your dir")
					}
					if safeFirst { // what is below keeps its names
						m.astray["up per/your dir/sub dir/a b.txt"] = true
					}
					m.verify()
					m.wantVersions(nil)
				})
			}
		}
	})
}

func TestChangedNamesHoldForNewUploads(t *testing.T) {
	t.Parallel()
	m := newKeeping(t, emulator.Behaviour{}, true)
	m.names = names.Safe
	before := m.synced("a b.txt", "c d.txt")
	m.names = names.Keep
	m.fill("c d.txt", "changed")
	m.write("e f.txt")
	if stats := m.sync(); stats.Uploaded != 2 {
		t.Errorf("stats %+v", stats)
	}
	m.kept(before, "a b.txt", "a b.txt", "c d.txt", "c d.txt")
	m.astray["a b.txt"], m.astray["c d.txt"] = true, true
	m.verify()
	m.wantVersions(map[string]int{"/photos/c_d.txt": 2})
	for path, want := range map[string]string{"a b.txt": "/photos/a_b.txt", "c d.txt": "/photos/c_d.txt", "e f.txt": "/photos/e f.txt"} {
		if got := m.records()[path].RemotePath; got != want {
			t.Errorf("%s is at %s, should be at %s", path, got, want)
		}
	}
	m.names = names.Safe
	m.write("g h.txt")
	if stats := m.sync(); stats.Uploaded != 1 {
		t.Errorf("stats %+v", stats)
	}
	if got := m.records()["e f.txt"].RemotePath; got != "/photos/e f.txt" {
		t.Errorf("e f.txt is at %s", got)
	}
}

func TestFilesWithSuchNamesGoToTheTrash(t *testing.T) {
	t.Parallel()
	libraries(t, func(t *testing.T, lax bool) {
		m := newKeeping(t, emulator.Behaviour{}, lax)
		m.removal = uploader.Removal{Gone: uploader.Trash, TrashFolder: "/trash"}
		before := m.synced("my dir/a b.txt", "stays.txt")
		m.rm("my dir")
		if stats := m.sync(); stats.Removed != 1 {
			t.Errorf("stats %+v", stats)
		}
		m.note(before["my dir/a b.txt"].FileID)
		m.verify()
	})
}

// The folders of moves have other rules than those of uploads, by ImageKit's documentation.
func TestALibraryMayChangeNamesInMovesAlone(t *testing.T) {
	t.Parallel()
	m := newKeeping(t, emulator.Behaviour{}, true)
	m.removal = uploader.Removal{Gone: uploader.Trash, TrashFolder: "/trash"}
	before := m.synced("my dir/a b.txt", "stays here.txt", "moves.txt")
	m.rm("my dir")
	m.mv("moves.txt", "an other/moves.txt")
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		if endpoint(r) == "move" {
			var move struct{ SourceFilePath, DestinationPath string }
			m.must(json.NewDecoder(r.Body).Decode(&move))
			body := fmt.Sprintf(`{"sourceFilePath":%q,"destinationPath":%q}`, move.SourceFilePath, names.FolderKey(move.DestinationPath))
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		serve()
	})
	if stats := m.sync(); stats.Removed != 1 || stats.Moved != 1 || stats.Uploaded != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.stand(nil)
	m.note(before["my dir/a b.txt"].FileID)
	m.kept(before, "moves.txt", "an other/moves.txt")
	m.astray["stays here.txt"] = true // as it was uploaded
	m.verify()
	m.wantVersions(nil)
}

// freed are changes after which a name without a suffix is free.
var freed = map[string]struct {
	files []string // in the order in which they are uploaded
	then  func(m *mirror)
	path  string // the file whose asset loses the suffix
}{
	"a name in NFC for one in NFD": {[]string{"Zu\u0308rich.txt", "Zürich.txt"}, func(m *mirror) { m.rm("Zu\u0308rich.txt") }, "Zürich.txt"},
	"a directory likewise":         {[]string{"Zu\u0308rich/a.txt", "Zürich/a.txt"}, func(m *mirror) { m.rm("Zu\u0308rich") }, "Zürich/a.txt"},
	"an underscore for a space":    {[]string{"a b.txt", "a_b.txt"}, func(m *mirror) { m.rm("a b.txt") }, "a_b.txt"},
	"the other is renamed":         {[]string{"a b.txt", "a_b.txt"}, func(m *mirror) { m.mv("a b.txt", "c.txt") }, "a_b.txt"},
	"a directory is renamed":       {[]string{"d e/1.txt", "d e/2.txt", "d_e/1.txt"}, func(m *mirror) { m.mv("d e", "f") }, "d_e/1.txt"},
}

func TestANameThatHasBecomeFreeIsTaken(t *testing.T) {
	t.Parallel()
	for name, c := range freed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			m.removal = uploader.Removal{Gone: uploader.Delete}
			for _, f := range c.files {
				m.write(f)
				m.sync()
			}
			before := m.records()
			if was := before[c.path].RemotePath; !imagekit.IsAlternate(was, m.safe(c.path), c.path) {
				t.Fatalf("%s is at %s, without a suffix", c.path, was)
			}
			m.calls()
			sent := m.server.Stats().Requests["upload"]
			c.then(m)
			stats := m.sync()
			if m.server.Stats().Requests["upload"] != sent {
				t.Error("something was uploaded")
			}
			if stats.Moved == 0 {
				t.Errorf("stats %+v", stats)
			}
			if calls := m.calls(); !strings.Contains(calls, "rename") {
				t.Errorf("the calls were %q", calls)
			}
			m.kept(before, c.path, c.path)
			m.verify() // it has the name without the suffix
			m.wantVersions(nil)
			if m.sync(); m.calls() != "" {
				t.Error("it is not done once")
			}
		})
	}
}

// safe is where the asset of a path goes when nobody else is there.
func (m *mirror) safe(path string) string {
	at, err := names.Path(m.root.Folder, path, names.Safe)
	m.must(err)
	return at
}

func TestANameIsTakenInOneRunWithTheUpload(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete}
	m.synced("Zu\u0308rich.txt")
	m.fill("Zürich.txt", "another content")
	m.rm("Zu\u0308rich.txt")
	m.sync()
	m.verify()
	if calls := m.calls(); !strings.Contains(calls, "rename 1") {
		t.Errorf("the calls were %q", calls)
	}
}

func TestANameIsNotTakenWhileItsOwnerIsToBeRemoved(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete, After: time.Hour}
	m.astray["a_b.txt"] = true
	m.synced("a b.txt")
	m.synced("a_b.txt")
	m.rm("a b.txt")
	m.sync()
	m.wantCalls("")
	if at := m.records()["a_b.txt"].RemotePath; !imagekit.IsAlternate(at, "/photos/a_b.txt", "a_b.txt") {
		t.Errorf("it is at %s", at)
	}
	m.write("a b.txt") // back, and has its asset
	m.sync()
	m.verify()
}

func TestOneOfTwoGetsAName(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete}
	for _, f := range []string{"a b.txt", "a_b.txt", "a?b.txt"} {
		m.write(f)
		m.sync()
	}
	m.calls()
	m.rm("a b.txt")
	m.sync()
	if calls := m.calls(); strings.Count(calls, "rename 1") != 1 {
		t.Errorf("the calls were %q", calls)
	}
	m.astray["a?b.txt"] = true
	m.verify()
	m.rm("a_b.txt")
	delete(m.astray, "a?b.txt")
	m.sync()
	m.verify() // the second has it now
}

func TestANameThatAnotherFileHasReservedIsNotTaken(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete}
	m.synced("a b.txt")
	m.astray["a_b.txt"], m.astray["a?b.txt"] = true, true
	m.synced("a_b.txt")
	m.rm("a b.txt")
	m.write("a?b.txt")
	m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Count: 1, Action: emulator.ActionStatus, Status: 503}}})
	m.sync()
	m.verify()
	if at := m.records(); at["a?b.txt"].RemotePath == at["a_b.txt"].RemotePath {
		t.Errorf("both are at %s", at["a_b.txt"].RemotePath)
	}
	m.wantVersions(nil)
}

func TestANameIsNotTakenFromSomebodyElse(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete}
	m.synced("a b.txt")
	m.astray["a_b.txt"] = true
	m.synced("a_b.txt")
	m.rm("a b.txt")
	m.scan()
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		serve()
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "Delete") || r.Method == http.MethodDelete {
			m.put("/photos/a_b.txt", "of somebody else")
		}
	})
	m.run()
	m.stand(nil)
	m.verify()
	m.wantVersions(nil)
}

func TestTakingANameSurvivesAKillAtEveryRequest(t *testing.T) {
	t.Parallel()
	for name, c := range freed {
		for _, after := range []bool{false, true} {
			for _, behaviour := range []emulator.Behaviour{{}, {NewFileIDOnMove: true}} {
				t.Run(fmt.Sprintf("%s, after %t, new fileIds %t", name, after, behaviour.NewFileIDOnMove), func(t *testing.T) {
					t.Parallel()
					for n := int64(1); ; n++ {
						m := newMirror(t, behaviour)
						m.removal = uploader.Removal{Gone: uploader.Delete}
						for _, f := range c.files {
							m.write(f)
							m.sync()
						}
						before := m.records()
						c.then(m)
						m.scan()
						if !m.killAt(n, after) {
							break
						}
						m.sync()
						m.sync()
						if !behaviour.NewFileIDOnMove {
							m.kept(before, c.path, c.path)
						}
						m.verify()
						m.wantVersions(nil)
						if t.Failed() {
							t.Fatalf("killed at request %d", n)
						}
					}
				})
			}
		}
	}
}

// A plan tells of a name that is taken.
func TestAPlanTellsOfANameThatBecomesFree(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.removal = uploader.Removal{Gone: uploader.Delete}
	m.synced("a b.txt")
	m.astray["a_b.txt"] = true
	m.synced("a_b.txt")
	m.rm("a b.txt")
	m.scan()
	var did []string
	_, err := uploader.New(m.db, m.q, m.options()).Plan(t.Context(), nil, func(s uploader.Step) {
		did = append(did, s.Do+" "+filepath.Base(s.FromRemote)+" "+filepath.Base(s.Remote))
	})
	m.must(err)
	if len(did) != 2 || !strings.HasPrefix(did[0], "delete a_b.txt") || !strings.HasSuffix(did[1], "a_b.txt") || !strings.HasPrefix(did[1], "move a_b-") {
		t.Errorf("the plan is %q", did)
	}
}

// A daemon takes a name when it becomes free.
func TestADaemonTakesANameThatBecomesFree(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.synced("a b.txt")
	m.astray["a_b.txt"] = true
	m.synced("a_b.txt")
	o := m.options()
	o.Idle = nil
	o.Roots[0].Removal = uploader.Removal{Gone: uploader.Delete}
	m.rm("a b.txt")
	m.scan()
	renamed := make(chan struct{})
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		serve()
		if endpoint(r) == "rename" {
			close(renamed)
		}
	})
	pool := uploader.New(m.db, m.q, o)
	ctx := t.Context()
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() { done <- run(ctx, pool, stop) }()
	select {
	case <-renamed:
	case <-time.After(time.Minute):
		t.Error("it is not renamed")
	}
	close(stop)
	m.must(<-done)
	delete(m.astray, "a_b.txt")
	m.sync()
	m.verify()
}

func run(ctx context.Context, pool *uploader.Pool, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return pool.Run(ctx)
}
