package uploader

import (
	"sync"
	"time"
)

// window bounds how many uploads are on their way at once: one more for each
// round of them that goes well, half as many when ImageKit answers 429 or 5xx or
// does not answer (additive increase, multiplicative decrease), between 1 and
// the number of workers.
type window struct {
	mu   sync.Mutex
	room sync.Cond
	most float64
	size float64
	busy int
	cut  time.Time // when it was made smaller
}

func newWindow(most int) *window {
	w := &window{most: float64(most), size: float64(most)}
	w.room.L = &w.mu
	return w
}

// enter waits until there is room for one more upload.
func (w *window) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy >= int(w.size) {
		w.room.Wait()
	}
	w.busy++
}

// leave ends an upload that began at a time. Of several that fail at once the
// first alone makes the window smaller: the others had begun before.
func (w *window) leave(began time.Time, overloaded bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full := w.busy >= int(w.size)
	w.busy--
	switch {
	case overloaded && began.After(w.cut):
		w.size = max(1, w.size/2)
		w.cut = time.Now()
	case !overloaded && full:
		w.size = min(w.most, w.size+1/w.size)
	}
	w.room.Broadcast()
}

// limit is how many uploads may be on their way at once.
func (w *window) limit() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.size)
}
