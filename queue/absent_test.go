package queue_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// markAbsent notes all of it.
func (f *fixture) markAbsent(absent ...queue.Absent) {
	f.Helper()
	for len(absent) > 0 {
		var err error
		absent, err = f.q.MarkAbsent(f.Context(), f.root, absent)
		f.noErr(err)
	}
}

func (f *fixture) wantAbsent(want map[string]state.Absence) {
	f.Helper()
	for file, err := range f.db.Files(f.Context(), f.root, false) {
		f.noErr(err)
		if file.Absent != want[file.Path] || (file.Absent != state.Present) == file.AbsentAt.IsZero() {
			f.Errorf("%q is %v since %v, should be %v", file.Path, file.Absent, file.AbsentAt, want[file.Path])
		}
	}
}

func TestARecordIsAbsentAloneOrWithAllBelowIt(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "d/1", "d/x/2", "d0/3", "d.txt")
	f.markAbsent(queue.Absent{Path: "a", Why: state.Filtered}, queue.Absent{Path: "d", Why: state.Gone, Below: true}, queue.Absent{Path: "never there", Why: state.Gone})
	f.wantAbsent(map[string]state.Absence{"a": state.Filtered, "d/1": state.Gone, "d/x/2": state.Gone})
	f.noErr(f.q.MarkPresent(t.Context(), f.root, []string{"a", "d/x/2", "d.txt"}))
	f.wantAbsent(map[string]state.Absence{"d/1": state.Gone})
}

// TestAllBelowADirectoryIsAbsentLittleByLittle: what is beyond a page is returned, with
// the directories after it.
func TestAllBelowADirectoryIsAbsentLittleByLittle(t *testing.T) {
	t.Parallel()
	var paths []string
	for i := range 600 {
		paths = append(paths, fmt.Sprintf("d/%05d", i))
	}
	f := recorded(t, append(paths, "c/1", "d.txt", "d0", "e/1", "e/2", "f")...)
	absent := []queue.Absent{
		{Path: "d", Why: state.Gone, Below: true}, {Path: "e", Why: state.Filtered, Below: true}, {Path: "f", Why: state.Gone}, {Path: "g", Why: state.Gone, Below: true},
	}
	want := map[string]state.Absence{"f": state.Gone} // alone, it needs no page
	for page := range 3 {
		var err error
		absent, err = f.q.MarkAbsent(t.Context(), f.root, absent)
		f.noErr(err)
		var left []string
		for _, a := range absent {
			left = append(left, a.Path)
		}
		for _, path := range paths[:min(250, len(paths))] {
			want[path] = state.Gone
		}
		paths = paths[min(250, len(paths)):]
		switch {
		case page < 2 && !slices.Equal(left, []string{"d", "e", "g"}):
			t.Errorf("after page %d there is more of %q", page, left)
		case page == 2 && len(left) > 0:
			t.Errorf("there is more of %q", left)
		case page == 2:
			want["e/1"], want["e/2"] = state.Filtered, state.Filtered
		}
		f.wantAbsent(want)
	}
}

func TestSinceWhenARecordIsAbsentChangesWithTheReasonAlone(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a")
	f.markAbsent(queue.Absent{Path: "a", Why: state.Gone})
	since := f.record("a").AbsentAt
	for time.Now().UnixMilli() == since.UnixMilli() {
		runtime.Gosched()
	}
	f.markAbsent(queue.Absent{Path: "a", Why: state.Gone})
	f.markAbsent(queue.Absent{Path: "a", Why: state.Gone, Below: true})
	if at := f.record("a").AbsentAt; !at.Equal(since) {
		t.Errorf("it is absent since %v, should be since %v", at, since)
	}
	f.markAbsent(queue.Absent{Path: "a", Why: state.Filtered})
	if at := f.record("a").AbsentAt; !at.After(since) {
		t.Errorf("for another reason it is absent since %v still", at)
	}
}

func TestFilesOfAnotherDeviceThanTheEmptyDirectoryStayPresent(t *testing.T) {
	t.Parallel()
	f := recorded(t, "mnt/a", "mnt/b") // device 1
	f.markAbsent(queue.Absent{Path: "mnt/a", Why: state.Gone, Device: 2, Empty: true}, queue.Absent{Path: "mnt", Why: state.Gone, Below: true, Device: 2, Empty: true})
	f.wantAbsent(nil)
	f.markAbsent(queue.Absent{Path: "mnt/a", Why: state.Gone, Device: 1, Empty: true})
	f.wantAbsent(map[string]state.Absence{"mnt/a": state.Gone})
}

func TestAnUploadATouchAndAMoveMakeARecordPresent(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "b", "c")
	for _, p := range []string{"a", "b", "c"} {
		f.markAbsent(queue.Absent{Path: p, Why: state.Gone})
	}
	f.upload("a", 2)
	touched := f.change("b", 1)
	touched.Stat.CtimeNs++
	f.enqueue(touched)
	job := f.claimOne()
	if err := f.outcome(func(done func(error)) { f.q.Touch(&job, touched.Stat, done) }); err != nil {
		t.Fatal(err)
	}
	f.enqueue(f.renamed("c", "d", sameInode))
	f.noErr(f.q.Relabel(t.Context(), []*queue.Move{f.moveOf("c")}))
	f.wantAbsent(nil)
}

func TestAnotherDirectoryInThePlaceOfARootIsBrakedUnlessItsFilesAreAsRecorded(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a")
	braked := func() bool {
		t.Helper()
		s, err := f.q.Standing(t.Context(), f.root)
		f.noErr(err)
		return s.Braked != ""
	}
	for _, scan := range []struct {
		identity       string
		inStep, braked bool
	}{{"first", true, false}, {"first", false, false}, {"second", true, false}, {"third", false, true}, {"second", false, false}, {"third", false, true}, {"third", true, true}} {
		found := int64(0)
		if scan.inStep {
			found = 1
		}
		f.noErr(f.q.Scanned(t.Context(), f.root, queue.Scan{Began: time.Now(), Identity: []byte(scan.identity), InStep: found}))
		if braked() != scan.braked {
			t.Errorf("after a scan of the directory %q, in step %v, the brake is %v", scan.identity, scan.inStep, braked())
		}
	}
}
