package watcher

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// From linux/ioprio.h; x/sys has no names for them.
const (
	ioprioWhoProcess = 1 // with 0: the calling thread
	ioprioIdle       = 3 << 13
)

// LowPriority runs f on a thread whose reads come after everybody else's. Where
// that is not allowed f runs all the same.
func LowPriority(f func() error) error {
	runtime.LockOSThread()
	before, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, 0, 0)
	if errno != 0 {
		runtime.UnlockOSThread()
		return f()
	}
	set := func(priority uintptr) bool {
		_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, priority)
		return errno == 0
	}
	lowered := set(ioprioIdle)
	defer func() {
		// A thread that can't be set back ends with this goroutine instead of serving others.
		if !lowered || set(before) {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}
