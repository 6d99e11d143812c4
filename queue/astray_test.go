package queue_test

import (
	"testing"

	"iksync/queue"
)

// waiting is a record whose file is elsewhere by now, where it is to go with its
// asset, and a job of another path that has reserved the asset's remote path.
func waiting(t *testing.T) (*fixture, *queue.Move) {
	t.Helper()
	f := recorded(t, "a")
	f.enqueue(f.renamed("a", "b", sameInode))
	c := f.change("c", 1)
	c.Remote = "/a"
	if e := f.enqueue(c); e.Queued != 1 || len(e.Renamed) != 0 {
		t.Fatalf("queued as %+v", e)
	}
	return f, f.moveOf("a")
}

func TestAnUploadWaitsUntilTheAssetInItsPlaceHasLeft(t *testing.T) {
	t.Parallel()
	f, m := waiting(t)
	if jobs := f.claim(10); len(jobs) != 0 {
		t.Fatalf("claimed %q to where another record's asset is", pathsOf(jobs))
	}
	i := &queue.Intent{Kind: queue.MoveFile, File: m.Donor.ID, Source: "/a", Target: "/b"}
	f.noErr(f.q.Intend(t.Context(), i))
	f.noErr(f.q.Placed(t.Context(), i, &queue.Location{FileID: "a@1", RemotePath: "/b"}))
	f.noErr(f.q.Relabel(t.Context(), []*queue.Move{m}))
	if job := f.claimOne(); job.Path != "c" || job.RemotePath != "/a" {
		t.Errorf("claimed %q for %s", job.Path, job.RemotePath)
	}
}

func TestAnUploadGetsAnotherRemotePathWhenTheAssetInItsPlaceStays(t *testing.T) {
	t.Parallel()
	f, m := waiting(t)
	f.noErr(f.q.ToUpload(t.Context(), m))
	if jobs := f.claim(10); len(jobs) != 1 || jobs[0].Path != "b" {
		t.Fatalf("claimed %q", pathsOf(jobs))
	}
	f.claim(10) // finds that it has to
	if job := f.claimOne(); job.Path != "c" || job.RemotePath == "/a" {
		t.Errorf("claimed %q for %s", job.Path, job.RemotePath)
	}
}

func TestAnAssetIsAstrayUntilItsRecordFollowsOrItIsBroughtHome(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a")
	a := f.record("a")
	astray := func() bool {
		got, err := f.q.Astray(t.Context(), []int64{f.root})
		f.noErr(err)
		moves, err := f.q.HasMoves(t.Context(), []int64{f.root})
		f.noErr(err)
		if is := got != nil; is && (got.ID != a.ID || !moves) {
			t.Fatalf("astray is %+v, there is something to do: %v", got, moves)
		}
		return got != nil
	}
	move := func(from, to string) {
		i := &queue.Intent{Kind: queue.MoveFile, File: a.ID, Source: from, Target: to}
		f.noErr(f.q.Intend(t.Context(), i))
		f.noErr(f.q.Placed(t.Context(), i, &queue.Location{FileID: "a@1", RemotePath: to}))
	}
	if astray() {
		t.Error("it is before anything was done")
	}
	move("/a", "/elsewhere")
	if !astray() {
		t.Error("it is not, though it is elsewhere")
	}
	move("/elsewhere", "/a")
	f.noErr(f.q.Settled(t.Context(), a))
	if astray() {
		t.Error("it is after it was brought home")
	}
	f.enqueue(f.renamed("a", "b", sameInode))
	move("/a", "/b")
	if astray() {
		t.Error("it is, though it goes with its file")
	}
	f.noErr(f.q.Relabel(t.Context(), []*queue.Move{f.moveOf("a")}))
	if astray() {
		t.Error("it is after its record has followed")
	}
}
