package uploader_test

import (
	"encoding/json"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
)

// TestAnAcceptedFileThatIsGivenBackIsNotSentAgain: its root is paused between the claim
// and the attempt, as it may be whenever jobs are claimed ahead.
func TestAnAcceptedFileThatIsGivenBackIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.params.Transformation = json.RawMessage(`{"pre": "w-300"}`)
	r.write("a.mp4", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom")
	r.enqueue("a.mp4")
	var halted, given atomic.Bool
	o := r.options()
	o.Roots[0].Halted = func() bool {
		item, leased := r.jobs(queue.Leased)["a.mp4"]
		if !leased && halted.Load() {
			given.Store(true)
		}
		if given.Load() || !leased || item.Class != "accepted" {
			return false
		}
		halted.Store(true)
		return true
	}
	o.MaxAttempts = 0
	pool := uploader.New(r.db, r.q, o)
	check(t, pool.Run(t.Context()))
	if !given.Load() {
		t.Fatal("its job was not given back")
	}
	if n := r.server.Stats().Requests["upload"]; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	if f := r.record("a.mp4"); f == nil || f.FileID == "" {
		t.Errorf("its record is %+v", f)
	}
}
