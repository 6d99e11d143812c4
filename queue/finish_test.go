package queue_test

import (
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

func TestAFailedJobWaitsForItsBackoff(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	job := f.claimOne()
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	hash := state.Hash{7}
	f.fail(job, queue.Failure{Class: "server", Reason: "it is down", RequestID: "r1", NotBefore: until, Accepted: &hash})

	jobs, next, err := f.q.Claim(t.Context(), []int64{f.root}, 1, time.Hour)
	if err != nil || len(jobs) != 0 || !next.Equal(until) {
		t.Errorf("claimed %q, next at %v, error %v; should wait until %v", pathsOf(jobs), next, err, until)
	}
	items := f.list(queue.Ready)
	if len(items) != 1 || items[0].Class != "server" || items[0].Reason != "it is down" || items[0].RequestID != "r1" ||
		items[0].Attempts != 1 || !items[0].NotBefore.Equal(until) {
		t.Errorf("it is listed as %+v", items)
	}

	awake(f.q)
	if err := f.retry(f.root); err != nil {
		t.Fatal(err)
	}
	if !awake(f.q) {
		t.Error("Retry does not wake the workers")
	}
	again := f.claimOne()
	if again.Attempts != 0 || again.Accepted == nil || *again.Accepted != hash {
		t.Errorf("claimed %+v", again)
	}
	f.fail(again, queue.Failure{NotBefore: time.Now().Add(-time.Second), Free: true})
	third := f.claimOne()
	if third.Attempts != 0 || third.Accepted == nil || *third.Accepted != hash {
		t.Errorf("after a failure that was not its fault it is %+v", third)
	}
	if it := f.list(queue.Leased); len(it) != 1 || it[0].Class != "server" || it[0].Reason != "it is down" || it[0].RequestID != "r1" {
		t.Errorf("given back, it is listed as %+v", it)
	}
	f.fail(third, queue.Failure{Class: "transient", Reason: "no", Resend: true})
	if fourth := f.claimOne(); fourth.Accepted != nil {
		t.Errorf("what was accepted is void, and it is %+v", fourth)
	}
	if it := f.list(queue.Leased); len(it) != 1 || it[0].Class != "transient" || it[0].Reason != "no" || it[0].RequestID != "" {
		t.Errorf("after another failure it is listed as %+v", it)
	}
}

func TestADeadLetterIsTriedAgainOnlyWhenAskedForOrChanged(t *testing.T) {
	f := open(t)
	other := f.ensureRoot("/other")
	f.enqueue(f.change("a", 1))
	f.fail(f.claimOne(), queue.Failure{Class: "refused", Dead: true})
	f.wantStates(want{"a": queue.Failed})

	steps := []struct {
		name string
		do   func() error
		want queue.State
	}{
		{"not by the same change", func() error { f.enqueue(f.change("a", 1)); return nil }, queue.Failed},
		{"not by a restart", func() error { f.reopen(); _, err := f.q.Recover(t.Context()); return err }, queue.Failed},
		{"not by a retry of another root", func() error { return f.retry(other) }, queue.Failed},
		{"by a change", func() error { f.enqueue(f.change("a", 2)); return nil }, queue.Ready},
		{"it can die again", func() error { f.fail(f.claimOne(), queue.Failure{Dead: true}); return nil }, queue.Failed},
		{"by a retry", func() error { return f.retry(f.root) }, queue.Ready},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		if got := f.states()["a"]; got != s.want {
			t.Errorf("%s: it is %v, should be %v", s.name, got, s.want)
		}
	}
}

func TestRetryLeavesTheLeasedAndTheHeldAlone(t *testing.T) {
	f := open(t)
	held := f.change("held", 1)
	held.Hold, held.HoldClass = "empty", "empty"
	f.enqueue(f.change("leased", 1), held)
	f.claimOne()
	if err := f.retry(f.root); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{"leased": queue.Leased, "held": queue.Held})
}

func TestAHeldJobWaitsForAChange(t *testing.T) {
	hold := func(c queue.Change, reason string) queue.Change {
		c.Remote, c.Hold, c.HoldClass = "", reason, "empty"
		return c
	}
	f := open(t)
	if e := f.enqueue(hold(f.change("a", 1), "empty")); e.Held != 1 || e.Queued != 0 {
		t.Errorf("enqueued %+v", e)
	}
	if e := f.enqueue(hold(f.change("a", 1), "empty")); e.Held != 0 {
		t.Errorf("a repetition enqueued %+v", e)
	}
	if e := f.enqueue(hold(f.change("a", 1), "over the limit of 3 MB")); e.Held != 1 {
		t.Errorf("another reason enqueued %+v", e)
	}
	if jobs := f.claim(9); len(jobs) != 0 {
		t.Errorf("claimed %q", pathsOf(jobs))
	}
	if items := f.list(queue.Held); len(items) != 1 || items[0].Reason != "over the limit of 3 MB" || items[0].Class != "empty" {
		t.Errorf("held: %+v", items)
	}
	if e := f.enqueue(f.change("a", 1)); e.Queued != 1 { // the limit was raised
		t.Errorf("a release enqueued %+v", e)
	}
	job := f.claimOne()
	f.hold(job, f.seenAt("a", 2), "too_large", "too large")
	f.wantStates(want{"a": queue.Held})
	f.enqueue(f.change("a", 3))
	if job := f.claimOne(); job.Stat != f.seenAt("a", 3) || job.RemotePath != "/a" {
		t.Errorf("claimed %+v", job)
	}
}

// A held job keeps no remote path from others.
func TestAHeldJobReservesNoRemotePath(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	f.hold(f.claimOne(), seen(1), "empty", "empty")
	other := f.change("b", 1)
	other.Remote = "/a"
	if e := f.enqueue(other); len(e.Renamed) != 0 {
		t.Errorf("enqueued %+v", e)
	}
	if e := f.enqueue(f.change("a", 2)); len(e.Renamed) != 1 {
		t.Errorf("the release enqueued %+v", e)
	}
}

// A file that is emptied and filled again while its upload runs is uploaded to its place.
func TestNoJobIsClaimedWithoutARemotePath(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	job := f.claimOne()
	empty := f.change("a", 2)
	empty.Stat.Size, empty.Remote, empty.Hold, empty.HoldClass = 0, "", "empty", "empty"
	f.enqueue(empty)
	f.complete(job)
	for _, job := range f.claim(9) {
		if job.RemotePath == "" {
			t.Error("a hold that comes during an upload takes the job's remote path and leaves it ready")
		}
	}
	f.wantStates(want{"a": queue.Leased}) // its worker will see whether it is still empty
}

func TestCancelRemovesWhatNoWorkerHas(t *testing.T) {
	f := open(t)
	held := f.change("held", 1)
	held.Hold, held.HoldClass = "empty", "empty"
	f.enqueue(held, f.change("leased", 1), f.change("dead", 1))
	for _, job := range f.claim(9) {
		if job.Path == "dead" {
			f.fail(job, queue.Failure{Dead: true})
		}
	}
	f.enqueue(f.change("ready", 1), f.change("kept", 1))
	if err := f.q.Cancel(t.Context(), f.root, []string{"held", "leased", "dead", "ready", "unknown"}, time.Now().Add(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.q.Cancel(t.Context(), f.root+1, []string{"kept"}, time.Now().Add(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{"leased": queue.Leased, "kept": queue.Ready})
}

// A file that went and came back just as it was has changed nothing in its job, so
// whoever saw it come back has left the job as it is.
func TestAJobStaysWhenItsFileIsBackJustAsItWas(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("back", 1), f.change("gone", 1))
	isBack := func(path string) bool { return path == "back" }
	for _, job := range f.claim(2) {
		if err := f.outcome(func(done func(error)) { f.q.Drop(&job, func() bool { return isBack(job.Path) }, done) }); err != nil {
			t.Fatal(err)
		}
	}
	f.wantStates(want{"back": queue.Ready})
	f.enqueue(f.change("gone", 1))
	if err := f.q.Cancel(t.Context(), f.root, []string{"back", "gone"}, time.Now().Add(time.Hour), isBack); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{"back": queue.Ready})
	f.complete(f.claimOne())
	f.wantStates(want{})
}

func TestTouchTakesTheNewStatAndDropRecordsNothing(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	f.enqueue(f.change("a", 2), f.change("b", 1))
	jobs := f.claim(2)
	if !jobs[0].Recorded || jobs[0].Size != seen(1).Size || jobs[0].Hash != (state.Hash{1, 1}) || jobs[1].Recorded {
		t.Errorf("claimed %+v", jobs)
	}
	if err := f.outcome(func(done func(error)) { f.q.Touch(&jobs[0], f.seenAt("a", 3), done) }); err != nil {
		t.Fatal(err)
	}
	if err := f.outcome(func(done func(error)) { f.q.Drop(&jobs[1], nil, done) }); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{})
	if got := f.record("a"); got.Stat != f.seenAt("a", 3) || got.FileID != "a@1" {
		t.Errorf("the record is %+v", got)
	}
	if got := f.record("b"); got != nil {
		t.Errorf("a dropped job has record %+v", got)
	}
}

// ImageKit changes names; when it puts a file where another path's asset was,
// that asset's content is gone and both must be sent again, apart.
func TestAnOverwrittenAssetIsRestored(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(f *fixture) queue.Job // returns the job that is about to land at /a_b
	}{
		{"when it was recorded long ago", func(f *fixture) queue.Job {
			f.upload("a_b", 1)
			f.enqueue(f.change("a b", 1))
			return f.claimOne()
		}},
		{"when it has a later change by then", func(f *fixture) queue.Job {
			f.upload("a_b", 1)
			f.enqueue(f.change("a b", 1))
			job := f.claimOne()
			f.enqueue(f.change("a_b", 2))
			return job
		}},
		{"when a worker has it", func(f *fixture) queue.Job {
			f.upload("a_b", 1)
			f.enqueue(f.change("a b", 1), f.change("a_b", 2))
			return f.claimFor(1, time.Hour)[0]
		}},
		{"when the job itself had reserved that remote path before", func(f *fixture) queue.Job {
			changed := f.change("a?b", 1)
			f.enqueue(changed, f.change("a_b", 1))
			jobs := f.claim(2)
			moved := fileOf(jobs[0])
			moved.RemotePath = "/a_b" // taken while it was only reserved
			f.completeAs(jobs[0], moved)
			return jobs[1]
		}},
		{"when its file is held by then", func(f *fixture) queue.Job {
			f.upload("a_b", 1)
			f.enqueue(f.change("a b", 1))
			job := f.claimOne()
			held := f.change("a_b", 2)
			held.Remote, held.Hold, held.HoldClass = "", "empty", "empty"
			f.enqueue(held)
			return job
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			job := c.prepare(f)
			landed := fileOf(job)
			landed.RemotePath = "/a_b"
			if err := f.outcome(func(done func(error)) { f.q.Complete(&job, landed, done) }); err != nil {
				if strings.Contains(err.Error(), "UNIQUE constraint") {
					t.Error("the overwritten path's job is made before this one gives its remote path up: ", err)
				}
				t.Fatal(err)
			}
			n, err := f.q.Recover(t.Context()) // whatever another worker had is done again
			if err != nil || n > 1 {
				t.Fatal(n, err)
			}
			jobs := f.claim(9)
			if len(jobs) != 2 {
				t.Fatalf("to be sent again: %q, should be both", pathsOf(jobs))
			}
			for _, job := range jobs {
				if job.RemotePath == "" {
					t.Error("a held owner is made ready without a remote path")
				}
				if job.Recorded && job.Hash != (state.Hash{}) && job.RemotePath == "/a_b" {
					t.Error("the overwritten content would be taken for unchanged")
				}
				f.complete(job)
			}
			remotes := make(map[string]string)
			for file, err := range f.db.Files(t.Context(), f.root, false) {
				if err != nil {
					t.Fatal(err)
				}
				remotes[file.RemotePath] = file.Path
			}
			if len(remotes) != 2 || remotes["/a_b"] == "" || remotes["/a_b"] == job.Path {
				t.Errorf("recorded are %v", remotes)
			}
			f.wantStates(want{})
		})
	}
}

// ImageKit that moves a file to the same place over and over must not go on for ever.
func TestAPathThatIsAlwaysPutOnAnothersBecomesADeadLetter(t *testing.T) {
	f := open(t)
	f.upload("a_b", 1)
	f.enqueue(f.change("a b", 1))
	for range 10 {
		for _, job := range f.claim(9) {
			file := fileOf(job)
			file.RemotePath = "/a_b"
			f.completeAs(job, file)
		}
	}
	f.wantStates(want{"a b": queue.Failed})
	if items := f.list(queue.Failed); items[0].Class != "conflict" || !strings.Contains(items[0].Reason, "a_b") {
		t.Errorf("it says %+v", items)
	}
	if got := f.record("a_b"); got == nil || got.FileID == "" {
		t.Errorf("the owner's record is %+v", got)
	}
}
