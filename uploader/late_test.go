package uploader_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/watcher"
)

// lateUntil runs a pool that is stopped at its first request that fits; the library
// has that request only when the pool has ended.
func (m *mirror) lateUntil(o uploader.Options, fits func(r *http.Request) bool) {
	m.Helper()
	ctx, stop := context.WithCancel(m.Context())
	defer stop()
	var late atomic.Pointer[http.Request]
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		if !fits(r) || late.Load() != nil {
			serve()
			return
		}
		body, err := io.ReadAll(r.Body)
		check(m.T, err)
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		late.Store(again)
		stop()
		<-r.Context().Done()
	})
	m.must(uploader.New(m.db, m.q, o).Run(ctx))
	m.stand(nil)
	if late.Load() == nil {
		m.Fatal("there was no such request")
	}
	m.server.ServeHTTP(httptest.NewRecorder(), late.Load())
}

func TestAMoveThatIsDoneAfterThePoolHasStoppedIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, at := range c.endpoints {
			t.Run(name+", "+at, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{})
				before := m.synced(c.files...)
				m.mv(c.moves...)
				m.scan()
				m.lateUntil(m.options(), func(r *http.Request) bool { return endpoint(r) == at })
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

func TestAMoveThatIsDoneAfterThePoolHasStoppedIsUndoneWithItsFile(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"rename", "move"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced("d/a.txt", "d/z.txt")
			m.mv("d/a.txt", "e/b.txt")
			m.scan()
			m.lateUntil(m.options(), func(r *http.Request) bool { return endpoint(r) == at })
			m.mv("e/b.txt", "d/a.txt")
			if stats := m.sync(); stats.Uploaded != 0 {
				t.Errorf("stats %+v", stats)
			}
			m.kept(before, "d/a.txt", "d/a.txt")
			m.verify()
		})
	}
}

func TestACopyThatIsDoneAfterThePoolHasStoppedIsRemoved(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.synced("a.txt")
	m.fill("b.txt", "content of a.txt")
	m.scan()
	o := m.options()
	o.Roots[0].Duplicates = uploader.CopyDuplicates
	o.Grace = 0
	m.lateUntil(o, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/files/copy") })
	m.sync()
	m.verify()
}

func TestAFileThatGoesToTheTrashAfterThePoolHasStoppedIsSentAgain(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.txt", "kept.txt")
	m.rm("a.txt")
	m.scan()
	o := m.options()
	o.Roots[0].Removal = uploader.Removal{Gone: uploader.Trash, TrashFolder: "/trash", MaxFiles: 10}
	o.Roots[0].Identity = func() ([]byte, error) { return watcher.Identity(m.dir) }
	m.lateUntil(o, func(r *http.Request) bool { return endpoint(r) == "move" })
	m.write("a.txt") // it is back
	m.note(before["a.txt"].FileID)
	if stats := m.sync(); stats.Uploaded != 1 {
		t.Errorf("stats %+v", stats)
	}
	m.verify()
}
