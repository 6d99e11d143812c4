package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iksync/uploader/emulator"
)

// server is an emulator that keeps no content, and tells when uploads arrive.
type server struct {
	*emulator.Server
	base    string       // "http://127.0.0.1:4711"
	first   atomic.Int64 // when the first upload arrived, unix ns
	awaits  atomic.Bool  // arrivals are told
	arrived chan arrival
	moving  atomic.Int64 // how long the last folder took to be renamed, ns: nobody else is answered meanwhile
	close   func() error
}

// arrival is the request for a file that somebody waits for.
type arrival struct {
	name string
	at   time.Time
}

// awaitedName is what files are called whose requests are told; others are many.
var awaitedName = regexp.MustCompile(`awaited-[0-9]+\.jpg`)

// startServer starts an emulator whose uploads each take latency at least.
func startServer(o emulator.Options, latency time.Duration) (*server, error) {
	o.Discard = true
	o.Behaviour.ListingLag = emulator.NoLag // what is measured is iksync's own time
	e, err := emulator.New(o)
	if err != nil {
		return nil, err
	}
	if latency > 0 {
		e.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Latency: emulator.Duration(latency)}}})
	}
	s := &server{Server: e, arrived: make(chan arrival, 1024)}
	base, end, err := serve(http.HandlerFunc(s.handle))
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	s.base, s.close = base, sync.OnceValue(func() error { return errors.Join(end(), e.Close()) })
	return s, nil
}

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/upload") {
		at := time.Now()
		s.first.CompareAndSwap(0, at.UnixNano())
		if s.awaits.Load() {
			s.tell(r, at)
		}
	}
	if strings.HasSuffix(r.URL.Path, "/renameFolder") {
		began := time.Now()
		defer func() { s.moving.Store(int64(time.Since(began))) }()
	}
	s.ServeHTTP(w, r)
}

// tell tells of an upload if it is one that somebody waits for.
func (s *server) tell(r *http.Request, at time.Time) {
	head := make([]byte, 4096)
	n, err := r.Body.Read(head) // the name is among the first fields
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failing{err}
	}
	if name := awaitedName.Find(head[:n]); name != nil {
		select {
		case s.arrived <- arrival{string(name), at}:
		default: // nobody waits any more
		}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head[:n]), rest), r.Body}
}

// failing is a reader that only fails.
type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// requests is how many have come so far.
func (s *server) requests() (n int64) {
	for _, v := range s.Stats().Requests {
		n += v
	}
	return n
}

// serve answers on an address of its own until end is called.
func serve(h http.Handler) (base string, end func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	web := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	end = func() error {
		err := web.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}
	return "http://" + listener.Addr().String(), end, nil
}
