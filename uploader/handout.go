package uploader

import (
	"sync/atomic"
	"time"

	"iksync/queue"
)

// handout is where workers get their next job. What is claimed ahead, so that they need
// not wait for a claim, may take a slow line long; new files that come meanwhile go
// before it, three for each of those. While such come, some workers wait for the next
// one and leave what is ahead to the others: else it would wait until one of them is
// done with its upload.
type handout struct {
	ahead chan queue.Job
	fresh chan queue.Job
	turn  atomic.Uint64
	// waiting tells that there are more new files than there was room for.
	waiting atomic.Bool

	kept  int // workers that wait for new files
	began time.Time
	came  atomic.Int64 // when the last new file came, since began
}

const (
	// leastFresh is for how many new files there is room at least.
	leastFresh = 8
	// keepFor is how long after a new file workers are kept for the next.
	keepFor = time.Minute
	// keepOf is of how many workers one is kept; of fewer than keepFrom none is.
	keepOf   = 8
	keepFrom = 4
)

func newHandout(workers int) *handout {
	h := &handout{ahead: make(chan queue.Job, ahead*workers), fresh: make(chan queue.Job, max(leastFresh, 2*workers)), began: time.Now()}
	if workers >= keepFrom {
		h.kept = max(1, workers/keepOf)
	}
	h.came.Store(int64(-keepFor))
	return h
}

// add hands out a new file.
func (h *handout) add(job queue.Job) {
	h.came.Store(int64(time.Since(h.began)))
	h.fresh <- job
}

// room is for how many more there is room ahead.
func (h *handout) room() int { return cap(h.ahead) - len(h.ahead) }

// wantsMore reports that it is time for another claim.
func (h *handout) wantsMore() bool { return h.room() >= cap(h.ahead)/2 }

// wantsFresh reports that there is room for new files again that had none.
func (h *handout) wantsFresh() bool { return h.waiting.Load() && len(h.fresh) <= cap(h.fresh)/2 }

// next waits for a job for the worker of a number from 0; false when there are no more.
func (h *handout) next(worker int) (queue.Job, bool) {
	if worker < h.kept {
		if job, ok := h.nextFresh(); ok {
			return job, true
		}
	}
	first, second := h.fresh, h.ahead
	if h.turn.Add(1)%4 == 0 {
		first, second = second, first
	}
	for _, jobs := range []chan queue.Job{first, second} {
		select {
		case job, ok := <-jobs:
			if ok {
				return job, true
			}
		default:
		}
	}
	select {
	case job, ok := <-h.fresh:
		if ok {
			return job, true
		}
		job, ok = <-h.ahead
		return job, ok
	case job, ok := <-h.ahead:
		if ok {
			return job, true
		}
		job, ok = <-h.fresh
		return job, ok
	}
}

// nextFresh waits for a new file while such come; false when none has come for long.
func (h *handout) nextFresh() (queue.Job, bool) {
	for {
		wait := keepFor - (time.Since(h.began) - time.Duration(h.came.Load()))
		if wait <= 0 {
			return queue.Job{}, false
		}
		timer := time.NewTimer(wait)
		select {
		case job, ok := <-h.fresh:
			timer.Stop()
			return job, ok
		case <-timer.C:
		}
	}
}

// close ends the handing out and returns what no worker has begun.
func (h *handout) close() (left []queue.Job) {
	close(h.fresh)
	close(h.ahead)
	for _, jobs := range []chan queue.Job{h.fresh, h.ahead} {
		for job := range jobs {
			left = append(left, job)
		}
	}
	return left
}
