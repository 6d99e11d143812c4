//go:build !(linux || darwin || freebsd)

package state

// mayWrite reports why this process may not write; only trying tells here.
func mayWrite(string, bool) error { return nil }

// mayRead reports why this process may not read a file; only trying tells here.
func mayRead(string) error { return nil }

// freeSpace is not known here.
func freeSpace(string) int64 { return -1 }
