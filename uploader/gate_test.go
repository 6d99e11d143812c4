package uploader_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// await waits until what is true.
func await(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !isTrue() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// running is a pool at work, as the daemon's: it ends when it is told to.
type running struct {
	*uploader.Pool
	*rig
	logs *observer.ObservedLogs
	stop func()
}

// run starts a pool that goes on until the test ends or stop is called.
func (r *rig) run(change func(*uploader.Options)) *running {
	r.t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	o := r.options()
	o.Idle, o.MaxAttempts, o.Log = nil, 0, zap.New(core)
	if change != nil {
		change(&o)
	}
	pool := uploader.New(r.db, r.q, o)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run returned %v", err)
		}
	})
	r.t.Cleanup(stop)
	return &running{pool, r, logs, stop}
}

func (p *running) uploaded(n int64) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%d uploads", n), func() bool { return p.Stats().Uploaded >= n })
	if s := p.Stats(); s.Uploaded != n {
		p.t.Errorf("%d uploads, should be %d", s.Uploaded, n)
	}
}

// alerts are what an admin is told of.
func (p *running) alerts() []observer.LoggedEntry {
	return p.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zapcore.WarnLevel }).All()
}

// untouched checks that so many jobs wait and no attempt counts.
func (r *rig) untouched(n int) {
	r.t.Helper()
	var items map[string]queue.Item
	await(r.t, fmt.Sprintf("%d jobs wait", n), func() bool {
		items = r.jobs(queue.Ready)
		maps.Copy(items, r.jobs(queue.Leased)) // one may have changed sides in between
		return len(items) == n
	})
	for name, item := range items {
		if item.Attempts != 0 {
			r.t.Errorf("%s has %d attempts", name, item.Attempts)
		}
	}
}

// door stands before the library and may be shut.
type door struct {
	mu     sync.Mutex
	status int // refuses with it; 0 lets all through
	text   string
	came   []time.Time // uploads, when it was shut or not
	judge  func(w http.ResponseWriter, req *http.Request, serve func()) (done bool)
}

func (d *door) set(status int, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.text = status, text
}

func (d *door) uploads() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]time.Time(nil), d.came...)
}

func (r *rig) behindDoor(status int, text string) *door {
	d := &door{status: status, text: text}
	r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
		if d.judge != nil && d.judge(w, req, serve) {
			return
		}
		d.mu.Lock()
		status, text := d.status, d.text
		if strings.HasSuffix(req.URL.Path, "/upload") {
			d.came = append(d.came, time.Now())
		}
		d.mu.Unlock()
		if status == 0 {
			serve()
			return
		}
		w.Header().Set("x-ik-requestId", "r-1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q}`, text)
	})
	return d
}

func (r *rig) writeMany(n int) {
	r.t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%d.txt", i))
		r.write(names[i], names[i])
	}
	r.enqueue(names...)
}

var refusals = map[string]struct {
	status int
	text   string
	class  imagekit.Class
}{
	"a key that nobody knows":  {401, "Your account cannot be authenticated.", imagekit.Credentials},
	"a key that may not":       {403, "Your private API key is invalid.", imagekit.Credentials},
	"an account that is full":  {403, "Your account has exceeded its upload limit.", imagekit.Account},
	"a month's limit of bytes": {400, "Upload Limit Exceeded.", imagekit.Account},
}

// While the account or the key is refused, one upload is tried now and then, no
// file is blamed, one alert is logged, and all goes on by itself.
func TestARefusalOfAllFilesPausesAllOfThem(t *testing.T) {
	t.Parallel()
	const files, workers, probe = 40, 4, 150 * time.Millisecond
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			d := r.behindDoor(refusal.status, refusal.text)
			r.writeMany(files)
			began := time.Now()
			p := r.run(func(o *uploader.Options) { o.Workers, o.Probe = workers, probe })
			await(t, "some probes", func() bool { return len(d.uploads()) >= workers+3 })
			b := p.Stats().Breaker
			switch {
			case b == nil:
				t.Fatal("no breaker")
			case b.Class != refusal.class || !strings.Contains(b.Reason, refusal.text) || b.RequestID != "r-1":
				t.Errorf("the breaker says %+v", b)
			case b.Since.Before(began) || b.Since.After(time.Now().Add(-2*probe)) || b.Next.Before(b.Since.Add(probe)) || b.Next.After(time.Now().Add(probe)):
				t.Errorf("since %s, next %s, now %s", b.Since, b.Next, time.Now())
			}
			r.untouched(files)
			d.set(0, "")
			p.uploaded(files)
			if b := p.Stats().Breaker; b != nil {
				t.Errorf("the breaker still says %+v", b)
			}
			came := d.uploads()
			close := 0 // of the first, each worker may have one on its way
			for i := 1; i < len(came) && came[i].Sub(came[i-1]) < probe; i++ {
				close++
			}
			if close >= workers {
				t.Errorf("%d uploads were tried at once by %d workers", close+1, workers)
			}
			for i := close + 1; i < workers+3; i++ {
				if gap := came[i].Sub(came[i-1]); gap < probe {
					t.Errorf("upload %d came %s after the one before", i, gap)
				}
			}
			if a := p.alerts(); len(a) != 1 || a[0].Level != zap.ErrorLevel {
				t.Errorf("alerts %v", a)
			}
			if n := p.logs.FilterMessageSnippet("uploads go on").Len(); n != 1 {
				t.Errorf("it was said %d times that uploads go on", n)
			}
			if s := p.Stats(); s.Failed+s.Retries != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// A pool that is to end some day ends with the refusal, and keeps the jobs.
func TestARefusalOfAllFilesEndsARunThatIsToEnd(t *testing.T) {
	t.Parallel()
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			d := r.behindDoor(refusal.status, refusal.text)
			r.writeMany(40)
			err := uploader.New(r.db, r.q, r.options()).Run(t.Context())
			var api *imagekit.Error
			if !errors.As(err, &api) || api.Class != refusal.class || api.Message != refusal.text {
				t.Errorf("Run returned %v", err)
			}
			if n := len(d.uploads()); n > 4 {
				t.Errorf("%d requests of 4 workers", n)
			}
			r.untouched(40)
		})
	}
}

// away gives the address of a server that does not listen, and lets it.
func (r *rig) away() (appear func()) {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	address := l.Addr().String()
	check(r.t, l.Close())
	r.client = newClient(r.t, "http://"+address)
	return func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			r.t.Skipf("another process has the port by now: %v", err)
		}
		web := httptest.NewUnstartedServer(r.server)
		check(r.t, web.Listener.Close())
		web.Listener = l
		web.Start()
		r.t.Cleanup(web.Close)
	}
}

func TestWithoutAConnectionAllUploadsWait(t *testing.T) {
	t.Parallel()
	const files, workers = 40, 8
	r := newRig(t, emulator.Behaviour{})
	appear := r.away()
	r.writeMany(files)
	p := r.run(func(o *uploader.Options) { o.Workers = workers })
	await(t, "the second try", func() bool {
		b := p.Stats().Breaker
		return b != nil && b.Next.Sub(b.Since) > time.Second/10 && p.Stats().Requests > workers
	})
	b := p.Stats().Breaker
	if b.Class != imagekit.Offline || b.Reason == "" || b.Since.IsZero() || b.Next.IsZero() {
		t.Errorf("the breaker says %+v", b)
	}
	r.untouched(files)
	if n := p.Stats().Requests; n > workers+3 {
		t.Errorf("%d requests", n)
	}
	appear()
	p.uploaded(files)
	if a := p.alerts(); len(a) != 1 || a[0].Level != zap.WarnLevel {
		t.Errorf("alerts %v", a)
	}
	if b := p.Stats().Breaker; b != nil {
		t.Errorf("the breaker still says %+v", b)
	}
}

// An answer about one file shows that the account and the key are accepted.
func TestAProbeWhoseFileIsRefusedLetsTheOthersGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(401, "no")
	var bad atomic.Bool
	d.judge = func(w http.ResponseWriter, _ *http.Request, _ func()) bool {
		if !bad.CompareAndSwap(true, false) {
			return false
		}
		d.set(0, "")
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"message":"Your request contains invalid file parameter."}`))
		return true
	}
	r.writeMany(10)
	p := r.run(func(o *uploader.Options) { o.Probe = 50 * time.Millisecond })
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	bad.Store(true)
	p.uploaded(9)
	if s := p.Stats(); s.Failed != 1 || s.Breaker != nil {
		t.Errorf("stats %+v", s)
	}
}

func TestAProbeWhoseFileIsGoneIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(403, "no")
	r.writeMany(10)
	p := r.run(func(o *uploader.Options) { o.Probe = 50 * time.Millisecond })
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	for i := range 9 {
		check(t, os.Remove(filepath.Join(r.dir, fmt.Sprintf("%d.txt", i))))
	}
	await(t, "all that are gone have been looked at", func() bool { return p.Stats().Vanished == 9 })
	d.set(0, "")
	p.uploaded(1)
}

// held lets a big upload of big.mp4 wait with its answer until it is let go; small
// ones go on to the door.
func (d *door) hold() (arrived <-chan struct{}, let func()) {
	came, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.judge = func(_ http.ResponseWriter, req *http.Request, serve func()) bool {
		if req.ContentLength < 1<<20 {
			return false
		}
		once.Do(func() { close(came) })
		<-free
		serve()
		return true
	}
	return came, sync.OnceFunc(func() { close(free) })
}

func TestAnUploadOnItsWayIsFinishedWhileAllOthersWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	d := r.behindDoor(0, "")
	arrived, let := d.hold()
	r.write("big.mp4", strings.Repeat("v", 3<<20))
	r.enqueue("big.mp4")
	p := r.run(func(o *uploader.Options) { o.Probe = 100 * time.Millisecond })
	t.Cleanup(let)
	<-arrived
	d.set(403, "Your account has exceeded its upload limit.")
	r.writeMany(20)
	await(t, "the breaker", func() bool { return p.Stats().Breaker != nil })
	let()
	await(t, "the big one", func() bool { return r.record("big.mp4") != nil })
	d.set(0, "")
	p.uploaded(21)
	if s := p.Stats(); s.Failed+s.Retries != 0 {
		t.Errorf("stats %+v", s)
	}
}
