package watcher_test

import (
	"context"
	"os"
	"testing"

	"iksync/watcher"
	"iksync/watcher/filter"
)

// What is counted before a watcher runs is what its scan looks at.
func TestASurveyCountsTheDirectoriesOfAScan(t *testing.T) {
	tr := newTree(t)
	tr.write("a.jpg", "one/b.jpg", "one/two/c.jpg", "drafts/d.jpg", "drafts/below/e.jpg", ".git/objects/f")
	tr.must(os.Mkdir(tr.at("empty"), 0o755))
	tr.must(os.Symlink("one", tr.at("link")))
	tr.filter(filter.Options{Junk: true, Exclude: []string{"drafts/"}})
	survey, err := watcher.Count(t.Context(), tr.dir, tr.o.Filter)
	tr.must(err)
	if want := tr.scan().Dirs; survey.Dirs != want || want != 4 || !survey.Whole {
		t.Errorf("the survey is %+v, and the scan has looked at %d directories", survey, want)
	}
	if survey.Files != 4 { // the link too, since it is not followed
		t.Errorf("%d files are counted, not 4", survey.Files)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if survey, err = watcher.Count(ended, tr.dir, tr.o.Filter); err != nil || survey.Whole || survey.Dirs < 1 {
		t.Errorf("a survey without time is %+v, %v", survey, err)
	}
	if _, err := watcher.Count(t.Context(), tr.at("a.jpg"), tr.o.Filter); err == nil {
		t.Error("a file is counted as a root")
	}
}
