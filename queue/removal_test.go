package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"iksync/queue"
	"iksync/state"
)

// brakeless asks for all removals there are.
func (f *fixture) brakeless() queue.Removal {
	return queue.Removal{RootID: f.root, Gone: true, Filtered: true, Limit: 1000}
}

func (f *fixture) due(r queue.Removal) queue.Due {
	f.Helper()
	r.Identity = []byte(f.there)
	d, err := f.q.Due(f.Context(), r)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// wantDue wants just these files to be due, in any order.
func (f *fixture) wantDue(r queue.Removal, want ...string) queue.Due {
	f.Helper()
	d := f.due(r)
	got := []string{}
	for _, file := range d.Files {
		got = append(got, file.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.Errorf("due are %q, should be %q; %+v", got, want, d)
	}
	return d
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// absent marks paths, each alone.
func (f *fixture) absent(why state.Absence, paths ...string) {
	f.Helper()
	marks := make([]queue.Absent, len(paths))
	for i, p := range paths {
		marks[i] = queue.Absent{Path: p, Why: why}
	}
	f.markAbsent(marks...)
}

// scanned notes a complete scan of the directory that the records are of.
func (f *fixture) scanned() {
	f.Helper()
	f.there = "disk 1"
	f.must(f.q.Scanned(f.Context(), f.root, queue.Scan{Began: time.Now(), Identity: []byte("disk 1"), InStep: 1 << 20}))
}

// uploads records paths as uploaded.
func (f *fixture) uploads(paths ...string) {
	f.Helper()
	for _, p := range paths {
		f.upload(p, 1)
	}
}

// gone records paths whose files are gone, as a complete scan has confirmed.
func (f *fixture) gone(paths ...string) {
	f.Helper()
	for _, p := range paths {
		if f.record(p) == nil {
			f.upload(p, 1)
		}
	}
	f.absent(state.Gone, paths...)
	f.scanned()
}

func (f *fixture) standing() queue.Standing {
	f.Helper()
	s, err := f.q.Standing(f.Context(), f.root)
	f.must(err)
	return s
}

func (f *fixture) undo(path string, want int64) {
	f.Helper()
	n, err := f.q.Undo(f.Context(), queue.Place{RootID: f.root, Path: path})
	f.must(err)
	if n != want {
		f.Errorf("undo of %q keeps %d, should keep %d", path, n, want)
	}
}

// remove does what the remover does with what is due, and returns how many went.
func (f *fixture) remove(r queue.Removal) int {
	f.Helper()
	d := f.due(r)
	for _, file := range d.Files {
		i := &queue.Intent{Kind: queue.DeleteFile, File: file.ID, Source: file.RemotePath, Approved: d.Approved}
		f.must(f.q.Intend(f.Context(), i))
		f.must(f.q.Removed(f.Context(), i, ""))
	}
	return len(d.Files)
}

// bubble runs a test with a clock that stands still until it is turned.
func bubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(open(t)) })
}

// pass turns the clock.
func pass(d time.Duration) { <-time.After(d) }

func numbered(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("n/%03d", i)
	}
	return paths
}

// TestOnlyWhatThePoliciesNameIsDue: keep is the default, and each policy is its own.
func TestOnlyWhatThePoliciesNameIsDue(t *testing.T) {
	f := open(t)
	f.uploads("gone", "filtered", "there")
	f.absent(state.Gone, "gone")
	f.absent(state.Filtered, "filtered")
	f.scanned()
	for _, c := range []struct {
		gone, filtered bool
		want           []string
	}{
		{false, false, nil},
		{true, false, []string{"gone"}},
		{false, true, []string{"filtered"}},
		{true, true, []string{"gone", "filtered"}},
	} {
		f.wantDue(queue.Removal{RootID: f.root, Gone: c.gone, Filtered: c.filtered, Limit: 100}, c.want...)
	}
	f.wantDue(queue.Removal{RootID: f.ensureRoot("/other"), Gone: true, Filtered: true, Limit: 100})
}

// TestWhatIsNotDue: everything that keeps a copy in the library although its file
// is absent.
// twin records a second file with an asset's fileId, which Complete refuses.
func (f *fixture) twin(root int64, fileID string) {
	f.Helper()
	f.noErr(f.db.Write(f.Context(), state.Durable, func(tx *state.Tx) error {
		return tx.PutFile(&state.File{RootID: root, Path: "twin", Stat: seen(1), FileID: fileID, RemotePath: "/twin", Response: []byte("{}"),
			UploadedAt: time.UnixMilli(1), CheckedAt: time.UnixMilli(1)})
	}))
}

func TestWhatIsNotDue(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		do    func(f *fixture)
	}{
		{"a file that was marked after the last complete scan", 0, func(f *fixture) {
			f.scanned()
			pass(time.Millisecond)
			f.absent(state.Gone, "a")
		}},
		{"a file that is there again", 0, func(f *fixture) {
			f.gone("a")
			f.must(f.q.MarkPresent(f.Context(), f.root, []string{"a"}))
		}},
		{"a file whose new content waits", 0, func(f *fixture) {
			f.gone("a")
			f.enqueue(f.change("a", 2))
		}},
		{"a file whose new content is being sent", 0, func(f *fixture) {
			f.gone("a")
			f.enqueue(f.change("a", 2))
			f.claimOne()
		}},
		{"a file whose new content was refused", 0, func(f *fixture) {
			f.gone("a")
			f.enqueue(f.change("a", 2))
			f.fail(f.claimOne(), queue.Failure{Class: "file", Dead: true})
		}},
		{"a file that is there again and empty", 0, func(f *fixture) {
			f.gone("a")
			c := f.change("a", 2)
			c.Hold, c.HoldClass = "it is empty", "empty"
			f.enqueue(c)
		}},
		{"a file whose new content was sent", 0, func(f *fixture) {
			f.gone("a")
			f.upload("a", 2)
		}},
		{"a file that was touched", 0, func(f *fixture) {
			f.gone("a")
			f.enqueue(f.change("a", 2))
			job := f.claimOne()
			f.must(f.outcome(func(done func(error)) { f.q.Touch(&job, job.Stat, done) }))
		}},
		{"a file that seems to be under another name", 0, func(f *fixture) {
			f.gone("a")
			f.enqueue(queue.Change{RootID: f.root, Path: "b", Stat: f.seenAt("a", 1), Remote: "/b"})
		}},
		{"a file that was told to be kept", 0, func(f *fixture) {
			f.gone("a")
			f.undo("a", 1)
		}},
		{"a file whose removal is under way", 0, func(f *fixture) {
			f.gone("a")
			f.must(f.q.Intend(f.Context(), &queue.Intent{Kind: queue.DeleteFile, File: f.record("a").ID, Source: "/a"}))
		}},
		{"a file of a folder that is being moved", 0, func(f *fixture) {
			f.gone("a")
			file := f.record("a")
			file.RemotePath = "/folder/a"
			f.must(f.db.Write(f.Context(), state.Durable, func(tx *state.Tx) error {
				return tx.Exec(`UPDATE files SET remote_path = ? WHERE id = ?`, file.RemotePath, file.ID)
			}))
			f.must(f.q.Intend(f.Context(), &queue.Intent{Kind: queue.MoveFolder, Source: "/folder", Target: "/other"}))
		}},
		{"a file whose asset another record has too", 0, func(f *fixture) {
			f.gone("a")
			f.twin(f.root, f.record("a").FileID)
		}},
		{"a file whose asset the record of another root has too", 0, func(f *fixture) {
			f.gone("a")
			f.twin(f.ensureRoot("/other"), f.record("a").FileID)
		}},
		{"a file that is absent for less than the grace", time.Hour, func(f *fixture) {
			f.gone("a")
			pass(time.Hour - time.Millisecond)
		}},
		{"a file that is absent anew", time.Hour, func(f *fixture) {
			f.gone("a")
			pass(2 * time.Hour)
			f.must(f.q.MarkPresent(f.Context(), f.root, []string{"a"}))
			f.absent(state.Gone, "a")
			f.scanned()
		}},
		{"a file that is absent for another reason by now", time.Hour, func(f *fixture) {
			f.gone("a")
			pass(2 * time.Hour)
			f.absent(state.Filtered, "a")
			f.scanned()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(f *fixture) {
				f.uploads("a", "control")
				f.absent(state.Gone, "control")
				f.scanned()
				pass(3 * time.Hour)
				c.do(f)
				r := f.brakeless()
				r.After = c.after
				f.wantDue(r, "control")
			})
		})
	}
}

func TestNothingIsDueBeforeTheFirstCompleteScan(t *testing.T) {
	f := open(t)
	f.uploads("a")
	f.absent(state.Gone, "a")
	if d := f.wantDue(f.brakeless()); d.All != 1 || d.Unscanned != 1 {
		t.Errorf("%+v", d)
	}
	f.scanned()
	if d := f.wantDue(f.brakeless(), "a"); d.All != 1 || d.Unscanned != 0 {
		t.Errorf("%+v", d)
	}
}

// TestTheGraceBeginsWithTheAbsence: being seen absent again does not begin it anew.
func TestTheGraceBeginsWithTheAbsence(t *testing.T) {
	bubble(t, func(f *fixture) {
		r := f.brakeless()
		r.After = time.Hour
		f.gone("a")
		pass(time.Hour - time.Millisecond)
		f.absent(state.Gone, "a")
		f.scanned()
		f.wantDue(r)
		pass(time.Millisecond)
		f.wantDue(r, "a")
	})
}

// TestTheBrake is about what is too much for an hour.
func TestTheBrake(t *testing.T) {
	for _, c := range []struct {
		name          string
		gone, there   int
		files         int64
		share         float64
		braked, going int
	}{
		{"no bound", 50, 0, 0, 0, 0, 50},
		{"as many as are allowed", 10, 5, 10, 0, 0, 10},
		{"one more", 11, 5, 10, 0, 11, 0},
		{"a share that is kept to", 2, 18, 0, 0.1, 0, 2},
		{"a share that is not", 3, 17, 0, 0.1, 3, 0},
		{"the share is the smaller bound", 3, 17, 100, 0.1, 3, 0},
		{"the count is the smaller bound", 3, 17, 2, 0.5, 3, 0},
		{"one of a few is always allowed", 1, 2, 0, 0.1, 0, 1},
		{"but no two of them", 2, 2, 0, 0.1, 2, 0},
		{"all", 20, 0, 100, 0.1, 20, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			paths := numbered(c.gone + c.there)
			f.uploads(paths...)
			f.absent(state.Gone, paths[:c.gone]...)
			f.scanned()
			r := f.brakeless()
			r.MaxFiles, r.MaxShare, r.Limit = c.files, c.share, 5
			d := f.due(r)
			if (d.Braked != "") != (c.braked > 0) || len(d.Files) != min(c.going, 5) || d.All != int64(c.gone) {
				t.Errorf("%+v", d)
			}
			if got := f.standing().Braked; got != d.Braked {
				t.Errorf("noted is %q, said %q", got, d.Braked)
			}
			if got, want := f.standing().Gone, (queue.Waiting{Files: int64(c.gone), HeldBack: int64(c.braked)}); got != want {
				t.Errorf("waiting are %+v, should be %+v", got, want)
			}
			went := 0
			for n := f.remove(r); n > 0; n = f.remove(r) {
				went += n
			}
			if went != c.going { // also batch after batch
				t.Errorf("%d went, not %d", went, c.going)
			}
		})
	}
}

// TestWhatWaitsToBeRemovedIsCounted: what is kept does not, nor does what was approved wait
// for the brake; and with nothing that waits nothing is held back.
func TestWhatWaitsToBeRemovedIsCounted(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.uploads("a", "b", "c", "d", "e")
		r := f.brakeless()
		r.MaxFiles, r.After = 1, time.Hour
		want := func(gone, filtered queue.Waiting) {
			f.Helper()
			if s := f.standing(); s.Gone != gone || s.Filtered != filtered {
				f.Errorf("it stands at %+v", s)
			}
		}
		want(queue.Waiting{}, queue.Waiting{})
		f.absent(state.Gone, "a", "b", "c")
		f.absent(state.Filtered, "d")
		want(queue.Waiting{Files: 3}, queue.Waiting{Files: 1})
		f.must(f.q.Approve(f.Context(), f.root))
		pass(time.Minute)
		f.absent(state.Gone, "e")
		pass(2 * time.Hour)
		f.must(f.q.MarkPresent(f.Context(), f.root, []string{"c"}))
		f.absent(state.Gone, "c")
		pass(2 * time.Hour)
		f.scanned()
		f.due(r)
		want(queue.Waiting{Files: 4, HeldBack: 2}, queue.Waiting{Files: 1})
		record := f.record("c")
		if s := f.standing(); !s.HoldsBack(record) || s.HoldsBack(f.record("a")) {
			f.Errorf("the brake holds back what was approved, or not what was not: %+v", s)
		}
		_, err := f.q.Undo(f.Context(), queue.Place{RootID: f.root, Path: "c"})
		f.must(err)
		want(queue.Waiting{Files: 3, HeldBack: 1}, queue.Waiting{Files: 1})
	})
}

// TestTheBrakeCountsWhatWentWithinTheHour: slowly is not around it.
func TestTheBrakeCountsWhatWentWithinTheHour(t *testing.T) {
	bubble(t, func(f *fixture) {
		paths := numbered(20)
		f.uploads(paths...)
		r := f.brakeless()
		r.MaxFiles = 10
		f.absent(state.Gone, paths[:6]...)
		f.scanned()
		if n := f.remove(r); n != 6 {
			t.Errorf("%d went, not 6", n)
		}
		pass(30 * time.Minute)
		f.absent(state.Gone, paths[6:10]...)
		f.scanned()
		if n := f.remove(r); n != 4 {
			t.Errorf("%d went, not 4", n)
		}
		pass(30*time.Minute + time.Millisecond)
		f.absent(state.Gone, paths[10:16]...)
		f.scanned()
		if n := f.remove(r); n != 6 { // the first six were an hour ago
			t.Errorf("%d went, not 6", n)
		}
		f.absent(state.Gone, paths[16])
		f.scanned()
		if n := f.remove(r); n != 0 || f.standing().Braked == "" {
			t.Errorf("%d went; %+v", n, f.standing())
		}
		// Time alone does not take it off, nor does the file's return, nor a restart.
		pass(24 * time.Hour)
		f.wantDue(r)
		f.must(f.q.MarkPresent(f.Context(), f.root, paths[16:17]))
		f.absent(state.Gone, paths[17])
		f.scanned()
		f.wantDue(r)
		f.reopen()
		f.wantDue(r)
	})
}

// TestTheBrakeHoldsAlsoWhatIsNotConfirmedYet: a mass delete must not be found batch by batch.
func TestTheBrakeHoldsAlsoWhatIsNotConfirmedYet(t *testing.T) {
	bubble(t, func(f *fixture) {
		paths := numbered(20)
		f.uploads(paths...)
		f.absent(state.Gone, paths[:5]...)
		f.scanned()
		pass(time.Millisecond)
		f.absent(state.Gone, paths[5:11]...)
		r := f.brakeless()
		r.MaxFiles = 10
		if d := f.wantDue(r); d.Braked == "" || d.Unscanned != 6 {
			t.Errorf("%+v", d)
		}
	})
}

// TestTheBrakeIsOfOneRoot: another root goes on.
func TestTheBrakeIsOfOneRoot(t *testing.T) {
	f := open(t)
	f.gone("a", "b", "c")
	other := *f
	other.root = f.ensureRoot("/other")
	other.enqueue(queue.Change{RootID: other.root, Path: "o", Stat: other.seenAt("o", 1), Remote: "/other/o"})
	other.complete(other.claimOne())
	other.absent(state.Gone, "o")
	other.scanned()
	r := f.brakeless()
	r.MaxFiles = 2
	f.wantDue(r)
	r.RootID = other.root
	other.wantDue(r, "o")
}

// TestApproveLetsGoWhatIsAbsentByThen and nothing that is absent later.
func TestApproveLetsGoWhatIsAbsentByThen(t *testing.T) {
	bubble(t, func(f *fixture) {
		paths := numbered(20)
		f.uploads(paths...)
		r := f.brakeless()
		r.MaxFiles, r.After, r.Limit = 4, time.Hour, 3
		f.absent(state.Gone, paths[:10]...)
		f.scanned()
		pass(2 * time.Hour)
		f.wantDue(r)
		f.absent(state.Gone, paths[10:12]...) // whose grace is not over
		f.must(f.q.Approve(f.Context(), f.root))
		pass(time.Millisecond)
		f.absent(state.Gone, paths[12:18]...)
		f.scanned()
		if s := f.standing(); s.Braked != "" || s.Absent != 18 {
			t.Errorf("%+v", s)
		}
		went := 0
		for n := f.remove(r); n > 0; n = f.remove(r) {
			went += n
		}
		if went != 10 {
			t.Errorf("%d went, should be the 10 whose grace is over", went)
		}
		pass(time.Hour) // the six that came later are too many; the two go all the same
		f.scanned()
		if d := f.wantDue(r, paths[10:12]...); !d.Approved || d.Braked == "" {
			t.Errorf("%+v", d)
		}
		f.remove(r)
		f.wantDue(r)
	})
}

// TestWhatWasApprovedCountsForNoBrake: what is absent afterwards has its own hour.
func TestWhatWasApprovedCountsForNoBrake(t *testing.T) {
	bubble(t, func(f *fixture) {
		paths := numbered(20)
		f.uploads(paths...)
		r := f.brakeless()
		r.MaxFiles = 4
		f.absent(state.Gone, paths[:10]...)
		f.scanned()
		f.must(f.q.Approve(f.Context(), f.root))
		if n := f.remove(r); n != 10 {
			t.Errorf("%d went, not 10", n)
		}
		pass(time.Millisecond)
		f.absent(state.Gone, paths[10:14]...)
		f.scanned()
		if n := f.remove(r); n != 4 {
			t.Errorf("%d went, not 4", n)
		}
	})
}
