//go:build !cgo

package state

// The driver's import registers it; without cgo every open says that cgo is needed.
import _ "github.com/mattn/go-sqlite3"

const driverName = "sqlite3"

func notADatabase(error) bool { return false }

// IsFull reports whether err says that the disk under the state file is full.
func IsFull(error) bool { return false }

func isConstraint(error) bool { return false }
