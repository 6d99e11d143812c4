package watcher_test

import (
	"os"
	"testing"
)

// TestAnUnreadableDirectoryProvesNothing: what it held is as it was recorded,
// whatever is gone in it, and so is what was marked before.
func TestAnUnreadableDirectoryProvesNothing(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	for name, mode := range map[string]os.FileMode{"not at all": 0, "not to be listed": 0o300, "not to be entered": 0o400} {
		t.Run(name, func(t *testing.T) {
			tr := synced(t, "a", "d/x", "d/e/y", "m")
			tr.must(os.Remove(tr.at("d/x")))
			tr.must(os.Chmod(tr.at("d"), mode))
			t.Cleanup(func() { tr.must(os.Chmod(tr.at("d"), 0o755)) })
			tr.must(os.Remove(tr.at("a")))
			tr.scan()
			tr.wantAbsent(gone("a"))
		})
	}
}
