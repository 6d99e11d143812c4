package uploader

import (
	"sync/atomic"
	"time"

	"iksync/queue"
)

// handout is where workers get their next job. What is claimed ahead, so that they need
// not wait for a claim, may take a slow line long; new files that come meanwhile go
// before it, three for each of those. While such come, some of the workers that become
// free stand by for the next one and leave what is ahead to the others: else it would
// wait until one of them is done with its upload.
type handout struct {
	ahead chan queue.Job
	fresh chan queue.Job
	turn  atomic.Uint64
	// waiting tells that there are more new files than there was room for.
	waiting atomic.Bool

	kept     int32        // workers that stand by for new files
	most     int32        // that do or are at new files: beyond it no more stand by
	standing atomic.Int32 // that stand by
	busy     atomic.Int32 // that are at new files
	atFresh  []bool       // by worker: it is one of those; each looks at its own
	began    time.Time
	came     atomic.Int64 // when the last new file came, since began
}

const (
	// leastFresh is for how many new files there is room at least.
	leastFresh = 8
	// keepFor is how long after a new file workers are kept for the next.
	keepFor = time.Minute
	// keepOf is of how many workers one stands by; of fewer than keepFrom none does.
	keepOf   = 16
	keepFrom = 4
)

func newHandout(workers int) *handout {
	h := &handout{ahead: make(chan queue.Job, ahead*workers), fresh: make(chan queue.Job, max(leastFresh, 2*workers)), began: time.Now(),
		atFresh: make([]bool, workers), most: int32(workers / 2)}
	if workers >= keepFrom {
		h.kept = int32(max(1, workers/keepOf))
	}
	h.came.Store(int64(-keepFor))
	return h
}

// put hands out a job that was claimed, for which there is room ahead or, if it is a
// new file, among those.
func (h *handout) put(job queue.Job) {
	if !job.Fresh || len(h.fresh) == cap(h.fresh) {
		h.ahead <- job
		return
	}
	h.came.Store(int64(time.Since(h.began)))
	h.fresh <- job
}

// room is for how many more there is room ahead.
func (h *handout) room() int { return cap(h.ahead) - len(h.ahead) }

// wantsMore reports that it is time for another claim.
func (h *handout) wantsMore() bool { return h.room() >= cap(h.ahead)/2 }

// wantsFresh reports that there is room for new files again that had none.
func (h *handout) wantsFresh() bool { return h.waiting.Load() && len(h.fresh) <= cap(h.fresh)/2 }

// next waits for a job for the worker of a number from 0, which is done with the one
// before; false when there are no more.
func (h *handout) next(worker int) (queue.Job, bool) {
	if h.atFresh[worker] {
		h.atFresh[worker] = false
		h.busy.Add(-1)
	}
	if len(h.fresh) == 0 && h.stand() {
		job, ok := h.nextFresh()
		h.standing.Add(-1)
		if ok {
			return h.begin(worker, job), true
		}
	}
	preferred := h.fresh
	if len(h.fresh) > 0 && h.turn.Add(1)%4 == 0 {
		preferred = h.ahead
	}
	select {
	case job, ok := <-preferred:
		if ok {
			return h.begin(worker, job), true
		}
	default:
	}
	select {
	case job, ok := <-h.fresh:
		if !ok {
			job, ok = <-h.ahead
		}
		return h.begin(worker, job), ok
	case job, ok := <-h.ahead:
		if !ok {
			job, ok = <-h.fresh
		}
		return h.begin(worker, job), ok
	}
}

// begin notes what a worker begins with.
func (h *handout) begin(worker int, job queue.Job) queue.Job {
	if job.Fresh {
		h.atFresh[worker] = true
		h.busy.Add(1)
	}
	return job
}

// stand makes the worker that asks one of those that stand by, if there is need of
// one; standing is to be counted down when it does no more.
func (h *handout) stand() bool {
	for {
		n := h.standing.Load()
		if n >= h.kept || n+h.busy.Load() >= h.most {
			return false
		}
		if h.standing.CompareAndSwap(n, n+1) {
			return true
		}
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
