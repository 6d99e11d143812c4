//go:build unix

package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lock that is held is tried again for half a second.
const lockTries, lockPause = 5, 100 * time.Millisecond

// acquire takes the exclusive lock at path and writes this process's id into
// it. The kernel releases the lock when the process ends, however it ends.
func acquire(path string) (*os.File, error) {
	// What is behind a symlink is another's, and would be overwritten.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("the lock of the state file, %s, is a symlink: remove it, iksync makes a file there (%w)", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the lock of the state file: %w", err)
	}
	if err := ownFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
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

// ownFile refuses a lock that is no file, or has other names: those may be another's.
func ownFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at the lock of the state file: %w", err)
	}
	if !info.Mode().IsRegular() || linksOf(info) > 1 {
		return fmt.Errorf("the lock of the state file, %s, is no regular file with one name: remove it, iksync makes one there", f.Name())
	}
	return nil
}

// linksOf is how many names a file has.
func linksOf(info fs.FileInfo) uint64 {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(sys.Nlink)
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) { // some file systems can't
		err = nil
	}
	return errors.Join(err, f.Close())
}

// giveAwayClosed is giveAway of a file that must not be opened here.
func giveAwayClosed(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var dir, own unix.Stat_t
	if err := errors.Join(unix.Stat(filepath.Dir(path), &dir), unix.Lstat(path, &own)); err != nil {
		return fmt.Errorf("look whose %s and its directory are: %w", path, err)
	}
	if own.Uid != 0 || dir.Uid == 0 || own.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	if err := unix.Lchown(path, int(dir.Uid), int(dir.Gid)); err != nil {
		return fmt.Errorf("let %s belong to the owner of its directory: %w", path, err)
	}
	return nil
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
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
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
