package uploader

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// uptime reads the clock since the start of the machine, which goes on while the machine
// sleeps and which nobody can set, and names that start; false where it can't be had.
func uptime() (boot string, up time.Duration, ok bool) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, false
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0, false
	}
	boot = strings.TrimSpace(string(id))
	return boot, time.Duration(ts.Nano()), boot != ""
}
