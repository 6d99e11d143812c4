//go:build !unix

package state

import (
	"fmt"
	"io/fs"
	"os"
)

// acquire opens the lock file; without flock a second process is not kept out.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state file: %w", err)
	}
	return f, nil
}

// holder can't be told.
func holder(string) *LockedError { return nil }

func giveAway(*os.File) error { return nil }

func giveAwayClosed(string) error { return nil }

// linksOf is not known here.
func linksOf(fs.FileInfo) uint64 { return 1 }

// syncDir can't be done here.
func syncDir(string) error { return nil }
