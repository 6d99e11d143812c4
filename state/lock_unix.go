//go:build unix

package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A lock that is held is tried again for half a second.
const lockTries, lockPause = 5, 100 * time.Millisecond

// acquire takes the exclusive lock at path and writes this process's id into
// it. The kernel releases the lock when the process ends, however it ends.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state file: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for try := 0; try < lockTries && errors.Is(err, unix.EWOULDBLOCK); try++ {
		time.Sleep(lockPause) // the other may be about to end
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, lockedBy(f)
	}
	// The id only makes the other's error better: a full disk is no reason to stop here.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// holder looks who has the lock at path; nil when nobody has, or that can't be told.
// Who wants the lock at this very moment tries again.
func holder(path string) *LockedError {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	return lockedBy(f)
}

// lockedBy reads who has the lock.
func lockedBy(f *os.File) *LockedError {
	content, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(content)))
	return &LockedError{Path: f.Name(), PID: pid}
}
