package control

import "time"

// Story is everything about one path: what is on the disk, what decided about it, what
// was sent, what went wrong, and what comes next.
type Story struct {
	RootID int64  `json:"root_id"`
	Root   string `json:"root"`
	Path   string `json:"path"` // below the root

	Disk     *Disk    `json:"disk,omitempty"`     // nil when no file is there
	Identity string   `json:"identity,omitempty"` // what the file system's metadata proves
	DiskWhy  string   `json:"disk_why,omitempty"`
	Filter   Decision `json:"filter"`
	Record   *Record  `json:"record,omitempty"`  // nil when nothing is recorded of the path
	Removed  *Removed `json:"removed,omitempty"` // nil when nothing of the path was removed from the library
	Same     string   `json:"same_as,omitempty"` // the path whose asset has its content
	Job      *Job     `json:"job,omitempty"`     // nil when nothing is to be done

	Attempts []Attempt  `json:"attempts"` // that did not succeed, the oldest first
	Events   []Sighting `json:"events"`   // that the daemon has noticed of late
	Ignored  time.Time  `json:"ignored_since,omitzero"`

	Next   string    `json:"next"` // what will happen, in words
	NextAt time.Time `json:"next_at,omitzero"`
}

// Disk is a file as it is.
type Disk struct {
	Size       int64     `json:"size"`
	ModifiedAt time.Time `json:"modified_at"`
	Changed    bool      `json:"changed"`         // it is not what the record has, by size, times and inode
	Proof      string    `json:"proof,omitempty"` // of the record: "equal", "not compared" or "different"; "" without one
}

// Decision says whether the filters take a path, and what decided.
type Decision struct {
	Taken bool   `json:"taken"`
	Why   string `json:"why"`
}

// Record is what is recorded of an upload.
type Record struct {
	FileID       string    `json:"file_id"`
	VersionID    string    `json:"version_id"`
	RemotePath   string    `json:"remote_path"`
	URL          string    `json:"url"`
	ThumbnailURL string    `json:"thumbnail_url,omitempty"`
	FileType     string    `json:"file_type"`
	Size         int64     `json:"size"`
	Hash         string    `json:"hash,omitempty"`
	ModifiedAt   time.Time `json:"modified_at"`
	UploadedAt   time.Time `json:"uploaded_at"`
	CheckedAt    time.Time `json:"checked_at"`
	Gone         string    `json:"gone,omitempty"` // why the file is not at its place
	GoneAt       time.Time `json:"gone_at,omitzero"`
}

// Removed is an asset that was deleted in the library or moved to its trash, as the root's
// policies say.
type Removed struct {
	FileID     string    `json:"file_id"`
	RemotePath string    `json:"remote_path"`          // where it was
	TrashPath  string    `json:"trash_path,omitempty"` // where it is; "" when it was deleted
	At         time.Time `json:"at"`
}

// Job is what is to be done about a path.
type Job struct {
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	Class     string    `json:"class,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Attempt is one that did not succeed.
type Attempt struct {
	Began     time.Time `json:"began"`
	Seconds   float64   `json:"seconds"`
	Class     string    `json:"class"`
	Reason    string    `json:"reason"`
	RequestID string    `json:"request_id,omitempty"`
	Last      bool      `json:"last,omitempty"` // it was given up then
}
