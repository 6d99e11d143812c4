package main

import (
	"testing"

	"iksync/state"
)

// TestDecideRoot decides which recorded root a directory is.
func TestDecideRoot(t *testing.T) {
	t.Parallel()
	c := func(path string, what candidate) candidate {
		what.root = state.RecordedRoot{Root: state.Root{Path: path}}
		return what
	}
	for _, d := range []struct {
		name       string
		candidates []candidate
		is         string
		may        int
	}{
		{"nothing is recorded", nil, "", 0},
		{"another folder and other files", []candidate{c("a", candidate{sampled: 200})}, "", 0},
		{"a root without files", []candidate{c("a", candidate{folder: true})}, "", 0},
		{"the same directory", []candidate{c("a", candidate{identity: true, sampled: 200, matched: 200})}, "a", 0},
		{"the same directory, in which much has changed", []candidate{c("a", candidate{identity: true, sampled: 200, matched: 1})}, "a", 0},
		{"the same directory of a root without files", []candidate{c("a", candidate{identity: true})}, "a", 0},
		{"a clone with other files", []candidate{c("a", candidate{identity: true, sampled: 200})}, "", 1},
		{"most files", []candidate{c("a", candidate{sampled: 200, matched: 101})}, "a", 0},
		{"half of the files", []candidate{c("a", candidate{sampled: 200, matched: 100})}, "", 1},
		{"one file", []candidate{c("a", candidate{sampled: 200, matched: 1})}, "", 1},
		{"the only file", []candidate{c("a", candidate{sampled: 1, matched: 1})}, "a", 0},
		{"the same folder and other files", []candidate{c("a", candidate{folder: true, sampled: 200})}, "", 1},
		{"a copy of a root that is there still, in another folder", []candidate{c("a", candidate{stays: true, sampled: 200, matched: 200})}, "", 0},
		{"a copy of a root that is there still, in the same folder", []candidate{c("a", candidate{stays: true, folder: true, sampled: 200, matched: 200})}, "a", 0},
		{"the folder of a root that is there still", []candidate{c("a", candidate{stays: true, folder: true, sampled: 200})}, "", 1},
		{"one of two, by its files", []candidate{c("a", candidate{folder: true, sampled: 200}), c("b", candidate{sampled: 200, matched: 150})}, "b", 0},
		{"two with the same files", []candidate{c("a", candidate{sampled: 200, matched: 200}), c("b", candidate{sampled: 200, matched: 200})}, "", 2},
		{"two with the same files, one of them by its disk", []candidate{c("a", candidate{sampled: 200, matched: 200}), c("b", candidate{identity: true, sampled: 200, matched: 200})}, "b", 0},
		{"two with the same disk and files", []candidate{c("a", candidate{identity: true, sampled: 9, matched: 9}), c("b", candidate{identity: true, sampled: 9, matched: 9})}, "", 2},
		{"two with the same folder", []candidate{c("a", candidate{folder: true, sampled: 9}), c("b", candidate{folder: true, sampled: 9})}, "", 2},
	} {
		got := decideRoot(d.candidates)
		is := ""
		if got.is != nil {
			is = got.is.root.Path
		}
		if is != d.is || len(got.may) != d.may {
			t.Errorf("%s: it is %q, and may be %d", d.name, is, len(got.may))
		}
	}
}
