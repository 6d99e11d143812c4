package control

import (
	"time"
)

// The states of a root, the most pressing first, and of the whole.
const (
	Undecided  = "needs decision" // it may be a recorded root at another path: Why says what to do
	Paused     = "paused"         // its uploads wait: Why says for what
	Waiting    = "waiting"        // all uploads wait: for the account, the key, the network or the state file
	Syncing    = "syncing"        // there is something to do
	Failing    = "failing"        // in step but for files that fail
	HeldBack   = "held back"      // in step but for removals that a brake holds back until somebody decides
	InStep     = "in step"        // nothing is to do
	NotRunning = "not running"    // there is no daemon: what the state file tells
)

// Status is how iksync stands.
type Status struct {
	Running bool      `json:"running"` // told by a daemon; else by the state file alone
	Version string    `json:"version"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	Why     string    `json:"why,omitempty"`

	StateFile      string `json:"state_file"`
	StateFileBytes int64  `json:"state_file_bytes"`

	// Unresolved are changes of the library of which ImageKit has not told what became of
	// them: nothing is sent, moved or removed there until it does.
	Unresolved []Unresolved `json:"unresolved,omitempty"`

	Roots     []RootStatus `json:"roots"`
	Uploads   Uploads      `json:"uploads"`
	Transfers []Transfer   `json:"transfers"`
	Recent    []Upload     `json:"recent"`
}

// Unresolved is a change of the library whose outcome is not known.
type Unresolved struct {
	Source string    `json:"source"`
	Target string    `json:"target,omitempty"`
	Reason string    `json:"reason"`
	Next   time.Time `json:"next,omitzero"` // when ImageKit is asked again
}

// RootStatus is how one root stands.
type RootStatus struct {
	ID          int64     `json:"id"`
	Path        string    `json:"path"`
	Folder      string    `json:"folder"`
	State       string    `json:"state"`
	Why         string    `json:"why,omitempty"`
	PausedUntil time.Time `json:"paused_until,omitzero"` // by iksync pause; zero also when it is until resume

	Files        int64     `json:"files"` // that are to be in the library, as of the last scan; without a daemon, that are
	Bytes        int64     `json:"bytes"`
	Backlog      int64     `json:"backlog"` // files that are to be sent, moved or looked at
	BacklogBytes int64     `json:"backlog_bytes"`
	Oldest       time.Time `json:"oldest_pending,omitzero"` // since when the oldest of them waits
	NotCompared  int64     `json:"not_compared"`            // of the backlog those that are read to be compared with their records
	Settling     int64     `json:"settling"`

	Failing map[string]int64 `json:"failing"`  // files by class
	Again   int64            `json:"retrying"` // of the backlog those that have failed and are tried again
	Held    map[string]int64 `json:"held"`
	Skipped map[string]int64 `json:"skipped"` // by the last scan, by rule
	Gone    int64            `json:"gone"`    // not there, or not wanted, any more: the copies are in the library still
	// Unproven are records that were adopted without comparing contents: their assets may
	// have others.
	Unproven int64 `json:"unproven"`
	// Of the gone ones how many copies the policies remove, at once or when their grace is
	// over, and how many of these a brake holds back, and why. Without a daemon, which knows
	// the policies, it is not known how many are to be removed.
	Removals int64  `json:"removals"`
	HeldBack int64  `json:"removals_held_back"`
	Braked   string `json:"braked,omitempty"`

	// NamesChanged tells that ImageKit has changed a name that was sent as it is, so that
	// names: keep is as names: safe.
	NamesChanged bool `json:"names_changed,omitempty"`

	Watch Watch `json:"watch"`
	Scan  Scan  `json:"scan"`
}

// Watch is how much of a root is watched.
type Watch struct {
	Polling     bool   `json:"polling"`
	Why         string `json:"why,omitempty"` // it polls, or not all is watched
	Directories int64  `json:"directories"`
	Watched     int64  `json:"watched"`
	Overflows   int64  `json:"overflows"`
}

// Scan tells of the full scans of a root.
type Scan struct {
	Running    bool      `json:"running"`
	Seen       int64     `json:"seen"` // files, by the one that runs or by the last
	Completed  int64     `json:"completed"`
	Seconds    float64   `json:"seconds"` // that all of these took
	Last       time.Time `json:"last,omitzero"`
	Unreadable int64     `json:"unreadable"`
}

// Uploads is what goes on between here and ImageKit.
type Uploads struct {
	Workers        int      `json:"workers"`
	Window         int      `json:"window"` // uploads at once, as ImageKit bears them
	InFlight       int64    `json:"in_flight"`
	BytesPerSecond float64  `json:"bytes_per_second"` // over the last minute
	FilesPerSecond float64  `json:"files_per_second"`
	ETA            *float64 `json:"eta_seconds,omitempty"` // for all that is to be sent; nil when that can't be said
	Limit          int64    `json:"limit"`                 // bytes a second that are allowed now; 0 is no limit
	Breaker        *Breaker `json:"breaker,omitempty"`     // why all uploads wait

	// Since the daemon started.
	Uploaded      int64     `json:"uploaded"`
	UploadedBytes int64     `json:"uploaded_bytes"`
	Unchanged     int64     `json:"unchanged"` // the content was as recorded
	Moved         int64     `json:"moved"`
	Copied        int64     `json:"copied"`
	Removed       int64     `json:"removed"`
	Retries       int64     `json:"retries"`
	Failed        int64     `json:"failed"`
	Requests      int64     `json:"requests"`
	LastSuccess   time.Time `json:"last_success,omitzero"`
}

// Breaker is why all uploads wait.
type Breaker struct {
	Class     string    `json:"class"`
	Reason    string    `json:"reason"`
	RequestID string    `json:"request_id,omitempty"`
	Since     time.Time `json:"since"`
	Next      time.Time `json:"next"` // when one is tried
}

// Transfer is an upload on its way.
type Transfer struct {
	RootID int64     `json:"root_id"`
	Path   string    `json:"path"`
	Remote string    `json:"remote_path"`
	Size   int64     `json:"size"`
	Sent   int64     `json:"sent"`
	Began  time.Time `json:"began"`
}

// Upload is one that ended well.
type Upload struct {
	RootID       int64     `json:"root_id"`
	Path         string    `json:"path"`
	FileID       string    `json:"file_id"`
	RemotePath   string    `json:"remote_path"`
	URL          string    `json:"url"`
	ThumbnailURL string    `json:"thumbnail_url,omitempty"`
	FileType     string    `json:"file_type"`
	Private      bool      `json:"private,omitempty"` // it was sent as a private file
	Size         int64     `json:"size"`
	New          bool      `json:"new"`
	Seconds      float64   `json:"seconds"`
	At           time.Time `json:"at"`
}

// Point is the throughput of a span of time that ends at a time.
type Point struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
	Failed  int64     `json:"failed"` // attempts that did not succeed
}

// pressing orders the states.
var pressing = []string{Undecided, Waiting, Paused, Syncing, Failing, HeldBack, InStep}

// Sum sets the state of the whole from those of the roots.
func (s *Status) Sum() {
	for _, state := range pressing {
		for i := range s.Roots {
			if r := &s.Roots[i]; r.State == state {
				s.State, s.Why = state, r.Why
				if len(s.Roots) > 1 && (state == Paused || state == HeldBack || state == Undecided) {
					s.Why = r.Path + ", " + r.Why
				}
				return
			}
		}
	}
	s.State = InStep
}
