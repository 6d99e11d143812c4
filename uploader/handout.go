package uploader

import (
	"sync/atomic"

	"iksync/queue"
)

// handout is where workers get their next job. What is claimed ahead, so that they need
// not wait for a claim, may take a slow line long; new files that come meanwhile go
// before it, three for each of those.
type handout struct {
	ahead chan queue.Job
	fresh chan queue.Job
	turn  atomic.Uint64
	// waiting tells that there are more new files than there was room for.
	waiting atomic.Bool
}

// leastFresh is for how many new files there is room at least.
const leastFresh = 8

func newHandout(workers int) *handout {
	return &handout{ahead: make(chan queue.Job, ahead*workers), fresh: make(chan queue.Job, max(leastFresh, 2*workers))}
}

// room is for how many more there is room ahead.
func (h *handout) room() int { return cap(h.ahead) - len(h.ahead) }

// wantsMore reports that it is time for another claim.
func (h *handout) wantsMore() bool { return h.room() >= cap(h.ahead)/2 }

// wantsFresh reports that there is room for new files again that had none.
func (h *handout) wantsFresh() bool { return h.waiting.Load() && len(h.fresh) <= cap(h.fresh)/2 }

// next waits for a job; false when there are no more.
func (h *handout) next() (queue.Job, bool) {
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
