//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"iksync/uploader/emulator"
)

// library is the ImageKit of a script: an emulator whose uploads can be waited
// for and kept waiting.
type library struct {
	server *emulator.Server
	http   *httptest.Server

	mu      sync.Mutex
	changed *sync.Cond
	came    int // uploads so far
	inside  int // of those, that are not answered yet
	mark    int // of those, when await and received began to count
	passing int // uploads that may pass; negative is all
}

func newLibrary(o emulator.Options) (*library, error) {
	server, err := emulator.New(o)
	if err != nil {
		return nil, err
	}
	l := &library{server: server, passing: -1}
	l.changed = sync.NewCond(&l.mu)
	l.http = httptest.NewServer(l)
	return l, nil
}

// ServeHTTP lets the emulator answer, uploads when they may pass.
func (l *library) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/upload") {
		l.mu.Lock()
		l.came++
		l.inside++
		defer l.answered()
		l.changed.Broadcast()
		for l.passing == 0 {
			l.changed.Wait()
		}
		if l.passing > 0 {
			l.passing--
		}
		l.mu.Unlock()
	}
	l.server.ServeHTTP(w, r)
}

func (l *library) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
	l.changed.Broadcast()
}

// rests waits until all uploads that came are answered, also those whose sender is gone.
func (l *library) rests() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.inside > 0 {
		l.changed.Wait()
	}
}

func (l *library) hold(pass int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passing, l.mark = pass, l.came
}

func (l *library) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passing = -1
	l.changed.Broadcast()
}

func (l *library) await(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.came-l.mark < n {
		l.changed.Wait()
	}
}

func (l *library) received() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.came - l.mark
	l.mark = l.came
	return n
}

func (l *library) close() {
	l.release()
	l.http.Close()
	_ = l.server.Close() // it kept everything in memory
}
