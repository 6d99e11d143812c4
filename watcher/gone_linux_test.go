package watcher_test

import (
	"os"
	"testing"

	"iksync/queue"
	"iksync/state"
)

func TestADirectoryThatGoesBetweenItsOpeningAndItsListingIsNoProblem(t *testing.T) {
	tr := newTree(t)
	tr.write("a", "d/x", "z")
	tr.o.Watch = func(path string, _ state.Stat) {
		if path == "d" {
			tr.must(os.RemoveAll(tr.at("d")))
		}
	}
	if r := tr.scan(); r.Problems != 0 {
		t.Errorf("problems: %v", r.Problem)
	}
	tr.wantJobs(queue.Ready, "a", "z")
}
