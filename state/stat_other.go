//go:build !unix

package state

import "io/fs"

// StatOf returns what iksync compares, from a file's info as os gives it.
func StatOf(info fs.FileInfo) Stat {
	mtime := info.ModTime()
	return Stat{Size: info.Size(), MtimeNs: EncodeTime(mtime.Unix(), int64(mtime.Nanosecond()))}
}
