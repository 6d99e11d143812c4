//go:build !linux

package watcher

// lowPriority runs f; other systems have no such priority for a thread.
func lowPriority(f func() error) error { return f() }
