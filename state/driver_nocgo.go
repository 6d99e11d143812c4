//go:build !cgo

package state

// The driver's import registers it; without cgo every open says that cgo is needed.
import _ "github.com/mattn/go-sqlite3"

const driverName = "sqlite3"

func notADatabase(error) bool { return false }

// IsFull reports whether err says that the disk under the state file is full.
func IsFull(error) bool { return false }

// Unwritable reports whether err says that the state file can't be written at
// present: its disk is full or read-only, or refuses.
func Unwritable(error) bool { return false }

func isConstraint(error) bool { return false }
