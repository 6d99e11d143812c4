package imagekit

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits keep the calls of the management API within what ImageKit allows: its
// limits are of an account and, once exceeded, of one endpoint.
type limits struct {
	reads, writes *rate.Limiter

	mu     sync.Mutex
	closed map[string]time.Time // until when ImageKit takes no call of an endpoint
}

func newLimits(reads, writes float64) *limits {
	return &limits{reads: newLimiter(reads), writes: newLimiter(writes), closed: make(map[string]time.Time)}
}

// newLimiter lets a moment's work through at once: short bursts of four times
// the lasting rate are said to be allowed.
func newLimiter(perSecond float64) *rate.Limiter {
	if perSecond < 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(max(1, 4*perSecond), 1e6)))
}

// wait waits until a call may be made. It ends early, with ctx's error, when ctx
// does.
func (l *limits) wait(ctx context.Context, method, endpoint string) error {
	limiter := l.writes
	if method == http.MethodGet {
		limiter = l.reads
	}
	// The endpoint comes first, so that those who wait for it go on at the
	// limiter's pace and not all at once; and again afterwards, since it may
	// have been closed while the limiter was waited for.
	for {
		if err := sleep(ctx, l.closedFor(endpoint)); err != nil {
			return err
		}
		turn := limiter.Reserve()
		if err := sleep(ctx, turn.Delay()); err != nil {
			turn.Cancel()
			return err
		}
		if l.closedFor(endpoint) <= 0 {
			return nil
		}
	}
}

// close keeps all calls of an endpoint back for a while.
func (l *limits) close(endpoint string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(d); until.After(l.closed[endpoint]) {
		l.closed[endpoint] = until
	}
}

func (l *limits) closedFor(endpoint string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, found := l.closed[endpoint]
	if !found {
		return 0
	}
	left := time.Until(until)
	if left <= 0 {
		delete(l.closed, endpoint)
	}
	return left
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
