package uploader

import (
	"slices"
	"sync"
	"time"
)

// Durations counts uploads by how long they took, from the claim of the job to the
// answer. The zero value is ready for use, also by several pools; nil counts nothing.
type Durations struct {
	mu     sync.Mutex
	counts []uint64 // by bound; the last is what took longer than all
	sum    time.Duration
}

// durationBounds are the buckets' upper bounds, seconds: from a small file over a fast
// line to a video over a slow one.
func durationBounds() []float64 {
	return []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}
}

func (d *Durations) note(took time.Duration) {
	if d == nil {
		return
	}
	bounds := durationBounds()
	at, _ := slices.BinarySearch(bounds, took.Seconds())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = make([]uint64, len(bounds)+1)
	}
	d.counts[at]++
	d.sum += took
}

// Read returns how many there were, the sum of their seconds, and how many took no
// longer than each bound (seconds).
func (d *Durations) Read() (n uint64, seconds float64, within map[float64]uint64) {
	within = make(map[float64]uint64)
	d.mu.Lock()
	defer d.mu.Unlock()
	bounds := durationBounds()
	for i := range bounds {
		if d.counts != nil {
			n += d.counts[i]
		}
		within[bounds[i]] = n
	}
	if d.counts != nil {
		n += d.counts[len(bounds)]
	}
	return n, d.sum.Seconds(), within
}
