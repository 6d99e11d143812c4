package uploader_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestAFileIDOfAnotherRecordIsNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	var lied atomic.Bool
	var idA atomic.Value
	r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
		id := idA.Load()
		if id == nil || lied.Swap(true) {
			serve()
			return
		}
		answer := r.stored(req)
		answer["fileId"] = id
		check(t, json.NewEncoder(w).Encode(answer))
	})
	r.write("a.txt", "content a")
	r.enqueue("a.txt")
	r.drain()
	idA.Store(r.record("a.txt").FileID)
	r.write("b.txt", "content b")
	r.enqueue("b.txt")
	r.drain()
	r.recordedRight(map[string]string{"a.txt": "content a", "b.txt": "content b"})
}

// A 202 for an upload that is never done, while somebody else's asset is in its place.
func TestAnAcceptedFileIsNotTakenForAnAssetOfAnotherSize(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	if _, err := r.client.Upload(t.Context(), &imagekit.Upload{FileName: "a.txt", Folder: "/photos", Source: imagekit.FromReader(strings.NewReader("somebody else's"), 15), Params: r.params}); err != nil {
		t.Fatal(err)
	}
	var lied atomic.Bool
	r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
		if !strings.HasSuffix(req.URL.Path, "/upload") || lied.Swap(true) {
			serve()
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(202)
		_, _ = io.WriteString(w, "{}")
	})
	r.write("a.txt", "content")
	r.enqueue("a.txt")
	r.drain()
	r.recordedRight(map[string]string{"a.txt": "content"})
}
