package uploader_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/emulator"
)

// lies answer one request that changes the library, and may do it.
var lies = map[string]func(w http.ResponseWriter, serve func(http.ResponseWriter)){
	"that it is done, which it is not": func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
		_, _ = io.WriteString(w, `{"jobId":"000000000000000000000000"}`)
	},
	"nothing that was asked, and does it": func(w http.ResponseWriter, serve func(http.ResponseWriter)) {
		serve(httptest.NewRecorder())
		_, _ = io.WriteString(w, "null")
	},
	"by a page, and does it": func(w http.ResponseWriter, serve func(http.ResponseWriter)) {
		serve(httptest.NewRecorder())
		_, _ = io.WriteString(w, "<html>")
	},
	"by a page, and does nothing": func(w http.ResponseWriter, _ func(http.ResponseWriter)) {
		_, _ = io.WriteString(w, "<html>")
	},
	"by headers without measure, and does it": func(w http.ResponseWriter, serve func(http.ResponseWriter)) {
		serve(httptest.NewRecorder())
		w.Header().Set("A", strings.Repeat("x", 1<<20))
		w.WriteHeader(http.StatusNoContent)
	},
	"that it failed, and does it": func(w http.ResponseWriter, serve func(http.ResponseWriter)) {
		serve(httptest.NewRecorder())
		w.Header().Set("Retry-After", "-1")
		w.WriteHeader(500)
	},
}

// Where the files are tells, not what was said of a call.
func TestALieAboutAMoveIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for _, call := range c.endpoints {
			for lie, answer := range lies {
				t.Run(name+", "+call+", it is answered "+lie, func(t *testing.T) {
					t.Parallel()
					m := newMirror(t, emulator.Behaviour{})
					before := m.synced(c.files...)
					m.mv(c.moves...)
					var lied atomic.Bool
					m.stand(func(w http.ResponseWriter, r *http.Request, serve func()) {
						if endpoint(r) != call || lied.Swap(true) {
							serve()
							return
						}
						answer(w, func(w http.ResponseWriter) { m.server.ServeHTTP(w, r) })
					})
					if stats := m.sync(); stats.Uploaded != 0 || !lied.Load() {
						t.Errorf("stats %+v, lied %t", stats, lied.Load())
					}
					m.kept(before, c.kept...)
					m.verify()
					m.wantVersions(nil)
				})
			}
		}
	}
}

// What is read is asked again when it can't be true.
func TestALieAboutWhereFilesAreIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range changes {
		for lie, body := range map[string]string{
			"null": "null", "a page": "<html>", "a text": `"ok"`, "an object": `{}`, "a list of lists": "[[]]",
			"another file":             `{"fileId":"000000000000000000000000","filePath":"/photos/other.txt","size":1}`,
			"another job":              `{"jobId":"000000000000000000000000","type":"MOVE_FOLDER","status":"Completed"}`,
			"a list of another folder": `[{"type":"file","fileId":"000000000000000000000000","filePath":"/elsewhere/other.txt","size":1}]`,
		} {
			t.Run(name+", "+lie, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t, emulator.Behaviour{})
				before := m.synced(c.files...)
				m.mv(c.moves...)
				var lied, jobs, details, lists atomic.Int64
				m.stand(func(w http.ResponseWriter, r *http.Request, serve func()) {
					asked := &lists
					switch {
					case strings.Contains(r.URL.Path, "/bulkJobs/"):
						asked = &jobs
					case strings.HasSuffix(r.URL.Path, "/details"):
						asked = &details
					}
					if r.Method != http.MethodGet || asked.Add(1) > 1 { // once of each
						serve()
						return
					}
					lied.Add(1)
					_, _ = io.WriteString(w, body)
				})
				if stats := m.sync(); stats.Uploaded != 0 || lied.Load() == 0 {
					t.Errorf("stats %+v after %d lies", stats, lied.Load())
				}
				m.kept(before, c.kept...)
				m.verify()
				m.wantVersions(nil)
			})
		}
	}
}
