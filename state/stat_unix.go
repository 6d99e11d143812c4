//go:build unix

package state

import (
	"io/fs"
	"syscall"
)

// StatOf returns what iksync compares, from a file's info as os gives it.
func StatOf(info fs.FileInfo) Stat {
	mtime := info.ModTime()
	st := Stat{Size: info.Size(), MtimeNs: EncodeTime(mtime.Unix(), int64(mtime.Nanosecond()))}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.CtimeNs = ctimeNs(sys)
		st.Dev, st.Ino = uint64(sys.Dev), uint64(sys.Ino)
	}
	return st
}
