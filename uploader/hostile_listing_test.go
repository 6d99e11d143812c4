package uploader_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// TestAListingThatNeverEndsIsGivenUp: a server that ignores skip gives the same
// full page for ever.
func TestAListingThatNeverEndsIsGivenUp(t *testing.T) {
	r := newRig(t, emulator.Behaviour{})
	page := make([]map[string]any, imagekit.MaxPage)
	for i := range page {
		page[i] = map[string]any{"type": "file", "fileId": fmt.Sprint("f", i), "filePath": fmt.Sprintf("/photos/%d.txt", i), "size": 1}
	}
	text, err := json.Marshal(page)
	check(t, err)
	var asked atomic.Int64
	r.before(func(w http.ResponseWriter, _ *http.Request, _ func()) {
		if asked.Add(1) > 60 { // 60,000 entries, 59,000 of them repeated
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write(text)
	})
	s := uploader.Survey{Client: r.client, Queue: r.q, RootID: r.root.ID, Folder: "/photos"}
	_, err = s.List(t.Context(), "/photos", func([]queue.Found) error { return nil })
	if n := asked.Load(); n > 60 || err == nil {
		t.Errorf("the same page was taken %d times: %v", n-1, err)
	}
}
