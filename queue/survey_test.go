package queue_test

import (
	"testing"

	"iksync/queue"
	"iksync/state"
)

// listed is what the library lists for a path.
func listed(path string, size int64) queue.Found {
	return queue.Found{Location: queue.Location{FileID: "id of " + path, VersionID: "1", Name: path, RemotePath: "/" + path, URL: "https://ik.example/" + path, Response: []byte("{}")}, Size: size}
}

func (f *fixture) match(found ...queue.Found) []queue.Matched {
	f.Helper()
	matched, err := f.q.MatchAll(f.Context(), found)
	f.must(err)
	return matched
}

func TestAdoptRecordsAFileOnlyAsItWasRead(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1), f.change("b", 1), f.change("c", 1))
	var adoptions []queue.Adoption
	for _, m := range f.match(listed("a", 101), listed("b", 101), listed("c", 70)) {
		adoptions = append(adoptions, queue.Adoption{Found: m.Found, Place: m.Place, Stat: m.Stat, Hash: state.Hash{7}, Proven: m.Place.Path == "a"})
		if want := f.seenAt(m.Place.Path, 1); m.Stat != want || m.File != 0 {
			t.Errorf("%s was seen as %+v, and is matched as %+v", m.Place.Path, want, m)
		}
	}
	f.enqueue(f.change("b", 2)) // changed since it was read
	done, err := f.q.Adopt(t.Context(), adoptions)
	f.must(err)
	if !done[0] || done[1] || !done[2] {
		t.Errorf("adopted: %v", done)
	}
	for _, want := range []struct {
		path     string
		stored   int64
		unproven bool
	}{{"a", 101, false}, {"c", 70, true}} {
		got, err := f.db.FileAt(t.Context(), f.root, want.path)
		f.must(err)
		if got == nil || got.Hash != (state.Hash{7}) || got.Stat != f.seenAt(want.path, 1) || got.LibrarySize() != want.stored || got.Unproven != want.unproven {
			t.Errorf("%s is recorded as %+v", want.path, got)
		}
	}
	if job := f.claimOne(); job.Path != "b" || job.Recorded {
		t.Errorf("left is %+v", job)
	}
	unproven, err := f.q.Unproven(t.Context())
	f.must(err)
	if unproven[f.root] != 1 {
		t.Errorf("unproven: %v", unproven)
	}
	for _, m := range f.match(listed("c", 70)) { // by the size that the library has
		if m.Match != queue.Recorded || m.Size != 70 {
			t.Errorf("matched as %+v", m)
		}
	}
}

func TestProveLeavesRecordsAloneThatHaveAnotherContent(t *testing.T) {
	f := open(t)
	adopt := func(path string, hash state.Hash) *state.File {
		f.enqueue(f.change(path, 1))
		m := f.match(listed(path, 101))[0]
		_, err := f.q.Adopt(t.Context(), []queue.Adoption{{Found: m.Found, Place: m.Place, Stat: m.Stat, Hash: hash}})
		f.must(err)
		file, err := f.db.FileAt(t.Context(), f.root, path)
		f.must(err)
		return file
	}
	equal, changed, replaced := adopt("equal", state.Hash{1}), adopt("changed", state.Hash{2}), adopt("replaced", state.Hash{3})
	old, read := adopt("old", state.Hash{}), f.seenAt("old", 2) // as records were before the local content was noted
	doubted := adopt("doubted", state.Hash{})
	f.must(f.q.Suspect(t.Context(), doubted.ID, doubted.FileID))
	n, err := f.q.Prove(t.Context(), []queue.Proof{
		{File: equal.ID, FileID: equal.FileID, Hash: state.Hash{1}},
		{File: changed.ID, FileID: changed.FileID, Hash: state.Hash{9}, Read: &read},
		{File: replaced.ID, FileID: "another", Hash: state.Hash{3}},
		{File: old.ID, FileID: old.FileID, Hash: state.Hash{4}, Read: &read},
		{File: doubted.ID, FileID: doubted.FileID, Hash: state.Hash{5}, Read: &read},
	})
	f.must(err)
	if n != 2 {
		t.Errorf("%d records were proven", n)
	}
	for path, want := range map[string]struct {
		proven bool
		hash   state.Hash
	}{"equal": {true, state.Hash{1}}, "changed": {false, state.Hash{2}}, "replaced": {false, state.Hash{3}}, "old": {true, state.Hash{4}}, "doubted": {false, state.Hash{}}} {
		got, err := f.db.FileAt(t.Context(), f.root, path)
		f.must(err)
		if got.Proven() != want.proven || got.Hash != want.hash {
			t.Errorf("%s: %+v", path, got)
		}
		if path == "old" && got.Stat != read {
			t.Errorf("%s is recorded as %+v, and was read as %+v", path, got.Stat, read)
		}
	}
}
