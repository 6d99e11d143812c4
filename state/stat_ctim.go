//go:build unix && !darwin && !freebsd && !netbsd

package state

import "syscall"

func ctimeNs(sys *syscall.Stat_t) int64 { return EncodeTime(sys.Ctim.Unix()) }
