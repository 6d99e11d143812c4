//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"iksync/state"
	"iksync/uploader/emulator"
)

// Between the scan and the read a file is written again, with the same size and time. A
// record with the old stat and the new content would hide the change for ever.
func TestAdoptTakesNoFileThatChangedSinceItWasScanned(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.write("a.jpg", "before")
	r.write("b.jpg", "stays")
	r.iksync("backfill", "--config", r.config)
	r.must(os.Remove(r.state))
	path := filepath.Join(r.tree(), "a.jpg")
	info, err := os.Stat(path)
	r.must(err)
	var once sync.Once
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet && req.URL.Path == "/v1/files" {
			once.Do(func() { // the scan has ended
				r.write("a.jpg", "after!")
				if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
					t.Error(err)
				}
			})
		}
		r.library.ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	r.url = front.URL
	cmd := r.command("iksync", []string{"adopt", "--config", r.config})
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "a.jpg is not adopted: the file changed since it was scanned") {
		t.Errorf("adopt ended with %d: %s", cmd.ProcessState.ExitCode(), out)
	}
	db, err := state.OpenReadOnly(t.Context(), r.state)
	r.must(err)
	for f, err := range db.Files(t.Context(), 0, false) {
		r.must(err)
		if f.Path != "b.jpg" {
			t.Errorf("recorded: %+v", f)
		}
	}
	r.must(db.Close())
	r.iksync("backfill", "--config", r.config)
	if !r.has("/photos/a.jpg", "after!") {
		t.Errorf("the library has not the new content")
	}
}
