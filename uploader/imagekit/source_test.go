package imagekit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestALargeFileIsStreamedWithFlatMemory(t *testing.T) {
	const size = 300 << 20
	var received atomic.Int64
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Body.Read(buf)
			received.Add(int64(n))
			if err != nil {
				break
			}
		}
		io.WriteString(w, goodAnswer)
	})
	c := newClient(t, base)
	if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil { // connects
		t.Fatal(err)
	}
	received.Store(0)
	var sent atomic.Int64
	u := upload(size)
	u.Sent = &sent
	before := allocated()
	if _, err := c.Upload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if grown := allocated() - before; grown > 4<<20 {
		t.Errorf("%d bytes were allocated for %d", grown, size)
	}
	if received.Load() < size || sent.Load() != size {
		t.Errorf("%d of %d bytes were received, %d counted as sent", received.Load(), size, sent.Load())
	}
}

// wholeRequests counts the requests whose body came to its end.
func wholeRequests(t *testing.T) (base string, whole *atomic.Int64) {
	whole = new(atomic.Int64)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			whole.Add(1)
		}
		io.WriteString(w, goodAnswer)
	}), whole
}

// failing gives good bytes, then the error.
func failing(good int64, err error) io.Reader {
	return io.MultiReader(io.LimitReader(zeros{}, good), iotest.ErrReader(err))
}

func TestASourceThatFailsIsItsOwnErrorAndNeverAWholeFile(t *testing.T) {
	errDisk := errors.New("the disk is broken")
	for name, size := range sizes {
		for problem, test := range map[string]struct {
			source io.Reader
			want   error
		}{
			"ends early":               {io.LimitReader(zeros{}, size-1), imagekit.ErrShortSource},
			"ends early with its data": {iotest.DataErrReader(io.LimitReader(zeros{}, size-1)), imagekit.ErrShortSource},
			"is empty":                 {strings.NewReader(""), imagekit.ErrShortSource},
			"fails in the middle":      {failing(size/2, errDisk), errDisk},
			"fails with its last byte": {iotest.DataErrReader(failing(size-1, errDisk)), errDisk},
			"fails at once":            {iotest.ErrReader(errDisk), errDisk},
			"is closed":                {failing(0, os.ErrClosed), os.ErrClosed},
		} {
			t.Run("the source of a "+name+" "+problem, func(t *testing.T) {
				t.Parallel()
				base, whole := wholeRequests(t)
				c := newClient(t, base)
				u := upload(size)
				u.Source = imagekit.FromReader(test.source, size)
				_, err := c.Upload(t.Context(), u)
				var api *imagekit.Error
				if !errors.Is(err, test.want) || errors.As(err, &api) {
					t.Errorf("got %v, want %v and no *Error", err, test.want)
				}
				if err == nil || !strings.Contains(err.Error(), "a.bin") {
					t.Errorf("%v does not name the file", err)
				}
				noSecret(t, err)
				// A good upload on the same client shows that the server is through with the bad one.
				if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil {
					t.Fatal(err)
				}
				if n := whole.Load(); n != 1 {
					t.Errorf("the server took %d broken uploads for whole", n-1)
				}
			})
		}
	}
}

func TestTheEmulatorStoresNothingOfABrokenSource(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	u := upload(1 << 20)
	u.Source = imagekit.FromReader(io.LimitReader(zeros{}, 1<<20-1), 1<<20)
	if _, err := c.Upload(t.Context(), u); !errors.Is(err, imagekit.ErrShortSource) {
		t.Error(err)
	}
	if _, err := c.Upload(t.Context(), bytesUpload("/ok.txt", "x")); err != nil {
		t.Fatal(err)
	}
	if assets := s.Assets(); len(assets) != 1 {
		t.Errorf("stored: %+v", assets)
	}
}

// readCounter counts what is read of an endless source.
type readCounter struct{ n int64 }

func (r *readCounter) Read(p []byte) (int, error) {
	clear(p)
	r.n += int64(len(p))
	return len(p), nil
}

func TestNothingIsReadBeyondTheSize(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	for name, size := range map[string]int64{"nothing": 0, "one byte": 1, "a small file": smallSize, "a large file": 1<<20 + 1} {
		source := new(readCounter)
		u := upload(size)
		u.Source = imagekit.FromReader(source, size)
		asset, err := c.Upload(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		if source.n != size || asset.Size != size || assetAt(t, s, asset.FilePath).Size != size {
			t.Errorf("%s: %d bytes were read, %d stored", name, source.n, asset.Size)
		}
	}
}

func TestASourceThatGivesLittleAtATimeArrivesWhole(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	content := bytes.Repeat([]byte("0123456789"), 5000)
	for name, source := range map[string]io.Reader{
		"one byte":         iotest.OneByteReader(bytes.NewReader(content)),
		"half":             iotest.HalfReader(bytes.NewReader(content)),
		"the end with it":  iotest.DataErrReader(bytes.NewReader(content)),
		"nothing at times": &hesitant{r: bytes.NewReader(content)},
	} {
		u := upload(0)
		u.Source = imagekit.FromReader(source, int64(len(content)))
		if _, err := c.Upload(t.Context(), u); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(contentAt(t, s, "/photos/a.bin"), content) {
			t.Errorf("%s: another content was stored", name)
		}
	}
}

// hesitant gives no bytes and no error with every other call.
type hesitant struct {
	r     io.Reader
	calls int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.calls++; h.calls%2 == 1 {
		return 0, nil
	}
	return h.r.Read(p)
}

// idle never gives a byte.
type idle struct{}

func (idle) Read([]byte) (int, error) { runtime.Gosched(); return 0, nil }

func TestASourceThatGivesNothingForeverIsAStall(t *testing.T) {
	base, whole := wholeRequests(t)
	c := newClient(t, base, func(o *imagekit.Options) { o.Stall = 50 * time.Millisecond })
	u := upload(1 << 20)
	u.Source = imagekit.FromReader(idle{}, 1<<20)
	_, err := c.Upload(t.Context(), u)
	if e := apiError(t, err); e.Class != imagekit.Transient || e.Ambiguous {
		t.Errorf("got %+v", e)
	}
	if whole.Load() != 0 {
		t.Error("the server took it for whole")
	}
}

func TestASizeBelowZeroIsRefused(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1")
	u := upload(-1)
	if _, err := c.Upload(t.Context(), u); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Error(err)
	}
}

// calling runs a function once that many bytes were read.
type calling struct {
	after int64
	call  func()
}

func (c *calling) Read(p []byte) (int, error) {
	if c.after -= int64(len(p)); c.after < 0 && c.call != nil {
		c.call()
		c.call = nil
	}
	clear(p)
	return len(p), nil
}

func TestAnUploadThatItsCallerCancelsIsNoErrorOfImageKit(t *testing.T) {
	// os/signal and the pool cancel with a cause of their own.
	errCause := errors.New("shutting down")
	cancels := map[string]func(context.CancelCauseFunc){
		"without a cause": func(cancel context.CancelCauseFunc) { cancel(nil) },
		"with a cause":    func(cancel context.CancelCauseFunc) { cancel(errCause) },
	}
	for how, cancelWith := range cancels {
		run := func(name string, size int64, handler func(cancel func()) http.HandlerFunc, source func(cancel func()) io.Reader) {
			t.Run(name+", cancelled "+how, func(t *testing.T) {
				ctx, cancelCause := context.WithCancelCause(t.Context())
				defer cancelCause(nil)
				cancel := func() { cancelWith(cancelCause) }
				c := newClient(t, serve(t, handler(cancel)))
				u := upload(size)
				if source != nil {
					u.Source = imagekit.FromReader(source(cancel), size)
				}
				_, err := c.Upload(ctx, u)
				var api *imagekit.Error
				if !errors.Is(err, context.Canceled) || errors.As(err, &api) {
					t.Errorf("got %v (%T), want context.Canceled", err, err)
				}
				noSecret(t, err)
			})
		}
		discard := func(func()) http.HandlerFunc { return drained(200, nil, goodAnswer) }
		run("in the middle of a large file", largeSize, discard, func(cancel func()) io.Reader { return &calling{after: 1 << 20, call: cancel} })
		for name, size := range sizes {
			run("while the answer to a "+name+" is awaited", size, func(cancel func()) http.HandlerFunc {
				return func(_ http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					cancel()
					<-r.Context().Done()
				}
			}, nil)
			run("within the answer to a "+name, size, func(cancel func()) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					io.WriteString(w, goodAnswer[:20])
					http.NewResponseController(w).Flush()
					cancel()
					<-r.Context().Done()
				}
			}, nil)
		}
	}
}

func TestACallersDeadlineIsNoErrorOfImageKit(t *testing.T) {
	c := newClient(t, serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	for name, size := range sizes {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		_, err := c.Upload(ctx, upload(size))
		cancel()
		var api *imagekit.Error
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &api) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsSentWithACancelledContext(t *testing.T) {
	base, whole := wholeRequests(t)
	c := newClient(t, base)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, size := range sizes {
		if _, err := c.Upload(ctx, upload(size)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Find(ctx, "/a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if whole.Load() != 0 {
		t.Error("a request was sent")
	}
}
