package state

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by writes after [DB.Close].
var ErrClosed = errors.New("the state file is closed")

// LockedError says that another process is writing the state file.
type LockedError struct {
	Path string // the lock file
	PID  int    // the other process's id; 0 when unknown
}

// Error names the other process and what to do.
func (e *LockedError) Error() string {
	who := "another iksync"
	if e.PID > 0 {
		who = fmt.Sprintf("another iksync (pid %d)", e.PID)
	}
	return fmt.Sprintf("%s is using this state file (lock %s): wait for it, stop it, or name another file with --state", who, e.Path)
}

// VersionError says that a state file's schema is not this program's.
type VersionError struct {
	Path       string
	Have, Want int
}

// Error says which program can read the file.
func (e *VersionError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("state file %s was written by a newer iksync (schema %d, this program knows %d): use that version or a newer one; the file was not touched", e.Path, e.Have, e.Want)
	}
	return fmt.Sprintf("state file %s has schema %d and this program needs %d: start a backfill once, it makes a backup and brings the file up to date", e.Path, e.Have, e.Want)
}

// LinkedError says that a state file has more than one name: the lock and the log are
// beside a name, so a second process would not see those of the first.
type LinkedError struct {
	Path  string
	Links uint64
}

// Error says how to have one name again.
func (e *LinkedError) Error() string {
	return fmt.Sprintf("state file %s has %d names (hard links), and under another one a second process could write it at the same time: "+
		"stop iksync, then remove the other names, or give it a file of its own: cp %[1]q %[1]q.copy && mv %[1]q.copy %[1]q", e.Path, e.Links)
}

// CorruptError says that a state file is damaged. It was not touched.
type CorruptError struct {
	Path string
	What string // SQLite's words
	Ours bool   // its first bytes are those of a state file
	Err  error  // nil when a check has found it
}

// Error says what is wrong and how to make the file anew.
func (e *CorruptError) Error() string {
	if !e.Ours {
		return fmt.Sprintf("%s is not an iksync state file or is damaged: name another with --state, or move it away to start anew (%s)", e.Path, e.What)
	}
	return fmt.Sprintf("state file %s is damaged (%s); it was left as it is. To make it anew from the library: iksync adopt --rebuild with the same --config, "+
		"which keeps the damaged file under another name; then start again", e.Path, e.What)
}

// Unwrap returns what lies beneath.
func (e *CorruptError) Unwrap() error { return e.Err }
