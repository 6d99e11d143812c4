package uploader

import (
	"sync"
	"sync/atomic"
)

// Stats is what a pool has done so far.
type Stats struct {
	Uploaded int64 // files, with their UploadedBytes
	Touched  int64 // content was as recorded: no request
	Vanished int64 // gone, or replaced by something else, before their turn
	Held     int64 // found empty or too large at their turn
	Changed  int64 // changed while they were read: sent again
	Retries  int64 // attempts that failed and will be repeated
	Failed   int64 // given up
	Requests int64 // to ImageKit
	Renamed  int64 // stored by ImageKit under another path than asked for
	Sent     int64 // bytes of files on their way, repeated ones included
	InFlight int64

	UploadedBytes int64

	Moved        int64 // files whose assets were moved or renamed, no byte sent
	MovedFolders int64 // folders moved as a whole
	Copied       int64 // files whose content the library had, copied there
	Aliased      int64 // files whose content the library had, recorded with its fileId
	Removed      int64 // copies of absent files, deleted or moved to the trash

	Confirmed int64 // uploads without an answer that were found in the library
	Resent    int64 // uploads without an answer that were sent again: an extra version at most

	Window  int      // uploads that may be on their way at once, as ImageKit bears them
	Breaker *Breaker // why all uploads wait; nil when they don't
}

type counters struct {
	uploaded, uploadedBytes, touched, vanished, held, changed, retries, failed, requests, renamed, inFlight, moved, movedFolders, copied, aliased, removed, confirmed, resent atomic.Int64
	sent                                                                                                                                                                      atomic.Int64

	mu       sync.Mutex
	mismatch []Mismatch
	recent   []Done // a ring; next is where the next one goes
	next     int
}

// Mismatch is a file that ImageKit stored under another path than asked for.
type Mismatch struct {
	RootID       int64
	Path         string
	Asked, Given string
}

// maxMismatches bounds the mismatches that are kept; all are counted.
const maxMismatches = 100

// Stats returns what the pool has done so far.
func (p *Pool) Stats() Stats {
	c := &p.stats
	return Stats{
		Uploaded: c.uploaded.Load(), UploadedBytes: c.uploadedBytes.Load(), Touched: c.touched.Load(), Vanished: c.vanished.Load(),
		Held: c.held.Load(), Changed: c.changed.Load(), Retries: c.retries.Load(), Failed: c.failed.Load(), Requests: c.requests.Load(),
		Renamed: c.renamed.Load(), Sent: c.sent.Load(), InFlight: c.inFlight.Load(),
		Moved: c.moved.Load(), MovedFolders: c.movedFolders.Load(), Copied: c.copied.Load(), Aliased: c.aliased.Load(), Removed: c.removed.Load(),
		Confirmed: c.confirmed.Load(), Resent: c.resent.Load(),
		Window: p.window.limit(), Breaker: p.gate.state(),
	}
}

// Mismatches returns the first files that ImageKit stored under another path
// than asked for.
func (p *Pool) Mismatches() []Mismatch {
	p.stats.mu.Lock()
	defer p.stats.mu.Unlock()
	return append([]Mismatch(nil), p.stats.mismatch...)
}

func (c *counters) noteMismatch(m Mismatch) {
	c.renamed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mismatch) < maxMismatches {
		c.mismatch = append(c.mismatch, m)
	}
}
