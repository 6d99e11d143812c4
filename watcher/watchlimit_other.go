//go:build !linux

package watcher

// WatchLimit is how many directories this user may watch; false where the system
// does not tell.
func WatchLimit() (int64, bool) { return 0, false }
