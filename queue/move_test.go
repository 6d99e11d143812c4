package queue_test

import (
	"errors"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// renamed is the change of a path whose file was another path's, of which the
// inode tells, or only size and time.
func (f *fixture) renamed(from, to string, ino uint64) queue.Change {
	c := f.change(to, 0)
	c.Stat = f.seenAt(from, 1)
	c.Stat.Ino = ino
	return c
}

const sameInode, otherInode = 5, 6

// recorded uploads paths, each at its first content.
func recorded(t *testing.T, paths ...string) *fixture {
	t.Helper()
	f := open(t)
	for _, p := range paths {
		f.upload(p, 1)
	}
	return f
}

func (f *fixture) undecided() *queue.Move {
	f.Helper()
	m, _, err := f.q.Undecided(f.Context(), []int64{f.root})
	f.noErr(err)
	return m
}

func (f *fixture) next() (*queue.Move, time.Time) {
	f.Helper()
	m, next, err := f.q.NextMove(f.Context(), []int64{f.root})
	f.noErr(err)
	return m, next
}

// moveOf gives the move that has the record of a path for its donor.
func (f *fixture) moveOf(path string) *queue.Move {
	f.Helper()
	m, err := f.q.MoveOf(f.Context(), f.record(path).ID)
	f.noErr(err)
	return m
}

func (f *fixture) noErr(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func TestAFileLikeARecordedOneIsAMoveThatNobodyUploads(t *testing.T) {
	t.Parallel()
	for name, ino := range map[string]uint64{"of the same inode": sameInode, "of the same size and time": otherInode} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := recorded(t, "a.txt", "other.txt")
			f.enqueue(f.renamed("a.txt", "b.txt", ino))
			if jobs := f.claim(10); len(jobs) != 0 {
				t.Errorf("claimed %q", pathsOf(jobs))
			}
			m := f.undecided()
			if m == nil || m.Path != "b.txt" || m.Remote != "/b.txt" || m.Donor.Path != "a.txt" {
				t.Fatalf("undecided is %+v", m)
			}
			if next, _ := f.next(); next != nil {
				t.Errorf("it is moved before anybody decided: %+v", next)
			}
			f.noErr(f.q.ToUpload(t.Context(), m))
			if job := f.claimOne(); job.Path != "b.txt" || job.RemotePath != "/b.txt" || job.Recorded {
				t.Errorf("job %+v", job)
			}
		})
	}
}

func TestWhatIsNotLikeARecordedFileIsNoMove(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a.txt")
	bigger, later, held := f.renamed("a.txt", "b.txt", sameInode), f.renamed("a.txt", "c.txt", sameInode), f.renamed("a.txt", "d.txt", sameInode)
	bigger.Stat.Size++
	later.Stat.MtimeNs++
	held.Hold, held.HoldClass, held.Remote = "too large", "too_large", ""
	touched := f.change("a.txt", 1)
	touched.Stat.CtimeNs++
	f.enqueue(bigger, later, held, touched)
	if m := f.undecided(); m != nil {
		t.Errorf("undecided is %+v", m)
	}
	f.wantStates(map[string]queue.State{"a.txt": queue.Ready, "b.txt": queue.Ready, "c.txt": queue.Ready, "d.txt": queue.Held})
}

func TestARecordGivesToOneFileAndToThatOfItsInodeFirst(t *testing.T) {
	t.Parallel()
	f := recorded(t, "m.txt")
	f.enqueue(f.renamed("m.txt", "a.txt", otherInode), f.renamed("m.txt", "b.txt", otherInode))
	if m := f.moveOf("m.txt"); m == nil || m.Path != "a.txt" {
		t.Fatalf("the move is %+v", m)
	}
	if job := f.claimOne(); job.Path != "b.txt" {
		t.Errorf("claimed %s", job.Path)
	}
	f.enqueue(f.renamed("m.txt", "n.txt", sameInode), f.renamed("m.txt", "p.txt", otherInode))
	if m := f.moveOf("m.txt"); m == nil || m.Path != "n.txt" {
		t.Errorf("the move is %+v", m)
	}
	if job := f.claimOne(); job.Path != "p.txt" {
		t.Errorf("claimed %s", job.Path)
	}
}

func TestAMoveThatIsAnUploadAfterAllGetsARemotePathOfItsOwn(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a b")
	c := f.renamed("a b", "a_b", sameInode)
	c.Remote = "/a b" // the two map to one
	f.enqueue(c)
	m := f.undecided()
	if m == nil || m.Remote != "/a b" {
		t.Fatalf("undecided is %+v", m)
	}
	f.noErr(f.q.ToUpload(t.Context(), m))
	if job := f.claimOne(); job.RemotePath != alternate("/a b", "a_b", 0) {
		t.Errorf("it would overwrite another's asset: %+v", job)
	}
}

func TestAMoveWhoseDonorIsLostIsAnUpload(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a.txt")
	f.enqueue(f.renamed("a.txt", "b.txt", sameInode))
	f.noErr(f.q.Lost(t.Context(), f.record("a.txt").ID))
	if m := f.undecided(); m != nil {
		t.Errorf("undecided is %+v", m)
	}
	if job := f.claimOne(); job.Path != "b.txt" || f.record("a.txt") != nil {
		t.Errorf("job %+v", job)
	}
}

func TestADecisionIsForTheFilesOfTheDirectoryItself(t *testing.T) {
	t.Parallel()
	f := recorded(t, "d/1", "d/2", "d/in/3", "d0/4")
	f.enqueue(f.renamed("d/1", "e/1", sameInode), f.renamed("d/2", "e/2", sameInode), f.renamed("d/in/3", "e/in/3", sameInode), f.renamed("d0/4", "e0/4", sameInode))
	f.noErr(f.q.Decide(t.Context(), f.undecided()))
	var left []string
	for m := f.undecided(); m != nil; m = f.undecided() {
		left = append(left, m.Path)
		f.noErr(f.q.Decide(t.Context(), m))
	}
	if len(left) != 2 || left[0] != "e/in/3" || left[1] != "e0/4" {
		t.Errorf("left undecided were %q", left)
	}
}

func TestAMoveThatIsPutOffComesWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a.txt")
	f.enqueue(f.renamed("a.txt", "b.txt", sameInode))
	m := f.undecided()
	f.noErr(f.q.Decide(t.Context(), m))
	at := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	f.noErr(f.q.PutOff(t.Context(), m, queue.Failure{Class: "transient", Reason: "busy", NotBefore: at}))
	if m, next := f.next(); m != nil || !next.Equal(at) {
		t.Errorf("the next is %+v at %v, should be none before %v", m, next, at)
	}
	f.noErr(f.q.PutOff(t.Context(), m, queue.Failure{Free: true}))
	if m, _ := f.next(); m == nil || m.Attempts != 1 {
		t.Errorf("the next is %+v", m)
	}
}

func TestRecordsChangePlacesInOneTransaction(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "b")
	a, b := f.record("a"), f.record("b")
	f.enqueue(f.renamed("b", "a", sameInode), f.renamed("a", "b", sameInode))
	f.noErr(f.q.Relabel(t.Context(), []*queue.Move{f.moveOf("a"), f.moveOf("b")}))
	if now := f.record("b"); now.FileID != a.FileID || now.Stat != a.Stat {
		t.Errorf("b has the record %+v", now)
	}
	if now := f.record("a"); now.FileID != b.FileID || now.Stat != b.Stat {
		t.Errorf("a has the record %+v", now)
	}
	f.wantStates(map[string]queue.State{})
}

func TestARecordIsNotGivenAPathThatAnotherHas(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "b")
	f.enqueue(f.renamed("a", "b", sameInode))
	if err := f.q.Relabel(t.Context(), []*queue.Move{f.moveOf("a")}); !errors.Is(err, queue.ErrOccupied) {
		t.Errorf("it ended with %v", err)
	}
	if f.record("a").FileID != "a@1" || f.record("b").FileID != "b@1" {
		t.Error("records were changed all the same")
	}
}

func TestAChangeThatCameDuringAMoveIsUploaded(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a")
	f.enqueue(f.renamed("a", "b", sameInode))
	m := f.moveOf("a")
	f.enqueue(f.change("b", 2))
	f.noErr(f.q.Relabel(t.Context(), []*queue.Move{m}))
	if job := f.claimOne(); job.Path != "b" || !job.Recorded || job.RemotePath != "/a" || job.Stat != f.seenAt("b", 2) {
		t.Errorf("job %+v", job)
	}
}

func TestAnUploadIntoADirectoryOfUndecidedMovesStepsAside(t *testing.T) {
	t.Parallel()
	f := recorded(t, "d/1")
	f.enqueue(f.change("e/new", 1), f.change("e/in/new", 1), f.change("e0", 1), f.change("f/new", 1), f.renamed("d/1", "e/1", sameInode))
	jobs := f.claim(10)
	if got := pathsOf(jobs); len(got) != 2 || got[0] != "e0" || got[1] != "f/new" {
		t.Errorf("claimed %q", got)
	}
	if jobs, next, err := f.q.Claim(t.Context(), []int64{f.root}, 10, time.Hour); err != nil || len(jobs) != 0 || next.IsZero() {
		t.Errorf("then %q were claimed, the next at %v, %v", pathsOf(jobs), next, err)
	}
}

func TestATreeTellsHowManyOfItsFilesWereMovedAndWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		also     []string // records besides d/1, d/2 and d/x/3
		change   func(f *fixture, c *queue.Change)
		matched  int64
		obstacle bool
	}{
		"all of them":                        {matched: 3},
		"one edited":                         {change: func(f *fixture, c *queue.Change) { c.Stat.MtimeNs++ }, matched: 2},
		"one touched":                        {change: func(f *fixture, c *queue.Change) { c.Stat.CtimeNs++ }, matched: 2},
		"one elsewhere":                      {change: func(f *fixture, c *queue.Change) { c.Path, c.Remote = "g/1", "/g/1" }, matched: 2},
		"one of another name in the library": {change: func(f *fixture, c *queue.Change) { c.Remote = "/e/1-2" }, matched: 3, obstacle: true},
		"its folder to be taken":             {also: []string{"e/9"}, matched: 3, obstacle: true},
		"names that only begin alike":        {also: []string{"d0/1", "d./1", "e0/1", "e./1"}, matched: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := recorded(t, append(c.also, "d/1", "d/2", "d/x/3")...)
			changes := []queue.Change{f.renamed("d/1", "e/1", sameInode), f.renamed("d/2", "e/2", sameInode), f.renamed("d/x/3", "e/x/3", sameInode)}
			if c.change != nil {
				c.change(f, &changes[0])
			}
			f.enqueue(changes...)
			tree := queue.Tree{From: queue.Place{RootID: f.root, Path: "d"}, To: queue.Place{RootID: f.root, Path: "e"}, Source: "/d", Target: "/e"}
			f.noErr(f.q.Tree(t.Context(), &tree))
			if tree.Records != 3 || tree.Matched != c.matched || (tree.Obstacle != "") != c.obstacle {
				t.Errorf("tree %+v", tree)
			}
		})
	}
}

func TestARecordWithAnIntentIsNotUploadedAndNotIntendedTwice(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a")
	i := &queue.Intent{Kind: queue.MoveFile, File: f.record("a").ID, Source: "/a", Target: "/b"}
	f.noErr(f.q.Intend(t.Context(), i))
	again := *i
	if err := f.q.Intend(t.Context(), &again); !errors.Is(err, queue.ErrBusy) {
		t.Errorf("the second intent ended with %v", err)
	}
	f.enqueue(f.change("a", 2))
	if jobs := f.claim(1); len(jobs) != 0 {
		t.Errorf("claimed %q", pathsOf(jobs))
	}
	f.reopen()
	all, err := f.q.Intents(t.Context())
	f.noErr(err)
	if len(all) != 1 || all[0] != *i {
		t.Fatalf("intents %+v", all)
	}
	f.noErr(f.q.Placed(t.Context(), &all[0], &queue.Location{FileID: "new", VersionID: "v", Name: "b", RemotePath: "/b", URL: "u/b", Response: []byte(`{"n":1}`)}))
	if r := f.record("a"); r.FileID != "new" || r.RemotePath != "/b" || string(r.Response) != `{"n":1}` {
		t.Errorf("record %+v", r)
	}
	job := f.claimOne()
	if err := f.q.Intend(t.Context(), &queue.Intent{Kind: queue.MoveFile, File: f.record("a").ID, Source: "/b", Target: "/c"}); !errors.Is(err, queue.ErrBusy) {
		t.Errorf("an intent for a file that %s is sent for ended with %v", job.Path, err)
	}
}

func TestAnAssetIsNotPlacedWhereAnotherRecordIs(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "b")
	i := &queue.Intent{Kind: queue.MoveFile, File: f.record("a").ID, Source: "/a", Target: "/c"}
	f.noErr(f.q.Intend(t.Context(), i))
	if err := f.q.Placed(t.Context(), i, &queue.Location{FileID: "x", RemotePath: "/b"}); !errors.Is(err, state.ErrRemoteTaken) {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatIsDecidedOfAnEarlierChangeLeavesALaterOneAsItIs(t *testing.T) {
	t.Parallel()
	f := recorded(t, "a", "b")
	f.enqueue(f.renamed("a", "c", sameInode))
	stale := f.undecided()
	f.enqueue(f.renamed("b", "c", sameInode)) // another file is there by now, that was moved as well
	f.noErr(f.q.ToUpload(t.Context(), stale))
	f.noErr(f.q.Decide(t.Context(), stale))
	m := f.undecided()
	if m == nil || m.Donor.Path != "b" {
		t.Fatalf("the move is %+v", m)
	}
	f.noErr(f.q.ToUpload(t.Context(), m))
	if m := f.undecided(); m != nil {
		t.Errorf("a move is left: %+v", m)
	}
}
