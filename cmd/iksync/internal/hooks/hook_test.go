package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"iksync/uploader"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// told runs a hook that posts to a handler; note tells it of uploads, and end returns
// once it has heard all.
func told(t *testing.T, handler http.HandlerFunc, kinds ...string) (hook *Told, note func(kind string, n int), end func()) {
	t.Helper()
	server := httptest.NewServer(handler)
	out := uploader.NewOutbox()
	hook = &Told{Hook: Hook{URL: server.URL, Kinds: kinds, Timeout: time.Minute, Name: "test"}}
	r := &Runner{Outbox: out, Root: func(int64) string { return "/p" }, Log: zap.NewNop()}
	ending, done := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	from := out.Begin()
	go func() {
		defer close(done)
		r.Run(ctx, ending, hook, from)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		server.Close()
	})
	n := 0
	note = func(kind string, more int) {
		for range more {
			out.Note(uploader.Outcome{Kind: kind, RootID: 1, Path: fmt.Sprint(n)})
			n++
		}
	}
	return hook, note, func() {
		close(ending)
		<-done
	}
}

func eventsOf(t *testing.T, r *http.Request) []Event {
	t.Helper()
	var got struct{ Events []Event }
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		t.Error(err)
	}
	return got.Events
}

// Who notes an event waits for no receiver, however many there are: what a receiver is
// too slow for it misses, and is told how much.
func TestAHookThatIsTooSlowIsToldWhatItMissed(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var got, missed int
	first := true
	hook, note, end := told(t, func(w http.ResponseWriter, r *http.Request) {
		for _, e := range eventsOf(t, r) {
			got, missed = got+1, missed+int(e.Missed)
		}
		if first {
			first = false
			close(asked)
			<-answer
		}
	})
	const many = 50_000
	note(uploader.Uploaded, 1)
	<-asked
	note(uploader.Uploaded, many)
	close(answer)
	end()
	if missed == 0 || got+missed != many+1 {
		t.Errorf("%d were told, %d missed, there were %d", got, missed, many+1)
	}
	if s := hook.Stats(); s.Sent != int64(got) || s.Discarded != int64(missed) || s.Failed != 0 {
		t.Errorf("counted are %+v", s)
	}
}

// What a receiver has refused it is told of with the next events, also when those in
// between are none that it wants.
func TestAHookThatRefusesIsToldWhatItMissed(t *testing.T) {
	refused := make(chan struct{}, 1)
	var missed uint64
	n := 0
	hook, note, end := told(t, func(w http.ResponseWriter, r *http.Request) {
		events := eventsOf(t, r)
		if n++; n == 1 {
			w.WriteHeader(http.StatusBadRequest)
			refused <- struct{}{}
			return
		}
		missed += events[0].Missed
	}, uploader.Uploaded)
	note(uploader.Uploaded, 1)
	<-refused
	note(uploader.Failed, 250)
	note(uploader.Uploaded, 1)
	end()
	if s := hook.Stats(); missed != 1 || n != 2 || s.Sent != 1 || s.Failed != 1 {
		t.Errorf("%d are told to be missed with %d requests; %+v", missed, n, s)
	}
}

// A receiver that is away for a moment gets everything, once.
func TestAHookThatIsAwayIsToldAgain(t *testing.T) {
	n, got := 0, 0
	hook, note, end := told(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got += len(eventsOf(t, r))
	})
	note(uploader.Uploaded, 3)
	end()
	if s := hook.Stats(); got != 3 || s.Sent != 3 || s.Failed != 0 {
		t.Errorf("%d events are told with %d requests; %+v", got, n, s)
	}
}
