//go:build !linux

package watcher

import (
	"os"
	"syscall"

	"iksync/queue"
	"iksync/state"
)

// rootIdentity tells one directory from another in its place.
type rootIdentity struct {
	dev, ino uint64
}

// same reports whether both are the same directory.
func (r rootIdentity) same(o rootIdentity) bool { return r == o }

// recorded is the identity as it is kept. Numbers of devices are given to others, so the files
// are the evidence.
func (r rootIdentity) recorded() queue.Identity {
	return queue.Identity{ID: []byte(queue.ByFiles)}
}

func identify(path string) (rootIdentity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return rootIdentity{}, err
	}
	if !info.IsDir() {
		return rootIdentity{}, &os.PathError{Op: "stat", Path: path, Err: syscall.ENOTDIR}
	}
	st := state.StatOf(info)
	return rootIdentity{dev: st.Dev, ino: st.Ino}, nil
}

// NetworkFileSystem names the type of a file system whose changes are not
// announced; it is known on Linux only.
func NetworkFileSystem(string) string { return "" }
