//go:build !unix

package state

import "io/fs"

// StatOf returns what iksync compares, from a file's info as os gives it.
func StatOf(info fs.FileInfo) Stat {
	return Stat{Size: info.Size(), MtimeNs: info.ModTime().UnixNano()}
}
