package uploader

import (
	"context"
	"sync"
	"time"

	"iksync/state"
)

// The kinds of an [Outcome].
const (
	Uploaded = "uploaded" // the file's asset is recorded
	Failed   = "failed"   // the file was given up
)

// Outcome is something that has come about, and is on the disk.
type Outcome struct {
	Kind string
	At   time.Time

	RootID int64
	Path   string

	// Of what was uploaded.
	FileID       string
	VersionID    string
	RemotePath   string
	URL          string
	ThumbnailURL string
	FileType     string
	Size         int64 // bytes
	New          bool  // the path had no record before

	// Of what failed; Reason also of other kinds.
	Class     string
	Reason    string
	RequestID string
	Attempts  int
}

// Outbox keeps the last outcomes for those who want to hear of them. It never waits for
// a reader: who is too slow misses some, and is told how many. Its methods may be called
// from several goroutines; on nil nothing is kept.
type Outbox struct {
	mu   sync.Mutex
	ring []Outcome
	next uint64        // the number of the next one
	more chan struct{} // closed when it comes
}

// outboxSize is how many outcomes are kept.
const outboxSize = 8192

// NewOutbox returns an Outbox.
func NewOutbox() *Outbox { return &Outbox{more: make(chan struct{})} }

// Note adds an outcome.
func (o *Outbox) Note(out Outcome) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.ring) < outboxSize {
		o.ring = append(o.ring, out)
	} else {
		o.ring[o.next%outboxSize] = out
	}
	o.next++
	close(o.more)
	o.more = make(chan struct{})
}

// Begin is where reading begins that wants what comes from now on.
func (o *Outbox) Begin() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// Read waits for outcomes from a place on and returns up to n, the place after them, and
// how many before them were missed. The error is the context's.
func (o *Outbox) Read(ctx context.Context, from uint64, n int) (outcomes []Outcome, next, missed uint64, err error) {
	for {
		o.mu.Lock()
		if from < o.next {
			defer o.mu.Unlock()
			if first := o.next - uint64(len(o.ring)); from < first {
				missed, from = first-from, first
			}
			for ; from < o.next && len(outcomes) < n; from++ {
				outcomes = append(outcomes, o.ring[from%outboxSize])
			}
			return outcomes, from, missed, nil
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, from, 0, ctx.Err()
		}
	}
}

// uploaded is the outcome that a record stands for.
func uploaded(f *state.File, isNew bool) Outcome {
	return Outcome{Kind: Uploaded, At: f.UploadedAt, RootID: f.RootID, Path: f.Path, FileID: f.FileID, VersionID: f.VersionID, RemotePath: f.RemotePath,
		URL: f.URL, ThumbnailURL: f.ThumbnailURL, FileType: f.FileType, Size: f.Stat.Size, New: isNew}
}
