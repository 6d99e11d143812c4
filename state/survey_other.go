//go:build !(linux || darwin || freebsd)

package state

// mayWrite reports why this process may not write; only trying tells here.
func mayWrite(string, bool) error { return nil }

// freeSpace is not known here.
func freeSpace(string) int64 { return -1 }
