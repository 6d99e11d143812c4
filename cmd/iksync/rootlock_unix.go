//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockRoot takes the lock of a root, on the directory itself: nothing is
// written there. Where the file system has no such locks it does without.
func lockRoot(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return dir, nil
	}
	who := "another iksync"
	if pid := flockHolder(dir); pid > 0 {
		who = fmt.Sprintf("another iksync (pid %d)", pid)
	}
	return nil, errors.Join(exit(exitBusy, fmt.Errorf("%s is syncing the root %s: stop it first", who, path)), dir.Close())
}

// rootHolder looks which process syncs a root, without a lock; 0 when none does, or
// the kernel doesn't say.
func rootHolder(path string) int {
	dir, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer dir.Close()
	return flockHolder(dir)
}

// flockHolder asks the kernel which process has the lock; 0 where it doesn't say.
func flockHolder(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	// The list comes in pieces: while other locks come and go, one may be left out.
	for range 5 {
		if pid := flockHolderOf(sys.Ino); pid > 0 {
			return pid
		}
	}
	return 0
}

// flockHolderOf looks once for who holds the lock of an inode; 0 when it isn't listed.
func flockHolderOf(inode uint64) int {
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	// 1: FLOCK  ADVISORY  WRITE 1234 08:01:56789 0 EOF
	suffix := ":" + strconv.FormatUint(inode, 10)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], suffix) {
			if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}
