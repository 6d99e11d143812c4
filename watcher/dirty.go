package watcher

import (
	"sync"

	"github.com/fsnotify/fsnotify"
)

// dirtyPaths collects paths that something happened to, each once, until they
// are looked at. Putting one in is all that the reader of events does: anything
// more and the kernel's queue overflows in a burst.
type dirtyPaths struct {
	mu     sync.Mutex
	paths  map[string]fsnotify.Op // what happened, all of it
	notify chan struct{}
}

func newDirtyPaths() *dirtyPaths {
	return &dirtyPaths{paths: make(map[string]fsnotify.Op), notify: make(chan struct{}, 1)}
}

// put notes that something happened to a path.
func (d *dirtyPaths) put(path string, op fsnotify.Op) {
	d.mu.Lock()
	d.paths[path] |= op
	d.mu.Unlock()
	select {
	case d.notify <- struct{}{}:
	default:
	}
}

// take returns all that was put in, and begins anew.
func (d *dirtyPaths) take() map[string]fsnotify.Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.paths
	d.paths = make(map[string]fsnotify.Op)
	return taken
}

// isEmpty reports that nothing waits to be taken.
func (d *dirtyPaths) isEmpty() bool { return d.size() == 0 }

// size is how much waits to be taken.
func (d *dirtyPaths) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.paths)
}
