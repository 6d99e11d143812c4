package uploader

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iksync/queue"
)

// slowWorkers take jobs from a handout and need a while for each. It tells which they
// took, and when the last was begun.
func slowWorkers(h *handout, workers int, each time.Duration) (begun func(id int64) (time.Time, bool)) {
	var starts [1000]atomic.Int64
	for worker := range workers {
		go func() {
			for {
				job, ok := h.next(worker)
				if !ok {
					return
				}
				starts[job.ID].Store(time.Now().UnixNano())
				time.Sleep(each) // of the bubble's clock
			}
		}()
	}
	return func(id int64) (time.Time, bool) {
		at := starts[id].Load()
		return time.Unix(0, at), at != 0
	}
}

func TestANewFileFindsAWorkerWhileABacklogIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = keepFor / 6
		h := newHandout(8)
		begun := slowWorkers(h, 8, each)
		for id := range int64(cap(h.ahead)) {
			h.put(queue.Job{ID: 100 + id})
		}
		synctest.Wait()
		// All are busy with the backlog, so that the first new one waits, and the others don't.
		for id := int64(1); id <= 3; id++ {
			came := time.Now()
			h.put(queue.Job{ID: id, Fresh: true})
			time.Sleep(2*each + time.Second) // it waited for one, and is sent for another
			at, ok := begun(id)
			if wait := at.Sub(came); !ok || id == 1 && wait > each || id > 1 && wait > 0 {
				t.Errorf("the new file %d waited %v (begun: %t)", id, wait, ok)
			}
		}
		// One of eight is kept; when none comes any more it helps with the backlog.
		time.Sleep(20 * each)
		if left := len(h.ahead); left != 0 {
			t.Errorf("%d of the backlog are left", left)
		}
		h.close()
	})
}

// One worker alone could not keep up with the new files here.
func TestANewFileFindsAWorkerThoughOthersAreBeingSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = keepFor / 6
		h := newHandout(8)
		begun := slowWorkers(h, 8, each)
		for i := range int64(8) { // one by one, so that they are not all done at once
			h.put(queue.Job{ID: 90 + i})
			time.Sleep(each / 8)
		}
		for id := range int64(cap(h.ahead)) {
			h.put(queue.Job{ID: 100 + id})
		}
		before := len(h.ahead)
		for id := int64(1); id <= 12; id++ {
			came := time.Now()
			h.put(queue.Job{ID: id, Fresh: true})
			time.Sleep(each / 2)
			at, ok := begun(id)
			if wait := at.Sub(came); id > 2 && (!ok || wait > 0) {
				t.Errorf("the new file %d waited %v (begun: %t)", id, wait, ok)
			}
		}
		if sent := before - len(h.ahead); sent < 4*6 {
			t.Errorf("%d of the backlog were begun in the time of six uploads, should be four a time", sent)
		}
		h.close()
		time.Sleep(2 * each)
	})
}

func TestANewFileThatWasClaimedWithTheBacklogGoesBeforeIt(t *testing.T) {
	h := newHandout(1)
	for id := range int64(8) {
		h.put(queue.Job{ID: 100 + id})
	}
	h.put(queue.Job{ID: 1, Fresh: true})
	if job, _ := h.next(0); job.ID != 1 {
		t.Errorf("job %d came first", job.ID)
	}
	for id := range int64(leastFresh) {
		h.put(queue.Job{ID: 2 + id, Fresh: true})
	}
	h.put(queue.Job{ID: 99, Fresh: true}) // no room among the new ones: it goes behind the backlog
	left := h.close()
	if len(left) != leastFresh+8+1 || left[len(left)-1].ID != 99 {
		t.Errorf("left: %v", left)
	}
}

func TestNoWorkerIsKeptWhileNoNewFilesCome(t *testing.T) {
	for _, workers := range []int{1, 3, 4, 16} {
		synctest.Test(t, func(t *testing.T) {
			h := newHandout(workers)
			begun := slowWorkers(h, workers, time.Minute)
			for id := range int64(workers) {
				h.put(queue.Job{ID: 100 + id})
			}
			synctest.Wait()
			for id := range int64(workers) {
				if _, ok := begun(100 + id); !ok {
					t.Errorf("of %d workers only %d are at work", workers, id)
				}
			}
			if left := h.close(); len(left) != 0 {
				t.Errorf("%d are left", len(left))
			}
			time.Sleep(2 * time.Minute)
		})
	}
}

func TestOfFourJobsOneIsOfTheBacklogAndAllAreHandedBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandout(1)
		for id := range int64(8) {
			h.put(queue.Job{ID: 1 + id, Fresh: true})
			h.put(queue.Job{ID: 101 + id})
		}
		old := 0
		for range 8 {
			if job, ok := h.next(0); ok && job.ID > 100 {
				old++
			}
		}
		if old != 2 {
			t.Errorf("%d of 8 were of the backlog, should be 2", old)
		}
		if left := h.close(); len(left) != 8 {
			t.Errorf("%d are handed back, should be 8", len(left))
		}
		if _, ok := h.next(0); ok {
			t.Error("there is a job after the end")
		}
	})
}
