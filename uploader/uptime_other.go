//go:build !linux

package uploader

import "time"

// uptime is not known here: the time between two processes does not count.
func uptime() (boot string, up time.Duration, ok bool) { return "", 0, false }
