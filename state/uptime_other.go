//go:build !linux

package state

import "time"

// Uptime is a clock that only runs forward; it begins with the process.
func Uptime() time.Duration { return time.Since(begun) }

var begun = time.Now()
