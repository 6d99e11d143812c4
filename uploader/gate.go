package uploader

import (
	"iksync/uploader/imagekit"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstPause = time.Second
	longPause  = time.Minute
	// maxOffline is how many pauses in a row end a run that is to end some day.
	maxOffline = 8
)

// gate holds back all claims for a while: ImageKit asked for it, or can't be
// reached. The zero value is open.
type gate struct {
	mu      sync.Mutex
	until   time.Time
	offline int // pauses in a row without an answer from ImageKit
}

// closedFor returns how long to wait before the next claim; 0 or less is open.
func (g *gate) closedFor(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until.Sub(now)
}

// pause closes the gate for at least d.
func (g *gate) pause(now time.Time, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(d); until.After(g.until) {
		g.until = until
	}
}

// unreachable notes that no connection could be made and closes the gate, longer
// each time. Workers that failed while it was closed already add nothing. It
// returns how many times in a row that has been.
func (g *gate) unreachable(now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.until) {
		return g.offline
	}
	g.until = now.Add(backoff(g.offline, firstPause, longPause))
	g.offline++
	return g.offline
}

// reached notes an answer, of whatever kind, and reports whether there was none
// before.
func (g *gate) reached() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.offline
	g.offline = 0
	return before > 0
}

// askAgain is how long to wait after the n-th answer in a row that was an error:
// as long as ImageKit says, where it does, and a little more each time.
func askAgain(e *imagekit.Error, n int) time.Duration {
	if e.RetryAfter > 0 {
		return e.RetryAfter + backoff(n, firstRetry, 4*firstRetry)
	}
	return backoff(n, firstRetry, longPause)
}

// backoff is full jitter: a random time up to first doubled n times, longest at
// most, and a tenth of it at least.
func backoff(n int, first, longest time.Duration) time.Duration {
	ceiling := longest
	if n < 20 {
		ceiling = min(first<<n, longest)
	}
	return max(rand.N(ceiling), ceiling/10)
}
