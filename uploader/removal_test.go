package uploader_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/watcher"
)

// The waits of tests, in place of minutes and seconds.
const (
	testQuiet   = 100 * time.Millisecond
	testBetween = 50 * time.Millisecond
	testEvery   = 20 * time.Millisecond
)

// deleting is a policy that deletes at once, with the folders that are empty then.
func deleting() uploader.Removal {
	return uploader.Removal{Gone: uploader.Delete, EmptyFolders: uploader.RemoveEmpty, TrashFolder: "/bin"}
}

// removing gives a pool that removes what is gone; it runs until it is told to end if
// daemon is true.
func (m *mirror) removing(r uploader.Removal, daemon bool, log *zap.Logger) *uploader.Pool {
	m.Helper()
	o := m.options()
	if daemon {
		o.Idle, o.MaxAttempts = nil, 0
	}
	o.Log = log
	for n, root := range m.configured() {
		o.Roots[n].Removal = r
		o.Roots[n].Identity = func() ([]byte, error) { return watcher.Identity(root.dir) }
	}
	p := uploader.New(m.db, m.q, o)
	p.Hasten(testQuiet, testBetween, testEvery)
	return p
}

// remove lets a pool remove what is gone, and returns it.
func (m *mirror) remove(r uploader.Removal) *uploader.Pool {
	m.Helper()
	p := m.removing(r, false, nil)
	m.must(p.Run(m.Context()))
	return p
}

// serveFor runs a daemon's pool until a condition holds.
func (m *mirror) serveFor(r uploader.Removal, log *zap.Logger, until func() bool) {
	m.Helper()
	ctx, stop := context.WithCancel(m.Context())
	ended := make(chan error, 1)
	p := m.removing(r, true, log)
	go func() { ended <- p.Run(ctx) }()
	m.until(until)
	stop()
	m.must(<-ended)
}

// until waits for a condition, if it comes.
func (m *mirror) until(what func() bool) {
	m.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(4 * bounded); !what(); <-tick.C {
		if time.Now().After(end) {
			m.Fatal("it did not come")
		}
	}
}

func (m *mirror) paths() []string {
	var all []string
	for _, a := range m.server.Assets() {
		all = append(all, a.FilePath)
	}
	slices.Sort(all)
	return all
}

func (m *mirror) wantPaths(want ...string) {
	m.Helper()
	if got := m.paths(); !slices.Equal(got, want) {
		m.Errorf("the library holds %q, should hold %q", got, want)
	}
}

// emptied counts the folders that wait to be removed.
func (m *mirror) emptied() int64 {
	n, err := m.q.EmptiedFolders(m.Context(), "/photos")
	m.must(err)
	return n
}

// looked reports whether the mover has looked at every folder since a delete emptied it.
func (m *mirror) looked() bool {
	m.Helper()
	rows, err := m.db.Query(m.Context(), `SELECT count(*) FROM folders WHERE emptied <> 0 AND path > '/photos/'`)
	m.must(err)
	defer rows.Close()
	n := -1
	if rows.Next() {
		m.must(rows.Scan(&n))
	}
	return n == 0
}

func (m *mirror) folder(path string) bool {
	m.Helper()
	there, err := m.client.FolderExists(m.Context(), path)
	m.must(err)
	return there
}

// TestAFolderThatOnlyLooksEmptyStays: a file was sent there a moment ago, and listings
// do not show it yet.
func TestAFolderThatOnlyLooksEmptyStays(t *testing.T) {
	t.Parallel()
	for _, daemon := range []bool{false, true} {
		for _, lag := range []time.Duration{500 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second, 5 * time.Second, 30 * time.Second} {
			t.Run(fmt.Sprintf("daemon %v, lag %v", daemon, lag), func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{ListingLag: lag})
				m.write("d/old.txt", "kept.txt")
				m.scan()
				m.remove(deleting())
				m.rm("d/old.txt")
				m.write("d/fresh.txt")
				m.scan()
				if daemon {
					m.serveFor(deleting(), nil, func() bool {
						return slices.Equal(m.paths(), []string{"/photos/d/fresh.txt", "/photos/kept.txt"}) && m.records()["d/old.txt"] == nil && m.records()["d/fresh.txt"] != nil && m.looked()
					})
				} else {
					m.remove(deleting())
					m.remove(deleting())
				}
				m.wantPaths("/photos/d/fresh.txt", "/photos/kept.txt")
				if n := m.server.Stats().Requests["deleteFolder"]; n != 0 {
					t.Errorf("%d folders were deleted", n)
				}
				m.verify()
			})
		}
	}
}

// TestAnEmptyFolderIsRemovedInTheEnd, by the daemon or by a later run, and only if the
// policy says so.
func TestAnEmptyFolderIsRemovedInTheEnd(t *testing.T) {
	t.Parallel()
	empty := func(t *testing.T, r uploader.Removal) *mirror {
		m := newMirror(t, emulator.Behaviour{})
		m.write("d/x/old.txt", "d/x/y/old.txt", "kept.txt")
		m.scan()
		m.remove(r)
		m.rm("d")
		m.scan()
		return m
	}
	t.Run("daemon", func(t *testing.T) {
		t.Parallel()
		m := empty(t, deleting())
		m.serveFor(deleting(), nil, func() bool { return !m.folder("/photos/d") && len(m.intents()) == 0 })
		m.wantPaths("/photos/kept.txt")
		m.verify()
	})
	t.Run("backfill", func(t *testing.T) {
		t.Parallel()
		m := empty(t, deleting())
		p := m.removing(deleting(), false, nil)
		p.Hasten(time.Hour, testBetween, testEvery)
		m.must(p.Run(t.Context()))
		m.wantPaths("/photos/kept.txt")
		if n := m.emptied(); n != 3 || !m.folder("/photos/d/x/y") {
			t.Errorf("the run left %d folders for a later one", n)
		}
		m.until(func() bool { m.remove(deleting()); return m.emptied() == 0 })
		if m.folder("/photos/d") {
			t.Error("the folder is there still")
		}
		m.verify()
	})
	t.Run("kept", func(t *testing.T) {
		t.Parallel()
		r := deleting()
		r.EmptyFolders = uploader.KeepEmpty
		m := empty(t, r)
		m.serveFor(r, nil, func() bool { return len(m.paths()) == 1 })
		m.remove(r)
		m.remove(r)
		if n := m.server.Stats().Requests["deleteFolder"]; n != 0 || !m.folder("/photos/d/x/y") {
			t.Errorf("%d folders were deleted", n)
		}
	})
	t.Run("with somebody else's file", func(t *testing.T) {
		t.Parallel()
		m := empty(t, deleting())
		m.put("/photos/d/theirs.txt", "theirs")
		m.until(func() bool { m.remove(deleting()); return m.emptied() == 0 })
		m.wantPaths("/photos/d/theirs.txt", "/photos/kept.txt")
	})
}

// TestAFolderWhoseDeleteWasBrokenOffTakesNoUpload before that is found out.
func TestAFolderWhoseDeleteWasBrokenOffTakesNoUpload(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.write("d/old.txt", "kept.txt")
	m.scan()
	m.remove(deleting())
	m.rm("d/old.txt")
	m.scan()
	m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "deleteFolder", Action: emulator.ActionLose}}})
	removing := func() bool { // the call was made, and its answer is lost
		return m.server.Stats().Requests["deleteFolder"] > 0 && slices.ContainsFunc(m.intents(), func(i queue.Intent) bool { return i.Kind == queue.RemoveFolder && i.Tries > 0 })
	}
	m.serveFor(deleting(), nil, removing)
	m.write("d/fresh.txt")
	m.scan()
	if jobs, _, err := m.q.Claim(t.Context(), []int64{m.root.ID}, 10, time.Hour); err != nil || len(jobs) > 0 {
		t.Errorf("claimed %v, %v", jobs, err)
	}
	m.server.SetFaults(emulator.Faults{})
	m.serveFor(deleting(), nil, func() bool { return m.records()["d/fresh.txt"] != nil && len(m.intents()) == 0 })
	m.wantPaths("/photos/d/fresh.txt", "/photos/kept.txt")
}

// TestARefusedRemovalIsTriedAgainWithinTheRun as a rename is.
func TestARefusedRemovalIsTriedAgainWithinTheRun(t *testing.T) {
	t.Parallel()
	trash := deleting()
	trash.Gone = uploader.Trash
	for endpoint, policy := range map[string]uploader.Removal{"batchDelete": deleting(), "move": trash, "details": trash} {
		for what, fault := range map[string]emulator.Fault{
			"429": {Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "20"}},
			"423": {Status: 423}, "500": {Status: 500}, "502": {Status: 502, HTML: true},
		} {
			t.Run(endpoint+" "+what, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{})
				m.write("a.txt", "b.txt", "kept.txt")
				m.sync()
				m.rm("a.txt")
				m.rm("b.txt")
				m.scan()
				fault.Endpoint, fault.Action, fault.Count = endpoint, emulator.ActionStatus, 2
				m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{fault}})
				p := m.remove(policy)
				if left := slices.DeleteFunc(m.paths(), func(p string) bool { return strings.HasPrefix(p, "/bin/") }); len(left) != 1 {
					t.Errorf("left are %q", left)
				}
				if n, first := p.Unremoved(); n != 0 {
					t.Errorf("%d are not removed: %v", n, first)
				}
				m.verifyRecords("kept.txt")
			})
		}
	}
}

func (m *mirror) verifyRecords(want ...string) {
	m.Helper()
	var got []string
	for path := range m.records() {
		got = append(got, path)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		m.Errorf("records are of %q, should be of %q", got, want)
	}
}

// TestARunEndsWhenAFileWhoseRemovalFailedIsGone: somebody else deletes the copy before its
// removal is tried again.
func TestARunEndsWhenAFileWhoseRemovalFailedIsGone(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.txt", "kept.txt")
	m.rm("a.txt")
	m.scan()
	failed, moved := false, 0
	m.stand(func(w http.ResponseWriter, r *http.Request, serve func()) {
		switch {
		case endpoint(r) == "move":
			failed = true
			http.Error(w, `{"message":"later"}`, http.StatusInternalServerError)
			return
		case failed && strings.Contains(r.URL.Path, before["a.txt"].FileID):
			if moved++; moved == 2 { // the first looks into the call
				http.Error(w, `{"message":"The requested file does not exist."}`, http.StatusNotFound)
				return
			}
		}
		serve()
	})
	trash := deleting()
	trash.Gone = uploader.Trash
	m.remove(trash)
	m.verifyRecords("kept.txt")
}

// TestARunNamesWhatItDidNotRemove, and one file keeps no other.
func TestARunNamesWhatItDidNotRemove(t *testing.T) {
	t.Parallel()
	trash := deleting()
	trash.Gone = uploader.Trash
	for name, c := range map[string]struct {
		policy uploader.Removal
		fault  emulator.Fault
	}{
		"a batch that is refused for one file": {deleting(), emulator.Fault{Endpoint: "batchDelete", Status: 400, Message: "cannot be deleted"}},
		"a move that is refused":               {trash, emulator.Fault{Endpoint: "move", Status: 400, Message: "cannot be moved"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			names := many("d", 105)
			m.write(append(names, "kept.txt")...)
			m.sync()
			before := m.records()
			m.rm("d")
			m.scan()
			c.fault.Action, c.fault.Path = emulator.ActionStatus, before["d/f07.txt"].FileID
			if c.fault.Endpoint == "move" {
				c.fault.Path = "f07.txt"
			}
			m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{c.fault}})
			p := m.remove(c.policy)
			n, first := p.Unremoved()
			if n != 1 || len(first) != 1 || first[0].Path != "d/f07.txt" || !strings.Contains(first[0].Reason, "cannot be") {
				t.Errorf("%d are not removed: %+v", n, first)
			}
			m.verifyRecords("d/f07.txt", "kept.txt")
		})
	}
}

// TestAFolderThatIsMissingIsMade where a server wants that before it moves something there.
func TestAFolderThatIsMissingIsMade(t *testing.T) {
	t.Parallel()
	missing := emulator.Behaviour{MissingDestination: true}
	t.Run("move", func(t *testing.T) {
		t.Parallel()
		m := newMirror(t, missing)
		before := m.synced("a.txt", "b.txt", "kept.txt")
		m.mv("a.txt", "new/sub/a.txt", "b.txt", "other/2024-05/c.txt")
		if stats := m.sync(); stats.Uploaded != 0 || stats.Moved != 2 {
			t.Errorf("stats %+v", stats)
		}
		m.kept(before, "a.txt", "new/sub/a.txt", "b.txt", "other/2024-05/c.txt")
		m.verify()
	})
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		m := newMirror(t, missing)
		before := m.synced(append(many("d", 5), "kept.txt")...)
		m.mv("d", "new/d")
		if stats := m.sync(); stats.Uploaded != 0 || stats.MovedFolders != 1 {
			t.Errorf("stats %+v", stats)
		}
		m.keptBelow(before, "d", "new/d")
		m.verify()
	})
	t.Run("trash", func(t *testing.T) {
		t.Parallel()
		m := newMirror(t, missing)
		m.synced("a.txt", "kept.txt")
		m.rm("a.txt")
		m.scan()
		r := deleting()
		r.Gone = uploader.Trash
		p := m.remove(r)
		paths := m.paths()
		if len(paths) != 2 || !strings.HasPrefix(paths[0], "/bin/") || !strings.HasSuffix(paths[0], "/photos/a.txt") {
			t.Errorf("the library holds %q", paths)
		}
		if n, first := p.Unremoved(); n != 0 {
			t.Errorf("%d are not removed: %v", n, first)
		}
	})
	t.Run("copy", func(t *testing.T) {
		t.Parallel()
		m := newMirror(t, missing)
		m.synced("a.txt", "kept.txt")
		m.fill("new/a.txt", "content of a.txt")
		m.fill("new/b.txt", "content of a.txt")
		m.scan()
		o := m.options()
		o.Roots[0].Duplicates = uploader.CopyDuplicates
		p := uploader.New(m.db, m.q, o)
		m.must(p.Run(t.Context()))
		if stats := p.Stats(); stats.Copied != 2 || stats.Uploaded != 0 {
			t.Errorf("stats %+v", stats)
		}
		m.verify()
	})
}

// TestAnIntentThatCanNotBeResolvedHoldsUpNoOther: it is set aside and reported, its own
// source and target stay as they are, and it is resolved once ImageKit answers.
func TestAnIntentThatCanNotBeResolvedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]emulator.Fault{
		"500":            {Status: 500},
		"an odd refusal": {Status: 400, Message: "this is not the way"},
		"an odd 404":     {Status: 404, Message: "nope"},
	} {
		for _, daemon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, daemon %v", what, daemon), func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{})
				before := m.synced("a.txt", "b.txt", "x.txt", "kept.txt")
				m.mv("a.txt", "d/a.txt", "x.txt", "y.txt")
				m.scan()
				// The call about a is done and its answer lost; then nobody tells of a.
				fault.Endpoint, fault.Path, fault.Action = "details", before["a.txt"].FileID, emulator.ActionStatus
				m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "move", Action: emulator.ActionLose, Count: 1}, func() emulator.Fault { f := fault; f.Skip = 1; return f }()}})
				core, logs := observer.New(zap.WarnLevel)
				setAside := func() bool {
					all := m.intents()
					return len(all) == 1 && all[0].Aside
				}
				said := func() int { return logs.FilterMessageSnippet("set aside").Len() }
				if daemon {
					m.serveFor(uploader.Removal{}, zap.New(core), func() bool { return setAside() && m.records()["y.txt"] != nil && said() > 0 })
				} else {
					p := m.removing(uploader.Removal{}, false, zap.New(core))
					m.must(p.Run(t.Context()))
				}
				if !setAside() || said() != 1 {
					t.Fatalf("intents %+v, reported %d times", m.intents(), said())
				}
				m.kept(before, "x.txt", "y.txt") // it has gone on
				m.mv("b.txt", "c.txt")
				m.scan()
				m.run()
				m.kept(before, "b.txt", "c.txt")
				if stats := m.run(); stats.Uploaded != 0 || m.records()["a.txt"] == nil {
					t.Errorf("something was done about its record: %+v", stats)
				}
				m.server.SetFaults(emulator.Faults{})
				m.run()
				m.kept(before, "a.txt", "d/a.txt")
				m.verify()
				m.wantVersions(nil)
			})
		}
	}
}

// TestAFolderWhoseMoveCanNotBeResolvedHoldsUpNoOther.
func TestAFolderWhoseMoveCanNotBeResolvedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("d", 3), "x.txt", "kept.txt")...)
	m.mv("d", "e", "x.txt", "y.txt")
	m.scan()
	m.stand(func(w http.ResponseWriter, r *http.Request, serve func()) {
		switch {
		case endpoint(r) == "renameFolder": // done, and the answer is lost
			m.server.ServeHTTP(discarded{}, r)
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "/details") && !strings.Contains(r.URL.Path, before["x.txt"].FileID):
			http.Error(w, `{"message":"nope"}`, http.StatusNotFound)
		default:
			serve()
		}
	})
	m.write("e/new.txt", "f.txt")
	m.scan()
	m.run()
	m.stand(nil)
	m.kept(before, "x.txt", "y.txt")
	if all := m.intents(); len(all) != 1 || !all[0].Aside || all[0].Kind != queue.MoveFolder {
		t.Errorf("intents %+v", all)
	}
	if records := m.records(); records["f.txt"] == nil || records["e/new.txt"] != nil {
		t.Error("what is elsewhere was not sent, or what is in the folder was")
	}
	m.sync()
	m.keptBelow(before, "d", "e")
	m.verify()
	m.wantVersions(nil)
}

// discarded takes an answer that nobody gets.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}
