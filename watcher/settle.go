package watcher

import (
	"container/heap"
	"time"

	"iksync/state"
)

const (
	// A file that grows gets more time the larger it is: bigFile more bytes,
	// bigFileMore more time, mostSettle at most.
	bigFile     = 64 << 20
	bigFileMore = time.Second
	mostSettle  = 30 * time.Second
)

// settling holds the paths that something happened to until they have been
// quiet for a while. The zero value is not usable; see newSettling.
type settling struct {
	quiet   time.Duration
	entries map[string]*unsettled
	order   dueHeap
}

// unsettled is one path that settles.
type unsettled struct {
	path  string
	due   time.Time // when it will have been quiet for long enough
	since time.Time // when it began to settle
	index int       // in the heap
	seen  bool      // stat holds what the last look gave
	grew  bool      // its size was different at two looks
	stat  state.Stat
}

func newSettling(quiet time.Duration) *settling {
	return &settling{quiet: quiet, entries: make(map[string]*unsettled)}
}

// touch notes that something happened to a path: its quiet time begins anew.
func (s *settling) touch(path string, now time.Time) {
	e, ok := s.entries[path]
	if !ok {
		e = &unsettled{path: path, since: now, due: now.Add(s.quiet)}
		s.entries[path] = e
		heap.Push(&s.order, e)
		return
	}
	s.again(e, now)
}

// again puts off an entry by its quiet time.
func (s *settling) again(e *unsettled, now time.Time) {
	wait := s.quiet
	if e.grew && e.stat.Size > bigFile {
		wait = max(wait, min(wait+time.Duration(e.stat.Size/bigFile)*bigFileMore, mostSettle))
	}
	s.putOff(e, now.Add(wait))
}

// putOff lets an entry be due at a time.
func (s *settling) putOff(e *unsettled, due time.Time) {
	e.due = due
	heap.Fix(&s.order, e.index)
}

// next returns when the first entry is due; false when there is none.
func (s *settling) next() (time.Time, bool) {
	if len(s.order) == 0 {
		return time.Time{}, false
	}
	return s.order[0].due, true
}

// dueEntry returns the first entry whose quiet time is over; nil when there is none.
// It stays an entry until it is dropped or put off.
func (s *settling) dueEntry(now time.Time) *unsettled {
	if len(s.order) == 0 || s.order[0].due.After(now) {
		return nil
	}
	return s.order[0]
}

func (s *settling) drop(e *unsettled) {
	heap.Remove(&s.order, e.index)
	delete(s.entries, e.path)
}

// settled decides about an entry that was quiet, from a look at it now: true
// when its content stands still. If not, it is put off.
//
// Where identity is proven the kernel sets ctime at every write, and no program can set
// it back: a file whose ctime is old enough has not been written since. Elsewhere, and
// where clocks differ, two looks that agree must do.
func (s *settling) settled(e *unsettled, st state.Stat, now time.Time) bool {
	age := now.Sub(st.Ctime())
	same := e.seen && e.stat.Size == st.Size && e.stat.MtimeNs == st.MtimeNs && (e.stat.Ino == st.Ino || st.Mount != 0)
	if st.Mount == 0 && st.CtimeNs > 0 && age >= s.quiet && age < 1<<62 && !e.grewSince(st) || same {
		return true
	}
	e.grew = e.grew || e.seen && e.stat.Size != st.Size
	e.seen, e.stat = true, st
	s.again(e, now)
	return false
}

// grewSince reports whether a big file was seen growing and has grown again.
func (e *unsettled) grewSince(st state.Stat) bool {
	return e.seen && st.Size > bigFile && e.stat.Size != st.Size
}

// dueHeap orders entries by when they are due.
type dueHeap []*unsettled

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	e, ok := x.(*unsettled)
	if !ok {
		return
	}
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
