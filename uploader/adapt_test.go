package uploader_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iksync/uploader"
	"iksync/uploader/emulator"
)

// The window follows what the library bears, and all is uploaded.
func TestTheWindowFollowsWhatTheLibraryBears(t *testing.T) {
	t.Parallel()
	const files, workers = 300, 16
	for name, c := range map[string]struct {
		status int
		busy   int32 // as many at once are borne
	}{
		"503 for a while":         {503, 0},
		"429 for a while":         {429, 0},
		"504 above five at once":  {504, 5},
		"429 above three at once": {429, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			var inside, refused atomic.Int32
			var sick atomic.Bool
			sick.Store(true)
			r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
				n := inside.Add(1)
				defer inside.Add(-1)
				if sick.Load() && n > c.busy && refused.Add(1) > 0 {
					_, _ = io.Copy(io.Discard, req.Body)
					w.Header().Set("X-RateLimit-Reset", "10")
					w.WriteHeader(c.status)
					return
				}
				wait := 2 * time.Millisecond
				if sick.Load() { // so that more are there at once, also on a slow machine
					wait = 100 * time.Millisecond
				}
				<-time.After(wait)
				serve()
			})
			r.writeMany(files)
			p := r.run(func(o *uploader.Options) { o.Workers = workers })
			if n := p.Stats().Window; n != workers {
				t.Errorf("the window begins with %d", n)
			}
			await(t, "the window to shrink", func() bool { return p.Stats().Window <= max(workers/4, int(c.busy)) })
			if p.Stats().Breaker != nil {
				t.Error("the breaker is open for what passes")
			}
			sick.Store(false)
			p.uploaded(files)
			if n := p.Stats().Window; n < 6 {
				t.Errorf("the window is %d after %d uploads went well", n, files)
			}
			if s := p.Stats(); s.Failed > 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// What concerns one file, or all of them whatever they are, is no overload.
func TestTheWindowStaysAsItIsForWhatIsNoOverload(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(400, "Your request contains invalid file parameter.")
	r.writeMany(20)
	p := r.run(nil)
	await(t, "the refusals", func() bool { return p.Stats().Failed == 20 })
	d.set(401, "no")
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	if n := p.Stats().Window; n != 4 {
		t.Errorf("the window is %d", n)
	}
}

// A reload changes the bandwidth of what is on its way, and cuts nothing.
func TestAChangeOfTheBandwidthCutsNoUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	b := uploader.NewBandwidth(uploader.Rates{Else: 400_000})
	var names []string
	for _, name := range []string{"a.mp4", "b.mp4", "c.mp4", "d.mp4"} {
		r.write(name, strings.Repeat(name, 1<<19))
		names = append(names, name)
	}
	r.enqueue(names...)
	p := r.run(func(o *uploader.Options) { o.Bandwidth = b })
	sent := func(n int64) {
		await(t, "bytes are sent", func() bool { return p.Stats().Sent >= n })
	}
	sent(50_000)
	if s := p.Stats(); s.Sent > 1_000_000 {
		t.Errorf("%d bytes were sent at once", s.Sent)
	}
	for _, rate := range []int64{1_000_000, 20_000, 300_000} {
		before := p.Stats().Sent
		b.Set(uploader.Rates{Else: rate})
		sent(before + 20_000)
	}
	if s := p.Stats(); s.Uploaded > 0 {
		t.Errorf("stats %+v", s)
	}
	b.Set(uploader.Rates{})
	p.uploaded(4)
	s := p.Stats()
	if s.Retries+s.Failed+s.Changed > 0 || s.Requests != 4 || s.Sent != 4*5<<19 {
		t.Errorf("stats %+v", s)
	}
	for _, name := range names {
		if r.content("/photos/"+name) != strings.Repeat(name, 1<<19) {
			t.Errorf("%s is another in the library", name)
		}
	}
}
