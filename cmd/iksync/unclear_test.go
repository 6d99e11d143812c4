//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// sendsThenReverts lets a daemon send a new content, which is stored with an answer
// that is not usable, and gives the file back the content that is recorded.
func sendsThenReverts(t *testing.T, r *runRig, spoil func(), says string) {
	t.Helper()
	r.write("f.jpg", "AAAA")
	d := r.start()
	r.inStep()
	spoil()
	r.write("f.jpg", "BBBBBB")
	d.says(says)
	r.write("f.jpg", "AAAA")
	r.inStep()
	d.stop()
	r.nothingIsLeft()
}

func debugRig(t *testing.T) *runRig {
	t.Helper()
	r := newRunRig(t, emulator.Options{})
	r.set("log", "{format: console, level: debug}")
	return r
}

func TestAnAnswerOfAnotherSizeLeavesDoubt(t *testing.T) {
	t.Parallel()
	r := debugRig(t)
	sendsThenReverts(t, r, func() {
		r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Count: 1, Action: emulator.ActionWrongSize}}})
	}, "answer is wrong")
}

func TestAnAcceptedUploadLeavesDoubt(t *testing.T) {
	t.Parallel()
	r := debugRig(t)
	var armed atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/upload") && armed.CompareAndSwap(true, false) {
			r.library.server.ServeHTTP(httptest.NewRecorder(), req)
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"message": "queued"}`)
			return
		}
		r.library.ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	r.url = front.URL
	sendsThenReverts(t, r, func() { armed.Store(true) }, "is transforming")
}

func TestAnEditWhileItsMoveIsUnderWayIsNotLost(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{})
	r.set("log", "{format: console, level: debug}")
	r.write("a/f.jpg", "first content")
	r.write("b/other.jpg")
	d := r.start()
	r.inStep()
	came, release := make(chan struct{}, 10), make(chan struct{})
	r.onCall(func(call string, _ *http.Request) {
		if call == "POST /v1/files/move" {
			came <- struct{}{}
			<-release
		}
	})
	r.must(os.Rename(filepath.Join(r.tree(), "a/f.jpg"), filepath.Join(r.tree(), "b/g.jpg")))
	<-came
	r.write("b/g.jpg", "second content, longer")
	waitFor(t, "the edit is queued", func() bool { return r.waits("b/g.jpg", int64(len("second content, longer"))) })
	close(release)
	r.inStep()
	d.stop()
	r.nothingIsLeft()
}

// waits reports whether a job of a path waits that has seen a size.
func (r *runRig) waits(path string, size int64) bool {
	r.Helper()
	db, err := state.OpenReadOnly(r.Context(), r.state)
	r.must(err)
	defer db.Close()
	for job, err := range newQueue(db).List(r.Context(), []int64{1}, queue.Ready) {
		r.must(err)
		if job.Path == path && job.Size == size {
			return true
		}
	}
	return false
}
