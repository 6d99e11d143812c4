package uploader

import (
	"math/rand/v2"
	"sync"
	"time"

	"iksync/uploader/imagekit"
)

const (
	firstPause = time.Second
	longPause  = time.Minute
	// maxOffline is how many pauses in a row end a run that is to end some day.
	maxOffline = 8
)

// Breaker is why all uploads wait: no file is at fault, and no attempt counts.
type Breaker struct {
	Class     imagekit.Class // Account, Credentials or Offline
	Reason    string         // ImageKit's, or ours
	RequestID string         // ImageKit's; "" when there is none
	Since     time.Time
	Next      time.Time // when the next upload is tried
}

// gate is the circuit breaker of the account, and holds back all claims while
// ImageKit asks for it. Once a pause of the breaker is over one job at a time is
// tried, until one shows that all may go on. The zero value is open.
type gate struct {
	mu      sync.Mutex
	until   time.Time
	broken  *Breaker // nil while nothing is wrong with the account, the key or the way to ImageKit
	probe   int64    // the job that is tried while it is broken; 0 when none is
	offline int      // pauses in a row without an answer from ImageKit
}

// closedFor returns how long to wait before the next claim; 0 or less is open.
func (g *gate) closedFor(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until.Sub(now)
}

// room returns how many of n jobs may be claimed: one at a time while something is
// wrong.
func (g *gate) room(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.broken == nil:
		return n
	case g.probe != 0:
		return 0
	}
	return min(n, 1)
}

// claimed notes a job that was claimed.
func (g *gate) claimed(job int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		g.probe = job
	}
}

// ended notes that a job was worked on.
func (g *gate) ended(job int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probe == job {
		g.probe = 0
	}
}

// state returns why all uploads wait; nil when they don't.
func (g *gate) state() *Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken == nil {
		return nil
	}
	b := *g.broken
	b.Next = g.until
	return &b
}

// pause closes the gate for at least d.
func (g *gate) pause(now time.Time, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(d); until.After(g.until) {
		g.until = until
	}
}

// trip notes that nothing can be uploaded before a time, and why; it reports
// whether that is news.
func (g *gate) trip(now, until time.Time, e *imagekit.Error) (news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
	return g.note(now, e)
}

func (g *gate) note(now time.Time, e *imagekit.Error) (news bool) {
	if g.broken != nil && g.broken.Class == e.Class {
		g.broken.Reason, g.broken.RequestID = reason(e), e.RequestID
		return false
	}
	g.broken = &Breaker{Class: e.Class, Reason: reason(e), RequestID: e.RequestID, Since: now}
	return true
}

// unreachable notes that no connection could be made and closes the gate, longer
// each time. It returns how many times in a row that has been; 0 for workers that
// failed while it was closed already: they add nothing.
func (g *gate) unreachable(now time.Time, e *imagekit.Error) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.until) {
		return 0
	}
	g.until = now.Add(backoff(g.offline, firstPause, longPause))
	g.offline++
	g.note(now, e)
	return g.offline
}

// reached notes an answer to what began at a time. sound is one that shows that the
// account and the key are accepted. It returns what is over with that; nil when nothing was wrong.
func (g *gate) reached(sound bool, began time.Time) *Breaker {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.offline = 0
	before := g.broken
	if before == nil || before.Class != imagekit.Offline && (!sound || began.Before(before.Since)) {
		return nil
	}
	g.broken = nil
	return before
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
