package watcher

import (
	"sync"
	"time"
)

// Sighting is something that the watcher noticed about a path.
type Sighting struct {
	At   time.Time
	What string
}

// maxSightings bounds what is remembered over all paths of a root: some hundred kB.
const maxSightings = 4096

// sightings remembers the last of them.
type sightings struct {
	mu   sync.Mutex
	ring []seen
	next int
}

type seen struct {
	path string
	Sighting
}

func (s *sightings) note(path, what string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := seen{path, Sighting{at, what}}
	if len(s.ring) < maxSightings {
		s.ring = append(s.ring, n)
		return
	}
	s.ring[s.next] = n
	s.next = (s.next + 1) % maxSightings
}

// Seen returns what was noticed of late about a path, the oldest first.
func (w *Watcher) Seen(path string) []Sighting {
	s := &w.sightings
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Sighting
	for i := range s.ring {
		if n := s.ring[(s.next+i)%len(s.ring)]; n.path == path {
			found = append(found, n.Sighting)
		}
	}
	return found
}
