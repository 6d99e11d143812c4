package uploader

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// round fills the window, lets a moment pass and ends all of them.
func (w *window) round(overloaded int) {
	time.Sleep(time.Millisecond)
	var began []time.Time
	for range w.limit() {
		w.enter()
		began = append(began, time.Now())
	}
	time.Sleep(time.Second)
	for i, b := range began {
		w.leave(b, i < overloaded)
	}
}

func TestTheWindowHalvesOncePerRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(16)
		w.round(0)
		if got := w.limit(); got != 16 {
			t.Errorf("%d, of 16 workers", got)
		}
		for _, n := range []int{8, 4, 2, 1, 1, 1} {
			w.round(w.limit())
			if got := w.limit(); got != n {
				t.Errorf("all of a round failed: %d, should be %d", got, n)
			}
		}
		w.size = 16
		w.round(1)
		if got := w.limit(); got < 8 || got > 10 {
			t.Errorf("%d after one of 16 failed", got)
		}
	})
}

func TestTheWindowGrowsByOnePerRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 16
		w := newWindow(workers)
		w.size = 1
		stop := make(chan struct{})
		var group sync.WaitGroup
		for i := range workers {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					w.enter()
					began := time.Now()
					time.Sleep(time.Second + time.Duration(i)*time.Millisecond)
					w.leave(began, false)
				}
			})
		}
		rounds := 0
		for before := 1; before < workers; rounds++ {
			time.Sleep(time.Second)
			got := w.limit()
			if got > before+2 || rounds > 3*workers {
				t.Errorf("after %d s it grew from %d to %d", rounds, before, got)
				break
			}
			before = got
		}
		if rounds < workers-2 {
			t.Errorf("from 1 to %d in %d rounds", workers, rounds)
		}
		time.Sleep(time.Minute)
		if got := w.limit(); got != workers {
			t.Errorf("%d, of %d workers", got, workers)
		}
		close(stop)
		group.Wait()
		t.Logf("from 1 to %d in %d rounds", workers, rounds)
	})
}

func TestFailuresOfUploadsThatBeganBeforeTheCutDontCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(16)
		var old []time.Time
		for range 16 {
			w.enter()
			old = append(old, time.Now())
		}
		for _, began := range old {
			time.Sleep(time.Second) // they fail one after the other
			w.leave(began, true)
		}
		if got := w.limit(); got != 8 {
			t.Errorf("%d after 16 of one round failed, should be 8", got)
		}
		w.enter()
		began := time.Now()
		time.Sleep(time.Second)
		w.leave(began, true)
		if got := w.limit(); got != 4 {
			t.Errorf("%d after one of the next round failed, should be 4", got)
		}
	})
}

func TestAWindowThatIsNotUsedDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(16)
		w.size = 8
		for range 100 {
			w.enter()
			began := time.Now()
			time.Sleep(time.Second)
			w.leave(began, false)
		}
		if got := w.limit(); got != 8 {
			t.Errorf("one at a time went well, which shows nothing about %d", got)
		}
	})
}

func TestNoOneWaitsForAWindowThatHasRoom(t *testing.T) {
	t.Parallel()
	const workers, each = 64, 300
	w := newWindow(workers)
	var busy, most, over atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				w.enter()
				now := busy.Add(1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				if now > workers {
					over.Add(1)
				}
				began := time.Now()
				busy.Add(-1)
				w.leave(began, rand.N(20) == 0)
			}
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("a wake-up was lost: %d are in, the window is %d", busy.Load(), w.limit())
	}
	if over.Load() > 0 || w.busy != 0 || w.size < 1 || w.size > workers {
		t.Errorf("%d at most, %d times too many, %d left, window %v", most.Load(), over.Load(), w.busy, w.size)
	}
}

// All those that wait get in when the window is at one, and one at a time.
func TestAWindowOfOneLetsAllThroughOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(32)
		w.size = 1
		var in, done atomic.Int64
		for range 32 {
			go func() {
				w.enter()
				if n := in.Add(1); n != 1 {
					t.Errorf("%d at once", n)
				}
				began := time.Now()
				time.Sleep(time.Second)
				in.Add(-1)
				w.leave(began, true)
				done.Add(1)
			}()
		}
		time.Sleep(33 * time.Second)
		if done.Load() != 32 {
			t.Errorf("%d of 32 were let through", done.Load())
		}
	})
}
