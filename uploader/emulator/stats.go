package emulator

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats counts what a Server has seen since New.
type Stats struct {
	// Requests by endpoint name, as in Fault.Endpoint.
	Requests map[string]int64 `json:"requests"`
	// Statuses counts answers by HTTP status.
	Statuses map[int]int64 `json:"statuses"`
	// Aborted counts requests whose connection was closed without a whole
	// answer: by a fault, or because the client went away.
	Aborted int64 `json:"aborted"`
	// Faults counts requests that met a fault.
	Faults int64 `json:"faults"`
	// BytesReceived counts the bytes of request bodies that were read.
	BytesReceived int64 `json:"bytesReceived"`
	// Uploads counts contents stored by uploads, Versions those of them that
	// became a new version of a file that was there.
	Uploads  int64 `json:"uploads"`
	Versions int64 `json:"versions"`
	// Assets and StoredBytes are what the library holds now, the bytes with
	// all versions.
	Assets      int   `json:"assets"`
	StoredBytes int64 `json:"storedBytes"`
}

// counters are the running counts behind Stats.
type counters struct {
	received, uploads, versions, aborted, faults atomic.Int64

	mu       sync.Mutex
	requests map[string]int64
	statuses map[int]int64
}

func newCounters() *counters {
	return &counters{requests: make(map[string]int64), statuses: make(map[int]int64)}
}

func (c *counters) asked(endpoint string) {
	c.mu.Lock()
	c.requests[endpoint]++
	c.mu.Unlock()
}

func (c *counters) answered(status int) {
	c.mu.Lock()
	c.statuses[status]++
	c.mu.Unlock()
}

// Stats gives the counts so far.
func (s *Server) Stats() Stats {
	c := s.stats
	st := Stats{
		Aborted:       c.aborted.Load(),
		Faults:        c.faults.Load(),
		BytesReceived: c.received.Load(),
		Uploads:       c.uploads.Load(),
		Versions:      c.versions.Load(),
	}
	c.mu.Lock()
	st.Requests, st.Statuses = maps.Clone(c.requests), maps.Clone(c.statuses)
	c.mu.Unlock()
	s.mu.RLock()
	st.Assets, st.StoredBytes = len(s.lib.byID), s.lib.bytes
	s.mu.RUnlock()
	return st
}
