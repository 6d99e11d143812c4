package uploader_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
)

// done lets the server do what is asked and gives no answer.
func (m *mirror) done(r *http.Request, meanwhile func()) {
	answer := httptest.NewRecorder()
	m.server.ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		m.Errorf("what was to be done was refused: %s", answer.Body)
	}
	meanwhile()
	panic(http.ErrAbortHandler)
}

// losses are the ways in which the answer to the first upload of a pool is lost.
// Meanwhile something happens, and then all is done that is queued.
var losses = map[string]func(m *mirror, meanwhile func()) uploader.Stats{
	"the connection broke": func(m *mirror, meanwhile func()) uploader.Stats {
		var lost atomic.Bool
		m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
			if endpoint(r) == "upload" && !lost.Swap(true) {
				m.done(r, meanwhile)
			}
			serve()
		})
		defer m.stand(nil)
		return m.run()
	},
	"it was broken off": func(m *mirror, meanwhile func()) uploader.Stats {
		m.must(m.runUntil(func(_ http.ResponseWriter, r *http.Request, serve func(), stop func()) {
			if endpoint(r) == "upload" {
				m.done(r, stop)
			}
			serve()
		}))
		meanwhile()
		return m.run()
	},
	"the process was killed": func(m *mirror, meanwhile func()) uploader.Stats {
		if !m.killAt(1, true) {
			m.Fatal("nothing was sent")
		}
		meanwhile()
		return m.run()
	},
}

// Whatever becomes of a file whose upload had no answer, the library has in the
// end what the disk has, once, and its fileId is known.
func TestWhatIsSentWithoutAnAnswerIsNeitherLostNorTakenForAnother(t *testing.T) {
	t.Parallel()
	const before, sent = "content that was", "content that is!" // of one size
	later := time.Now().Add(time.Hour)
	for how, lose := range losses {
		for what, c := range map[string]struct {
			change   func(m *mirror)
			more     int  // versions at most that are more than the one that was sent
			confirms bool // at least while it is not queued again
		}{
			"nothing":               {func(*mirror) {}, 0, true},
			"a touch":               {func(m *mirror) { m.must(os.Chtimes(m.at("d/a.txt"), later, later)) }, 1, false},
			"an edit, of its size":  {func(m *mirror) { m.fill("d/a.txt", "content that was ") }, 1, false},
			"an edit of same size":  {func(m *mirror) { m.fill("d/a.txt", strings.ToUpper(sent)) }, 1, false},
			"the former content":    {func(m *mirror) { m.fill("d/a.txt", before) }, 1, false},
			"an edit to and fro":    {func(m *mirror) { m.fill("d/a.txt", strings.ToUpper(sent)); m.fill("d/a.txt", sent) }, 1, false},
			"another file there":    {func(m *mirror) { m.fill("b", strings.ToUpper(sent)); m.mv("b", "d/a.txt") }, 1, false},
			"an edit, time is kept": {func(m *mirror) { m.editUnseen("d/a.txt", strings.ToUpper(sent)) }, 1, false},
		} {
			for _, recorded := range []bool{false, true} {
				for _, seen := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s, recorded %t, seen %t", how, what, recorded, seen), func(t *testing.T) {
						t.Parallel()
						m := newMirror(t, emulator.Behaviour{})
						versions := 1
						if recorded {
							m.fill("d/a.txt", before)
							m.sync()
							m.verify()
							versions++
						}
						m.fillOld("d/a.txt", sent)
						m.scan()
						stats := lose(m, func() {
							c.change(m)
							if seen {
								m.scan()
							}
						})
						if again := m.server.Assets()[0].Versions > versions; again == c.confirms {
							t.Errorf("it was sent again: %t, %+v", again, stats)
						}
						if c.confirms && (stats.Confirmed != 1 || stats.Resent != 0) || stats.Failed > 0 {
							t.Errorf("stats %+v", stats)
						}
						m.sync()
						m.verify()
						if a := m.server.Assets(); len(a) != 1 || a[0].Versions < versions || a[0].Versions > versions+c.more {
							t.Errorf("%d versions should be %d and %d more at most: %+v", a[0].Versions, versions, c.more, a)
						}
					})
				}
			}
		}
	}
}

// editUnseen edits a file and sets its modification time back.
func (m *mirror) editUnseen(path, content string) {
	m.Helper()
	info, err := os.Stat(m.at(path))
	m.must(err)
	for before := state.StatOf(info); state.StatOf(info).CtimeNs == before.CtimeNs; { // the file system's clock has some milliseconds
		m.fill(path, content)
		m.must(os.Chtimes(m.at(path), info.ModTime(), info.ModTime()))
		info, err = os.Stat(m.at(path))
		m.must(err)
	}
}

// fillOld is fill with a time that no later change has.
func (m *mirror) fillOld(path, content string) {
	m.Helper()
	m.fill(path, content)
	then := time.Now().Add(-time.Hour)
	m.must(os.Chtimes(m.at(path), then, then))
}

func TestTheAssetOfAFileThatIsGoneSinceItWasSentIsKnown(t *testing.T) {
	t.Parallel()
	for how, lose := range losses {
		for what, change := range map[string]func(m *mirror){
			"it is removed":              func(m *mirror) { m.rm("d/a.txt") },
			"its directory is removed":   func(m *mirror) { m.rm("d") },
			"its directory is a file":    func(m *mirror) { m.rm("d"); m.fill("d", "another") },
			"it is edited and removed":   func(m *mirror) { m.fill("d/a.txt", "more content than there was"); m.rm("d/a.txt") },
			"it is moved and is another": func(m *mirror) { m.mv("d/a.txt", "e.txt") },
		} {
			for _, recorded := range []bool{false, true} {
				for _, seen := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s, recorded %t, seen %t", how, what, recorded, seen), func(t *testing.T) {
						t.Parallel()
						m := newMirror(t, emulator.Behaviour{})
						m.write("z.txt") // a root that becomes empty tells nothing
						if recorded {
							m.fill("d/a.txt", "content that was")
						}
						m.sync()
						m.fillOld("d/a.txt", "content that is!")
						m.scan()
						lose(m, func() {
							change(m)
							if seen {
								m.scan()
							}
						})
						m.sync()
						m.sync()
						for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held} {
							for item := range m.q.List(t.Context(), []int64{m.root.ID}, s) {
								t.Errorf("a %s job is left: %+v", s, item)
							}
						}
						known := make(map[string]*state.File)
						for _, f := range m.records() {
							known[f.FileID] = f
						}
						for _, a := range m.server.Assets() {
							f := known[a.FileID]
							if f == nil {
								t.Errorf("nobody knows %s at %s", a.FileID, a.FilePath)
							} else if _, err := os.Lstat(m.at(f.Path)); errors.Is(err, os.ErrNotExist) && f.Absent == state.Present {
								t.Errorf("%q is gone and is recorded as there", f.Path)
							}
						}
					})
				}
			}
		}
	}
}

// lostOnce breaks the first upload of a pool off before it takes effect.
func (m *mirror) lostOnce() uploader.Stats {
	var lost atomic.Bool
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		if endpoint(r) == "upload" && !lost.Swap(true) {
			panic(http.ErrAbortHandler)
		}
		serve()
	})
	defer m.stand(nil)
	return m.run()
}

// Only ImageKit's clock counts: what was there before is not what was sent.
func TestWhatOthersPutThereBeforeIsNotTakenForWhatWasSent(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	check(t, m.server.Close())
	var back atomic.Int64
	back.Store(int64(time.Minute))
	var err error
	m.server, err = emulator.New(emulator.Options{Behaviour: listsAtOnce(emulator.Behaviour{}), Now: func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }})
	m.must(err)
	m.put("/photos/a.txt", "theirs is as long")
	clear(m.foreign)
	back.Store(0)
	m.fill("a.txt", "ours is as long!!")
	m.scan()
	if s := m.lostOnce(); s.Confirmed != 0 || s.Resent != 1 || s.Uploaded != 1 {
		t.Errorf("stats %+v", s)
	}
	m.verify()
}

// A listing that does not have it yet costs a version, never a second asset.
func TestALateListingCostsAVersionAndNoAsset(t *testing.T) {
	t.Parallel()
	for how, lose := range losses {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{ListingLag: time.Hour})
			m.write("d/a.txt")
			m.scan()
			if s := lose(m, func() {}); s.Confirmed != 0 || s.Resent != 1 {
				t.Errorf("stats %+v", s)
			}
			m.verify()
			m.wantVersions(map[string]int{"/photos/d/a.txt": 2})
		})
	}
}

// What a dead process was about to send is looked for, and the rest is sent once.
func TestARestartSendsNothingTwiceThatHasCome(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 7, 30} {
		t.Run(fmt.Sprintf("killed at request %d", n), func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			m.write(many("d", 40)...)
			m.scan()
			if !m.killAt(n, true) {
				t.Fatal("it ended before")
			}
			if s := m.run(); s.Confirmed < 1 || s.Uploaded > 40 {
				t.Errorf("stats %+v", s)
			}
			m.verify()
			m.wantVersions(nil)
		})
	}
}
