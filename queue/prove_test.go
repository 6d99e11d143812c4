package queue_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"iksync/queue"
	"iksync/state"
)

// few gives a stat of few possible ones, so that stats often agree.
func few(t *rapid.T, label string) state.Stat {
	n := func(what string, most int) int64 { return int64(rapid.IntRange(1, most).Draw(t, label+" "+what)) }
	return state.Stat{Size: 5, MtimeNs: n("mtime", 2), CtimeNs: n("ctime", 2), Dev: 1, Ino: uint64(n("inode", 2)), Mount: n("mount", 3) - 1}
}

// TestEnqueueFollowsProve compares what the statements decide with the function that
// decides.
func TestEnqueueFollowsProve(t *testing.T) {
	t.Parallel()
	f := open(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		dir := fmt.Sprint(round)
		record := &state.File{RootID: f.root, Path: dir + "/a", Stat: few(rt, "record"), FileID: dir, RemotePath: "/" + dir + "/a", Response: []byte("{}"),
			Unproven: rapid.Bool().Draw(rt, "unproven")}
		record.Stat.Size = int64(1000 + round) // of no other round
		if rapid.Bool().Draw(rt, "read") {
			record.Hash = state.Hash{1}
		}
		f.put(record)
		observed := few(rt, "observed")
		observed.Size = record.Stat.Size
		same := rapid.Bool().Draw(rt, "same path")
		path, at := dir+"/a", state.SamePath
		if !same {
			path, at = dir+"/b", state.OtherPath
		}
		f.enqueue(queue.Change{RootID: f.root, Path: path, Stat: observed, Remote: "/" + path})
		proof := state.Prove(record.Content(), state.Content{Stat: observed}, at)
		_, queued := f.states()[path]
		move, err := f.q.MoveTo(f.Context(), queue.Place{RootID: f.root, Path: path})
		if err != nil {
			rt.Fatal(err)
		}
		switch {
		case same && queued != (proof != state.Equal):
			rt.Fatalf("%+v at the path of %+v (%s): queued %v", observed, record.Stat, proof, queued)
		case same && move != nil:
			rt.Fatalf("%+v is a move from its own path", observed)
		case !same && !queued:
			rt.Fatalf("%+v is at a path without a record, and not queued", observed)
		case !same && (move != nil) != (proof != state.Different):
			rt.Fatalf("%+v, elsewhere than %+v (%s): a move %v", observed, record.Stat, proof, move != nil)
		}
		f.cancelAll()
	})
}

// put records a file.
func (f *fixture) put(file *state.File) {
	f.Helper()
	if err := f.db.Write(f.Context(), state.Durable, func(tx *state.Tx) error { return tx.PutFile(file) }); err != nil {
		f.Fatal(err)
	}
}

// cancelAll removes all jobs.
func (f *fixture) cancelAll() {
	f.Helper()
	if err := f.db.Write(f.Context(), state.Relaxed, func(tx *state.Tx) error { return tx.Exec(`DELETE FROM jobs`) }); err != nil {
		f.Fatal(err)
	}
}

func TestARenumberedFileIsNoMoveWhereIdentityIsNotProven(t *testing.T) {
	t.Parallel()
	f := open(t)
	alike := func(path string, ino uint64, mount int64) (*state.File, queue.Change) {
		st := state.Stat{Size: 9, MtimeNs: 1, CtimeNs: 1, Dev: 1, Ino: ino, Mount: mount}
		return &state.File{RootID: f.root, Path: path, Stat: st, Hash: state.Hash{byte(ino)}, FileID: path, RemotePath: "/" + path, Response: []byte("{}")},
			queue.Change{RootID: f.root, Path: path, Stat: st, Remote: "/" + path, Priority: queue.ComparePriority}
	}
	recordA, _ := alike("a", 1, 1)
	recordB, _ := alike("b", 2, 1)
	f.put(recordA)
	f.put(recordB)
	_, a := alike("a", 2, 2)
	_, b := alike("b", 1, 2)
	f.enqueue(a, b)
	for _, path := range []string{"a", "b"} {
		if m, err := f.q.MoveTo(t.Context(), queue.Place{RootID: f.root, Path: path}); err != nil || m != nil {
			t.Errorf("%q is a move: %+v, %v", path, m, err)
		}
	}
	backlogs, err := f.q.Backlogs(t.Context())
	if err != nil || backlogs[f.root].NotCompared != 2 {
		t.Errorf("not compared: %+v, %v", backlogs, err)
	}
}

func TestComparisonsComeAfterAllElse(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.upload("old", 1)
	again := f.change("old", 1)
	again.Stat.Ino++
	again.Priority = queue.ComparePriority
	f.enqueue(again)
	f.enqueue(f.change("new", 1))
	if jobs := f.claim(1); len(jobs) != 1 || jobs[0].Path != "new" {
		t.Errorf("claimed first: %q", pathsOf(jobs))
	}
}

func TestPutAsideKeepsTheLook(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.enqueue(f.change("a", 1))
	job := f.claimOne()
	st := f.seenAt("a", 2)
	st.Mount = 3
	if err := f.outcome(func(done func(error)) { f.q.PutAside(&job, st, 1234e6, job.Began, done) }); err != nil {
		t.Fatal(err)
	}
	if again := f.claimOne(); again.Stat != st || again.SeenAt != 1234e6 || again.Attempts != 0 {
		t.Errorf("claimed again as %+v", again)
	}
}

func TestAlteredIsLeftToAPerson(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.upload("a", 1)
	record := f.record("a")
	for i := range 2 {
		noted, err := f.q.Altered(t.Context(), record, record.Stat, "damaged")
		if err != nil || noted != (i == 0) {
			t.Errorf("noted: %v, %v", noted, err)
		}
	}
	roots := []int64{f.root}
	if n, err := f.q.Retry(t.Context(), queue.Selection{Roots: roots, Automatic: true}); err != nil || n != 0 {
		t.Errorf("tried again by itself: %d, %v", n, err)
	}
	if n, err := f.q.Retry(t.Context(), queue.Selection{Roots: roots}); err != nil || n != 1 {
		t.Errorf("tried again: %d, %v", n, err)
	}
	if job := f.claimOne(); job.RemotePath != record.RemotePath || !job.Recorded {
		t.Errorf("the job is %+v", job)
	}
}

func TestASourceOfACopyHasNothingToDo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(f *fixture, record *state.File){
		"a job":               func(f *fixture, _ *state.File) { f.enqueue(f.change("a", 2)) },
		"a running upload":    func(f *fixture, _ *state.File) { f.enqueue(f.change("a", 2)); f.claimOne() },
		"an unproven record":  func(f *fixture, r *state.File) { r.Unproven = true; f.put(r) },
		"altered on the disk": func(f *fixture, r *state.File) { _, _ = f.q.Altered(f.Context(), r, r.Stat, "damaged") },
		"moved elsewhere": func(f *fixture, r *state.File) {
			f.enqueue(queue.Change{RootID: f.root, Path: "b", Stat: r.Stat, Remote: "/b"})
		},
		"about to be moved away": func(f *fixture, r *state.File) {
			_ = f.q.Intend(f.Context(), &queue.Intent{Kind: queue.MoveFile, File: r.ID, Source: "/a", Target: "/b"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			f.upload("a", 1)
			record := f.record("a")
			find := func() *state.File {
				same, err := f.q.SameContent(t.Context(), record.Hash, record.Stat.Size, "a")
				if err != nil {
					t.Fatal(err)
				}
				return same
			}
			if find() == nil {
				t.Fatal("it is no source before")
			}
			spoil(f, record)
			if same := find(); same != nil {
				t.Errorf("it is a source: %+v", same)
			}
			copying := &queue.Intent{Kind: queue.CopyFile, Source: "/a", Target: "/c", Hash: record.Hash}
			if err := f.q.Intend(t.Context(), copying); err == nil {
				t.Error("a copy of it is intended")
			}
		})
	}
}

func TestNothingIsSentToAnAssetThatIsCopied(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.upload("a", 1)
	i := &queue.Intent{Kind: queue.CopyFile, Source: "/a", Target: "/c", Hash: f.record("a").Hash}
	if err := f.q.Intend(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	f.enqueue(f.change("a", 2))
	if jobs := f.claim(10); len(jobs) != 0 {
		t.Errorf("claimed %q meanwhile", pathsOf(jobs))
	}
	if err := f.q.Forget(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if job := f.claimOne(); job.Path != "a" {
		t.Errorf("claimed %q afterwards", job.Path)
	}
}
