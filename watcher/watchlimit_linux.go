package watcher

import (
	"os"
	"strconv"
	"strings"
)

// WatchLimit is how many directories this user may watch, all programs together;
// false where the system does not tell.
func WatchLimit() (int64, bool) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
