package uploader_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iksync/queue"
	"iksync/uploader/emulator"
)

// changes are what is moved locally, by the calls that it takes.
var changes = map[string]struct {
	files, moves, kept []string
	endpoints          []string
}{
	"a file renamed and moved": {[]string{"d/a.txt", "d/z.txt"}, []string{"d/a.txt", "e/b.txt"}, []string{"d/a.txt", "e/b.txt"}, []string{"rename", "move"}},
	"two files swapped": {[]string{"a.txt", "b.txt"}, []string{"a.txt", "t", "b.txt", "a.txt", "t", "b.txt"},
		[]string{"a.txt", "b.txt", "b.txt", "a.txt"}, []string{"rename"}},
	"a directory renamed and moved": {[]string{"d/1.txt", "d/2.txt", "d/x/3.txt"}, []string{"d", "y/e"},
		[]string{"d/1.txt", "y/e/1.txt", "d/2.txt", "y/e/2.txt", "d/x/3.txt", "y/e/x/3.txt"}, []string{"renameFolder", "moveFolder"}},
	"a chain of directories": {[]string{"a/1.txt", "a/2.txt", "b/1.txt", "b/2.txt"}, []string{"b", "c", "a", "b"},
		[]string{"a/1.txt", "b/1.txt", "b/2.txt", "c/2.txt"}, []string{"renameFolder"}},
}

func TestALostAnswerOfACallThatWasDoneIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, endpoint := range c.endpoints {
			for _, action := range []emulator.Action{emulator.ActionLose, emulator.ActionTruncated, emulator.ActionLength} {
				if action == emulator.ActionTruncated && endpoint == "move" {
					continue // its answer has no body
				}
				t.Run(name+", "+endpoint+", "+string(action), func(t *testing.T) {
					t.Parallel()
					m := newMirror(t, emulator.Behaviour{})
					before := m.synced(c.files...)
					m.mv(c.moves...)
					m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: endpoint, Count: 1, Action: action}}})
					if stats := m.sync(); stats.Uploaded != 0 {
						t.Errorf("stats %+v", stats)
					}
					m.kept(before, c.kept...)
					m.verify()
					m.wantVersions(nil)
				})
			}
		}
	}
}

// killed copies the state file as a process that is killed now leaves it.
func (m *mirror) killed(to string) {
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(m.db.Path() + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, b, 0o600)
		}
		check(m.T, err)
	}
}

func TestAMoveSurvivesAKillAtEveryRequest(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, after := range []bool{false, true} {
			for _, behaviour := range []emulator.Behaviour{{}, {NewFileIDOnMove: true}} {
				t.Run(name+map[bool]string{false: ", before", true: ", after"}[after]+map[bool]string{true: ", with new fileIds"}[behaviour.NewFileIDOnMove], func(t *testing.T) {
					t.Parallel()
					for n := int64(1); ; n++ {
						m := newMirror(t, behaviour)
						before := m.synced(c.files...)
						m.mv(c.moves...)
						m.scan()
						if !m.killAt(n, after) {
							break
						}
						if stats := m.sync(); stats.Uploaded != 0 {
							t.Errorf("killed at request %d: stats %+v", n, stats)
						}
						if !behaviour.NewFileIDOnMove {
							m.kept(before, c.kept...)
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

// killAt runs a pool that is killed at its n-th request, before or after its
// effect; false when it ends before.
func (m *mirror) killAt(n int64, after bool) bool {
	m.Helper()
	left := filepath.Join(m.TempDir(), "killed.db")
	var requests atomic.Int64
	err := m.runUntil(func(_ http.ResponseWriter, r *http.Request, serve func(), stop func()) {
		switch i := requests.Add(1); {
		case i == n:
			if after {
				m.server.ServeHTTP(httptest.NewRecorder(), r)
			}
			m.killed(left)
			stop()
			panic(http.ErrAbortHandler)
		case i > n: // what it does after is not seen by anybody
			panic(http.ErrAbortHandler)
		}
		serve()
	})
	if requests.Load() < n {
		m.must(err)
		return false
	}
	m.must(m.db.Close())
	m.open(left)
	return true
}

func TestAMoveSurvivesBeingStoppedRightAfterACallWasDone(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, at := range c.endpoints {
			t.Run(name+", "+at, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{})
				before := m.synced(c.files...)
				m.mv(c.moves...)
				m.scan()
				var stopped atomic.Bool
				m.must(m.runUntil(func(_ http.ResponseWriter, r *http.Request, serve func(), stop func()) {
					if endpoint(r) != at || stopped.Swap(true) {
						serve()
						return
					}
					m.server.ServeHTTP(httptest.NewRecorder(), r)
					stop()
					<-r.Context().Done()
				}))
				if stats := m.sync(); stats.Uploaded != 0 {
					t.Errorf("stats %+v", stats)
				}
				m.kept(before, c.kept...)
				m.verify()
				m.wantVersions(nil)
			})
		}
	}
}

func TestACallThatIsRefusedForNowCostsNoUpload(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]emulator.Fault{
		"locked":          {Status: 423, Message: "A bulk job is running on given folder path, please try after sometime."},
		"throttled":       {Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "20"}},
		"a server error":  {Status: 500},
		"a gateway's 502": {Status: 502, HTML: true},
	} {
		for name, c := range changes {
			for _, endpoint := range append([]string{"list", "details", "job"}, c.endpoints...) {
				if what == "locked" && endpoint != "renameFolder" && endpoint != "moveFolder" {
					continue
				}
				t.Run(name+", "+endpoint+", "+what, func(t *testing.T) {
					t.Parallel()
					m := newMirror(t, emulator.Behaviour{})
					before := m.synced(c.files...)
					m.mv(c.moves...)
					fault := fault
					fault.Endpoint, fault.Action, fault.Count = endpoint, emulator.ActionStatus, 1
					m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{fault}})
					if stats := m.sync(); stats.Uploaded != 0 {
						t.Errorf("stats %+v", stats)
					}
					m.kept(before, c.kept...)
					m.verify()
					m.wantVersions(nil)
				})
			}
		}
	}
}

func TestARetryOfAMoveComesNoEarlierThanItsJobSays(t *testing.T) {
	t.Parallel()
	for name, moves := range map[string][]string{
		"of one file":      {"b.txt", "c.txt"},
		"of a chain":       {"b.txt", "c.txt", "a.txt", "b.txt"},
		"of a swapped two": {"a.txt", "t", "b.txt", "a.txt", "t", "b.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			m.synced("a.txt", "b.txt")
			m.mv(moves...)
			m.scan()
			failed := 0
			m.must(m.runUntil(func(w http.ResponseWriter, r *http.Request, serve func(), _ func()) {
				if endpoint(r) != "rename" {
					serve()
					return
				}
				now := time.Now()
				for item, err := range m.q.List(r.Context(), []int64{m.root.ID}, queue.Ready) {
					check(t, err)
					if item.Attempts > 0 && item.NotBefore.After(now) {
						t.Errorf("%s waits for %v more, and the library is called", item.Path, item.NotBefore.Sub(now))
					}
				}
				if failed++; failed > 2 {
					serve()
					return
				}
				w.WriteHeader(http.StatusInternalServerError)
			}))
			m.calls()
			m.verify()
		})
	}
}

func TestAFolderThatImageKitDoesNotMoveAsAWholeIsMovedFileByFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		behaviour emulator.Behaviour
		fault     emulator.Fault
	}{
		"too many objects": {behaviour: emulator.Behaviour{FolderLimit: 3}},
		"a conflict":       {fault: emulator.Fault{Endpoint: "renameFolder", Action: emulator.ActionStatus, Status: 409}},
		"no such call":     {fault: emulator.Fault{Endpoint: "moveFolder", Action: emulator.ActionStatus, Status: 404}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, c.behaviour)
			before := m.synced(many("d", 5)...)
			m.mv("d", "y/e")
			m.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{c.fault}})
			if stats := m.sync(); stats.Uploaded != 0 || stats.Moved != 5 {
				t.Errorf("stats %+v", stats)
			}
			if calls := m.calls(); !strings.Contains(calls, "move 5") {
				t.Errorf("the calls were %s", calls)
			}
			m.keptBelow(before, "d", "y/e")
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestMovesCopeWithHowTheLibraryBehaves(t *testing.T) {
	t.Parallel()
	for what, behaviour := range map[string]emulator.Behaviour{
		"jobs that take a while":              {JobDuration: 300 * time.Millisecond},
		"new fileIds":                         {NewFileIDOnMove: true},
		"listings that lag":                   {ListingLag: 400 * time.Millisecond},
		"new fileIds and listings that lag":   {NewFileIDOnMove: true, ListingLag: 400 * time.Millisecond},
		"new fileIds and jobs that take long": {NewFileIDOnMove: true, JobDuration: 300 * time.Millisecond},
	} {
		for name, c := range changes {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, behaviour)
				before := m.synced(c.files...)
				m.mv(c.moves...)
				if stats := m.sync(); stats.Uploaded != 0 {
					t.Errorf("stats %+v", stats)
				}
				if !behaviour.NewFileIDOnMove {
					m.kept(before, c.kept...)
				}
				m.verify()
				m.wantVersions(nil)
			})
		}
	}
}

func TestAnAssetThatWasDeletedInTheLibraryIsUploadedUnderItsNewName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to string }{"of a file": {"a.txt", "b.txt"}, "of a directory": {"d", "e"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced("a.txt", "d/1.txt", "d/2.txt", "d/3.txt")
			_, _, err := m.client.DeleteFiles(t.Context(), []string{before["a.txt"].FileID, before["d/1.txt"].FileID})
			m.must(err)
			m.mv(c.from, c.to)
			if stats := m.sync(); stats.Uploaded != 1 {
				t.Errorf("stats %+v", stats)
			}
			if c.from == "d" {
				m.kept(before, "d/2.txt", "e/2.txt", "d/3.txt", "e/3.txt")
				m.must(m.q.Lost(t.Context(), before["a.txt"].ID))
				m.rm("a.txt")
			} else {
				m.must(m.q.Lost(t.Context(), before["d/1.txt"].ID))
				m.rm("d/1.txt")
			}
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestAnAssetThatSomebodyMovedInTheLibraryIsBroughtToItsNewPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to string }{"of a file": {"d/1.txt", "e/2.txt"}, "of a directory": {"d", "e"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced("d/1.txt", "d/2.txt", "d/3.txt")
			m.must(m.client.Move(t.Context(), "/photos/d/1.txt", "/elsewhere"))
			m.mv(c.from, c.to)
			if stats := m.sync(); stats.Uploaded != 0 {
				t.Errorf("stats %+v", stats)
			}
			if c.from == "d" {
				m.keptBelow(before, "d", "e")
			} else {
				m.kept(before, "d/1.txt", "e/2.txt")
			}
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestWhatSomebodyPutInThePlaceOfAnAssetIsNotMoved(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"after they moved it": false, "after they deleted it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced("a.txt")
			if gone {
				_, _, err := m.client.DeleteFiles(t.Context(), []string{before["a.txt"].FileID})
				m.must(err)
			} else {
				m.must(m.client.Move(t.Context(), "/photos/a.txt", "/elsewhere"))
			}
			m.put("/photos/a.txt", "theirs")
			m.mv("a.txt", "b.txt")
			m.sync()
			m.verify()
			m.wantVersions(nil)
		})
	}
}
