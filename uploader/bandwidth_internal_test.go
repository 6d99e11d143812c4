package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRatesGoByTheTimeOfDay(t *testing.T) {
	t.Parallel()
	at := func(h, m, s, ns int) time.Time { return time.Date(2026, 5, 6, h, m, s, ns, time.Local) }
	hm := func(h, m int) time.Duration { return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute }
	day := Rates{Periods: []Period{{hm(8, 0), hm(18, 30), 2}, {hm(22, 0), hm(6, 0), 0}}, Else: 7}
	for _, c := range []struct {
		name  string
		rates Rates
		t     time.Time
		want  int64
	}{
		{"no limit at all", Rates{}, at(12, 0, 0, 0), 0},
		{"one for all times", Rates{Else: 5}, at(0, 0, 0, 0), 5},
		{"before it begins", day, at(7, 59, 59, 999999999), 7},
		{"when it begins", day, at(8, 0, 0, 0), 2},
		{"within", day, at(12, 0, 0, 0), 2},
		{"its last moment", day, at(18, 29, 59, 999999999), 2},
		{"when it ends", day, at(18, 30, 0, 0), 7},
		{"before the night", day, at(21, 59, 59, 999999999), 7},
		{"when the night begins", day, at(22, 0, 0, 0), 0},
		{"before midnight", day, at(23, 59, 59, 999999999), 0},
		{"midnight", day, at(0, 0, 0, 0), 0},
		{"before the night ends", day, at(5, 59, 59, 999999999), 0},
		{"when the night ends", day, at(6, 0, 0, 0), 7},
		{"to the end of the day", Rates{Periods: []Period{{hm(22, 0), hm(24, 0), 3}}, Else: 1}, at(23, 59, 59, 0), 3},
		{"and not beyond it", Rates{Periods: []Period{{hm(22, 0), hm(24, 0), 3}}, Else: 1}, at(0, 0, 0, 0), 1},
		{"from midnight on", Rates{Periods: []Period{{0, hm(1, 0), 3}}, Else: 1}, at(0, 0, 0, 0), 3},
		{"to midnight", Rates{Periods: []Period{{hm(22, 0), 0, 3}}, Else: 1}, at(23, 0, 0, 0), 3},
		{"to midnight and not beyond it", Rates{Periods: []Period{{hm(22, 0), 0, 3}}, Else: 1}, at(0, 0, 1, 0), 1},
		{"the first of two", Rates{Periods: []Period{{hm(8, 0), hm(12, 0), 3}, {hm(10, 0), hm(14, 0), 4}}}, at(11, 0, 0, 0), 3},
		{"the second of two", Rates{Periods: []Period{{hm(8, 0), hm(12, 0), 3}, {hm(10, 0), hm(14, 0), 4}}}, at(13, 0, 0, 0), 4},
	} {
		if got := c.rates.At(c.t); got != c.want {
			t.Errorf("%s, %s: %d, should be %d", c.name, c.t.Format(time.TimeOnly), got, c.want)
		}
	}
}

type zeros struct{}

// Read gives any number of bytes at once.
func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// readers read all the time until ctx ends, as uploads do.
type readers struct {
	b       *Bandwidth
	sent    atomic.Int64
	longest []time.Duration
	group   sync.WaitGroup
	end     context.CancelFunc
}

func read(t *testing.T, b *Bandwidth, n int) *readers {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &readers{b: b, end: cancel, longest: make([]time.Duration, n)}
	for i := range n {
		r.group.Go(func() {
			buf := make([]byte, 32<<10) // as net/http's
			src := &throttled{ctx: ctx, r: zeros{}, b: b}
			for ctx.Err() == nil {
				before := time.Now()
				if b.Rate() == 0 {
					time.Sleep(time.Millisecond) // else no time passes
				}
				n, err := src.Read(buf)
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				r.sent.Add(int64(n))
				r.longest[i] = max(r.longest[i], time.Since(before))
			}
		})
	}
	return r
}

// stop ends them, and tells how long one of them got nothing at most.
func (r *readers) stop() (longest time.Duration) {
	r.end()
	r.group.Wait()
	for _, l := range r.longest {
		longest = max(longest, l)
	}
	return longest
}

// in tells how much they read in a time.
func (r *readers) in(d time.Duration) int64 {
	before := r.sent.Load()
	time.Sleep(d)
	synctest.Wait()
	return r.sent.Load() - before
}

func TestTheRateHoldsInEverySecond(t *testing.T) {
	for _, rate := range []int64{16 << 10, 100_000, 1_000_000, 20_000_000} {
		for _, n := range []int{1, 2, 16, 64} {
			t.Run(fmt.Sprintf("%d bytes a second by %d", rate, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := read(t, NewBandwidth(Rates{Else: rate}), n)
					defer r.stop()
					time.Sleep(100 * time.Millisecond)
					for second := range 10 {
						if got := r.in(time.Second); got < rate*95/100 || got > rate*105/100 {
							t.Errorf("%d bytes in second %d", got, second)
						}
					}
				})
			})
		}
	}
}

func TestAPauseIsNotMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBandwidth(Rates{Else: 1_000_000})
		time.Sleep(time.Hour)
		r := read(t, b, 4)
		defer r.stop()
		if got := r.in(time.Second); got > 1_050_000 {
			t.Errorf("%d bytes in the first second", got)
		}
	})
}

// From and to any rate, all of them have what is theirs from the next tenth of a
// second on, and none waits long for its next bytes: it would be cut as stalled.
func TestAChangeOfTheRateTakesEffectAtOnce(t *testing.T) {
	const slow, middle, fast = 32 << 10, 1_000_000, 50_000_000
	for _, c := range []struct{ from, to int64 }{
		{slow, fast}, {slow, middle}, {slow, 0}, {fast, 0}, {fast, middle}, {fast, slow}, {middle, slow}, {0, slow}, {0, fast}, {slow, 2 * slow},
	} {
		for _, n := range []int{1, 16, 64} {
			t.Run(fmt.Sprintf("from %d to %d by %d", c.from, c.to, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := NewBandwidth(Rates{Else: c.from})
					r := read(t, b, n)
					time.Sleep(2 * time.Second)
					b.Set(Rates{Else: c.to})
					if got := b.Rate(); got != c.to {
						t.Errorf("the rate is %d", got)
					}
					time.Sleep(100 * time.Millisecond)
					for second := range 3 {
						got := r.in(time.Second)
						if c.to == 0 && got < 10*fast/50 || c.to > 0 && (got < c.to*95/100 || got > c.to*105/100) {
							t.Errorf("%d bytes in second %d", got, second)
						}
					}
					if longest := r.stop(); longest > 2*time.Second {
						t.Errorf("one of them got nothing for %s", longest)
					}
				})
			})
		}
	}
}

// Each of many readers has its share.
func TestNoReaderIsStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := read(t, NewBandwidth(Rates{Else: 16 << 10}), 16)
		time.Sleep(30 * time.Second)
		if longest := r.stop(); longest > 2*time.Second {
			t.Errorf("one of them got nothing for %s", longest)
		}
	})
}

func TestTheRateFollowsTheTimetable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		of := now.Sub(time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location()))
		r := read(t, NewBandwidth(Rates{Periods: []Period{{(of + 3*time.Second) % (24 * time.Hour), (of + 6*time.Second) % (24 * time.Hour), 100_000}}, Else: 1_000_000}), 8)
		defer r.stop()
		time.Sleep(time.Second + 100*time.Millisecond)
		for _, want := range []int64{1_000_000, 0, 100_000, 100_000, 0, 1_000_000} {
			if got := r.in(time.Second); want > 0 && (got < want*95/100 || got > want*105/100) {
				t.Errorf("%d bytes in a second of %d", got, want)
			}
		}
	})
}

func TestTheEndOfAContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBandwidth(Rates{Else: 1})
		ctx, cancel := context.WithCancelCause(t.Context())
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				_, err := io.ReadFull(&throttled{ctx: ctx, r: zeros{}, b: b}, make([]byte, 4<<10))
				if !errors.Is(err, context.Canceled) {
					t.Errorf("the read ended with %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		cancel(errors.New("over"))
		group.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %s", took)
		}
	})
}

// What is read is what is there, to its end, whatever the rate.
func TestALimitedReaderLosesNoByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBandwidth(Rates{Else: 50_000})
		go func() {
			for i := range 20 {
				time.Sleep(300 * time.Millisecond)
				b.Set(Rates{Else: []int64{0, 20_000, 5_000_000, 30_000}[i%4]})
			}
		}()
		for range 3 {
			src := &throttled{ctx: t.Context(), r: io.LimitReader(&counting{}, 300_000), b: b}
			got, err := io.ReadAll(src)
			if err != nil || len(got) != 300_000 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			for i, c := range got {
				if c != byte(i%251) {
					t.Fatalf("byte %d is %d", i, c)
				}
			}
		}
		time.Sleep(10 * time.Second)
	})
}

// counting gives bytes that tell where they are.
type counting struct{ at int }

// Read gives the next ones.
func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c.at % 251)
		c.at++
	}
	return len(p), nil
}
