package uploader

import (
	"context"
	"io"
	"sync"
	"time"
)

// Rates says how many bytes a second may be sent, by the time of day. The zero
// value is no limit.
type Rates struct {
	Periods []Period
	Else    int64 // bytes a second outside of them; 0 is no limit
}

// Period is a time of the day, local time: from From until To since midnight, past
// midnight when To is not after From.
type Period struct {
	From, To time.Duration
	Rate     int64 // bytes a second; 0 is no limit
}

// At returns the bytes a second at a time; 0 is no limit.
func (r *Rates) At(t time.Time) int64 {
	of := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	for _, p := range r.Periods {
		if in := p.From <= of && of < p.To; in || p.To <= p.From && (p.From <= of || of < p.To) {
			return p.Rate
		}
	}
	return r.Else
}

// Bandwidth limits what all uploads together send. Make it with NewBandwidth. It
// may be changed while they are on their way.
type Bandwidth struct {
	mu      sync.Mutex
	rates   Rates
	now     int64         // bytes a second; 0 is no limit
	next    time.Time     // when all that was read is sent at that rate
	changed chan struct{} // closed when that rate is another
}

// NewBandwidth returns a limit.
func NewBandwidth(r Rates) *Bandwidth {
	b := &Bandwidth{changed: make(chan struct{})}
	b.Set(r)
	return b
}

// Set changes the limit, also for uploads that are on their way.
func (b *Bandwidth) Set(r Rates) {
	b.mu.Lock()
	b.rates = r
	b.mu.Unlock()
	b.Rate()
}

// A limited upload is read in pieces of some hundredths of a second, so that the
// rate holds over any second and every upload has its turn.
const (
	minPiece, maxPiece = 512, 64 << 10
	piecesPerSecond    = 50
)

// Rate returns the bytes a second that may be sent now; 0 is no limit.
func (b *Bandwidth) Rate() int64 {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if want := b.rates.At(now); want != b.now {
		// What waits has been read at the rate that was: it goes at once. At a slow
		// one it would hold all uploads up for so long that they count as stalled.
		b.now, b.next = want, now
		close(b.changed)
		b.changed = make(chan struct{})
	}
	return b.now
}

// turn is when n bytes that were read at a rate may be sent; changed is closed when
// they need not wait for it. The zero time is at once.
func (b *Bandwidth) turn(n int, limit int64) (at time.Time, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != limit {
		return time.Time{}, nil
	}
	// Who comes a little late has not lost that time.
	if late := time.Now().Add(-time.Second / piecesPerSecond); b.next.Before(late) {
		b.next = late
	}
	b.next = b.next.Add(time.Duration(n) * time.Second / time.Duration(limit))
	return b.next, b.changed
}

// throttled reads no faster than b allows.
type throttled struct {
	ctx context.Context
	r   io.Reader
	b   *Bandwidth
}

// Read reads a piece, and returns once it may be sent.
func (t *throttled) Read(p []byte) (int, error) {
	limit := t.b.Rate()
	if limit == 0 {
		return t.r.Read(p)
	}
	n, err := t.r.Read(p[:min(len(p), piece(limit))])
	at, changed := t.b.turn(n, limit)
	wait := time.Until(at)
	if wait <= 0 {
		return n, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	}
	return n, err
}

// piece is how much is read at once at so many bytes a second.
func piece(limit int64) int {
	return int(min(max(limit/piecesPerSecond, minPiece), maxPiece))
}
