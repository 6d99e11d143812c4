package uploader

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
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
	limiter *rate.Limiter

	mu    sync.Mutex
	rates Rates
	now   int64 // what the limiter is set to; 0 is no limit
}

// NewBandwidth returns a limit.
func NewBandwidth(r Rates) *Bandwidth {
	b := &Bandwidth{limiter: rate.NewLimiter(rate.Inf, maxPiece)}
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
		b.now = want
		limit := rate.Inf
		if want > 0 {
			limit = rate.Limit(want)
			b.limiter.SetBurstAt(now, piece(want))
		}
		b.limiter.SetLimitAt(now, limit)
	}
	return b.now
}

// throttled reads no faster than b allows.
type throttled struct {
	ctx context.Context
	r   io.Reader
	b   *Bandwidth
}

// Read reads a piece, once it may be sent.
func (t *throttled) Read(p []byte) (int, error) {
	limit := t.b.Rate()
	if limit == 0 {
		return t.r.Read(p)
	}
	p = p[:min(len(p), piece(limit))]
	n, err := t.r.Read(p)
	for left := n; left > 0; {
		some := min(left, t.b.limiter.Burst())
		switch t.b.limiter.WaitN(t.ctx, some) {
		case nil:
			left -= some
		default:
			if t.ctx.Err() != nil {
				return 0, t.ctx.Err()
			} // else the limit was made smaller just now
		}
	}
	return n, err
}

// piece is how much is read at once at so many bytes a second.
func piece(limit int64) int {
	return int(min(max(limit/piecesPerSecond, minPiece), maxPiece))
}
