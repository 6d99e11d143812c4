//go:build !linux

package watcher

// LowPriority runs f; other systems have no such priority for a thread.
func LowPriority(f func() error) error { return f() }
