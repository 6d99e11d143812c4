package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"iksync/state"
)

// Queue is the job queue in a state file. Its methods may be called from
// several goroutines.
type Queue struct {
	db        *state.DB
	alternate func(remote, path string, n int) string
	wake      chan struct{}
	now       func() time.Time
	ignoring  atomic.Bool // there are files that are left out
	fresh     atomic.Bool // new files were queued since TakeFresh was asked

	mu     sync.Mutex
	paused map[int64]time.Time // until when, by root
	names  map[int64]Kept      // by root
	probe  map[int64]int64     // the job that was claimed to learn that, by root
}

// New returns the queue of db. alternate gives the n-th (from 0) other remote
// path for a local path whose own, remote, is taken; it must be deterministic.
func New(db *state.DB, alternate func(remote, path string, n int) string) *Queue {
	return &Queue{db: db, alternate: alternate, wake: make(chan struct{}, 1), now: time.Now, paused: make(map[int64]time.Time),
		names: make(map[int64]Kept), probe: make(map[int64]int64)}
}

// Mounts tells what the file systems prove that files are on.
func (q *Queue) Mounts() *state.Mounts { return q.db.Mounts() }

// Wake returns a channel that receives after jobs became ready. One receiver.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// TakeFresh reports whether jobs of a priority above 0 were queued since it was asked
// last.
func (q *Queue) TakeFresh() bool { return q.fresh.Swap(false) }

func (q *Queue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// State is where a job stands.
type State int

// The states of a job. In the file Leased is a mark of its own.
const (
	Ready  State = 0 // waits for a worker, perhaps until its backoff ends
	Leased State = 1 // a worker has it
	Failed State = 2 // will not be tried again by itself: a dead letter
	Held   State = 3 // can't be uploaded as it is (empty, too large, ...): waits for a change
)

// String names the state as commands and logs do.
func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Leased:
		return "leased"
	case Failed:
		return "failed"
	case Held:
		return "held"
	}
	return "unknown"
}

// Job is a claimed job.
type Job struct {
	ID         int64
	RootID     int64
	Path       string
	Gen        int64
	Stat       state.Stat    // the file as it was seen last
	SeenAt     time.Duration // since when it is so, by [state.Uptime]; 0 when that is not known
	RemotePath string
	Fresh      bool // of a priority above 0: no backlog
	Attempts   int  // failed attempts so far
	// WrongAnswers counts the uploads of this file whose answers contradicted what was
	// sent; see [Failure].
	WrongAnswers int
	Accepted     *state.Hash // content that ImageKit accepted without naming a fileId yet
	// Unsure, when not zero, tells that something may have been sent since then whose
	// answer never came. Changed is that the file is another one by now.
	Unsure    time.Time
	Changed   bool
	Recorded  bool // the path has a record: its size, time, hash and version follow
	Size      int64
	MtimeNs   int64
	Displaced bool // the record was of another inode: perhaps that file is elsewhere by now
	Hash      state.Hash
	Unproven  bool // of the record: see [state.File]
	VersionID string
	// Began is when the attempt began, for who makes it.
	Began time.Time
	lease int64 // the claim's token
}

// ComparePriority is that of a file that is to be compared with its record, which very
// likely shows it as it is: all else comes first.
const ComparePriority = -1

// Content returns what the record of the job's path tells of the content of its asset.
func (j *Job) Content() state.Content {
	return state.Content{Stat: state.Stat{Size: j.Size, MtimeNs: j.MtimeNs}, Read: j.Recorded && !j.Hash.IsZero(), Hash: j.Hash, Unproven: j.Unproven}
}

// Change is a difference between the disk and the records: a job to be.
type Change struct {
	RootID   int64
	Path     string
	Stat     state.Stat
	Remote   string // wanted remote path; the record's own wins over it
	Priority int    // higher is claimed earlier
	// SeenAt is when the file was seen to be as Stat has it, and since when nothing tells
	// otherwise, by [state.Uptime]; 0 when that is not known.
	SeenAt time.Duration

	// Hold is why the file can't be uploaded as it is; "" uploads it.
	// HoldClass is its short name ("empty", "too_large", "too_deep").
	Hold, HoldClass string

	key string // of the remote path; "" for the path itself
}

// Renamed is a change whose remote path was taken and that was given another.
type Renamed struct {
	RootID        int64
	Path          string
	Wanted, Given string
}

// Enqueued says what became of a batch of changes.
type Enqueued struct {
	Queued  int   // new jobs, and jobs that took a later change
	Bytes   int64 // of those
	Held    int
	Renamed []Renamed
}
