//go:build unix

package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	if err := giveAway(f); err != nil {
		return nil, errors.Join(err, f.Close())
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

// giveAway lets a file that root has opened belong to whom its directory does: to the
// service that keeps its state there, and could not open what is root's. SQLite does
// the like with the files that it makes beside.
func giveAway(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var dir, own unix.Stat_t
	if err := unix.Stat(filepath.Dir(f.Name()), &dir); err != nil {
		return fmt.Errorf("look whose the directory of %s is: %w", f.Name(), err)
	}
	if err := unix.Fstat(int(f.Fd()), &own); err != nil {
		return fmt.Errorf("look whose %s is: %w", f.Name(), err)
	}
	if own.Uid != 0 || dir.Uid == 0 {
		return nil
	}
	if err := f.Chown(int(dir.Uid), int(dir.Gid)); err != nil {
		return fmt.Errorf("let %s belong to the owner of its directory: %w", f.Name(), err)
	}
	return nil
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
