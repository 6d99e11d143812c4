package faultfs

import (
	"hash/fnv"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rule is what happens to calls of op at and below a path.
type rule struct {
	path  string
	op    Op
	hangs bool
	errno syscall.Errno
}

// faults is what goes wrong. It outlives mounts.
type faults struct {
	mu       sync.Mutex
	rules    []rule // the last one that fits counts
	released chan struct{}
	hung     int
	hidden   map[string]bool
	seed     uint64
	share    float64
	read     map[string]int64
}

func newFaults() *faults {
	return &faults{released: make(chan struct{}), hidden: make(map[string]bool), read: make(map[string]int64)}
}

// clean is a path relative to the root; "" is the root.
func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// below reports whether p is dir or below it.
func below(p, dir string) bool { return dir == "" || p == dir || strings.HasPrefix(p, dir+"/") }

func (f *faults) add(r rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.path = clean(r.path)
	f.rules = append(f.rules, r)
}

// release ends the waiting of all calls, and takes away the rules that made them wait,
// or all rules.
func (f *faults) release(all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []rule
	for _, r := range f.rules {
		if !r.hangs && !all {
			left = append(left, r)
		}
	}
	f.rules = left
	close(f.released)
	f.released = make(chan struct{})
}

// meet is what becomes of a call. It waits where it gets no answer, until that is
// released or the mount is dead.
func (f *faults) meet(op Op, where func() string, dead <-chan struct{}) fuse.Status {
	select {
	case <-dead:
		return fuse.Status(syscall.ENOTCONN)
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) == 0 {
		return fuse.OK
	}
	at := where()
	for i := len(f.rules) - 1; i >= 0; i-- {
		r := f.rules[i]
		if r.op != Any && r.op != op || !below(at, r.path) {
			continue
		}
		if !r.hangs {
			return fuse.Status(r.errno)
		}
		released := f.released
		f.hung++
		f.mu.Unlock()
		status := fuse.OK
		select {
		case <-released:
		case <-dead:
			status = fuse.Status(syscall.ENOTCONN)
		}
		f.mu.Lock()
		f.hung--
		return status
	}
	return fuse.OK
}

// hides reports whether listings leave out a path.
func (f *faults) hides(at string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hidden[at] {
		return true
	}
	if f.share == 0 {
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(at)) // never fails
	// The finalizer of MurmurHash3: FNV alone hardly spreads the last bytes.
	n := h.Sum64() ^ f.seed*0x9e3779b97f4a7c15
	n = (n ^ n>>33) * 0xff51afd7ed558ccd
	n = (n ^ n>>33) * 0xc4ceb9fe1a85ec53
	n ^= n >> 33
	return float64(n>>11)/(1<<53) < f.share
}

func (f *faults) count(at string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read[at] += int64(n)
}
