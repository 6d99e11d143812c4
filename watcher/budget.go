package watcher

import (
	"context"
	"time"
)

// slice is how long a scan works before it makes a pause as long.
const slice = 50 * time.Millisecond

// budget lets a scan that nothing waits for take half of the time at most, so
// that it is not in the way of whoever uses the disk. The zero value has none.
type budget struct {
	limited bool
	began   time.Time
}

// spend is called with each directory; it makes the pause when it is due.
func (b *budget) spend(ctx context.Context) {
	if !b.limited {
		return
	}
	if b.began.IsZero() {
		b.began = time.Now()
	}
	worked := time.Since(b.began)
	if worked < slice {
		return
	}
	pause := time.NewTimer(worked)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	b.began = time.Now()
}
