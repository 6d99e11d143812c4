package imagekit

import (
	"maps"
	"sync"
)

// Meter counts the requests of clients. The zero value is ready for use, also by several
// goroutines and clients; nil counts nothing.
type Meter struct {
	mu    sync.Mutex
	calls map[Call]int64
}

// Call is a kind of request and what came of it.
type Call struct {
	Endpoint string // "upload", "download", or as "GET /files/{id}/details"
	Status   int    // of HTTP; 0 when there was no answer
}

// Calls returns how many requests there were so far.
func (m *Meter) Calls() map[Call]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.calls)
}

func (m *Meter) note(endpoint string, status int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls = make(map[Call]int64)
	}
	m.calls[Call{endpoint, status}]++
}
