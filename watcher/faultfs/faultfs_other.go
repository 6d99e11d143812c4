//go:build !linux

package faultfs

import (
	"syscall"
	"testing"
)

// FS is a mounted file system. There is none on this system.
type FS struct{}

// Usable reports whether there is FUSE, which is on Linux only.
func Usable(testing.TB) bool { return false }

// New skips the test.
func New(t testing.TB, _ Options) *FS {
	t.Helper()
	t.Skip("the file system for tests needs FUSE, which is on Linux only")
	return nil
}

// Dir is documented for Linux, as are all methods.
func (*FS) Dir(...string) string { return "" }

// Backing is documented for Linux.
func (*FS) Backing(...string) string { return "" }

// Change is documented for Linux.
func (*FS) Change(func(*Options)) {}

// Renumber is documented for Linux.
func (*FS) Renumber() {}

// Remount is documented for Linux.
func (*FS) Remount() {}

// Swap is documented for Linux.
func (*FS) Swap(string) {}

// MoveTo is documented for Linux.
func (*FS) MoveTo(string) {}

// Unmount is documented for Linux.
func (*FS) Unmount() {}

// Close is documented for Linux.
func (*FS) Close() {}

// Fail is documented for Linux.
func (*FS) Fail(string, Op, syscall.Errno) {}

// Hang is documented for Linux.
func (*FS) Hang(string, Op) {}

// Hung is documented for Linux.
func (*FS) Hung() int { return 0 }

// Release is documented for Linux.
func (*FS) Release() {}

// Hide is documented for Linux.
func (*FS) Hide(...string) {}

// HideSome is documented for Linux.
func (*FS) HideSome(uint64, float64) {}

// Heal is documented for Linux.
func (*FS) Heal() {}

// BytesRead is documented for Linux.
func (*FS) BytesRead() map[string]int64 { return nil }

// ForgetReads is documented for Linux.
func (*FS) ForgetReads() {}
