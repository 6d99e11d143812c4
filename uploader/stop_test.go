package uploader_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
)

func TestInterruptedUploadsGoBackToTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	arrived := make(chan struct{}, 100)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done() // answers never
	}))
	defer web.Close()
	r.client = newClient(t, web.URL)
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("%d.txt", i))
		r.write(names[i], "x")
	}
	r.enqueue(names...)
	ctx, cancel := context.WithCancel(t.Context())
	pool := uploader.New(r.db, r.q, r.options())
	ended := make(chan error)
	go func() { ended <- pool.Run(ctx) }()
	for range 4 {
		<-arrived
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	ready := r.jobs(queue.Ready)
	if len(ready) != 50 || len(r.jobs(queue.Leased)) != 0 {
		t.Fatalf("%d jobs are ready, %d leased", len(ready), len(r.jobs(queue.Leased)))
	}
	for _, item := range ready {
		if item.Attempts != 0 {
			t.Errorf("%s has %d attempts", item.Path, item.Attempts)
		}
	}
}

func TestUploadsInFlightMayFinishWithinTheGrace(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	arrived, release := make(chan struct{}), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		<-release
		r.server.ServeHTTP(w, req)
	}))
	defer web.Close()
	r.client = newClient(t, web.URL)
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	o := r.options()
	o.Grace = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	pool := uploader.New(r.db, r.q, o)
	go func() { ended <- pool.Run(ctx) }()
	<-arrived
	cancel()
	close(release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if r.record("a.txt") == nil {
		t.Error("the upload in flight was not recorded")
	}
}

func TestAFailingStateFileStopsThePool(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.write("a.txt", "a")
	r.enqueue("a.txt")
	pool := uploader.New(r.db, r.q, r.options())
	check(t, r.db.Close())
	if err := pool.Run(t.Context()); !errors.Is(err, state.ErrClosed) {
		t.Fatalf("Run returned %v", err)
	}
}
