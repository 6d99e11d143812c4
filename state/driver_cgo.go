//go:build cgo

package state

import (
	"errors"

	"github.com/mattn/go-sqlite3"
)

const driverName = "sqlite3"

func notADatabase(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt)
}

// IsFull reports whether err says that the disk under the state file is full.
func IsFull(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrFull
}

// Unwritable reports whether err says that the state file can't be written at
// present: its disk is full or read-only, or refuses.
func Unwritable(err error) bool {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case sqlite3.ErrFull, sqlite3.ErrReadonly:
		return true
	case sqlite3.ErrIoErr:
		// After a failed fsync a later one may succeed though the data is lost.
		return e.ExtendedCode != sqlite3.ErrIoErrFsync && e.ExtendedCode != sqlite3.ErrIoErrDirFsync
	}
	return false
}

func isConstraint(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrConstraint
}
