//go:build linux || darwin || freebsd

package state

import (
	"math"

	"golang.org/x/sys/unix"
)

// mayWrite reports why this process may not write a file, or make one in a
// directory.
func mayWrite(path string, dir bool) error {
	mode := uint32(unix.W_OK)
	if dir {
		mode |= unix.X_OK
	}
	return unix.Access(path, mode)
}

// mayRead reports why this process may not read a file.
func mayRead(path string) error { return unix.Access(path, unix.R_OK) }

// freeSpace is what may still be written on the disk of a directory, bytes; -1
// where that is not told.
func freeSpace(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 { // of some network file systems
		return -1
	}
	free := float64(st.Bavail) * float64(st.Bsize)
	return int64(min(max(free, 0), math.MaxInt64/2))
}
