package state

import (
	"time"

	"golang.org/x/sys/unix"
)

// Uptime is a clock that only runs forward, also over a suspend, and is the same in all
// processes; a reboot sets it back to 0.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(begun)
	}
	return time.Duration(ts.Nano())
}

var begun = time.Now()
