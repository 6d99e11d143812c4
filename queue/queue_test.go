package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

type want = map[string]queue.State

// Ordering invariant 1.
func TestCompleteRecordsAndRemovesInOneTransaction(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	if got := f.record("a"); got == nil || got.FileID != "a@1" {
		t.Errorf("the record is %+v", got)
	}
	f.wantStates(want{})

	t.Run("and when the record can't be written the job stays", func(t *testing.T) {
		f.enqueue(f.change("b", 1))
		job := f.claimOne()
		bad := fileOf(job)
		bad.RootID += 9 // no such root
		if err := f.outcome(func(done func(error)) { f.q.Complete(&job, bad, done) }); err == nil {
			t.Error("a record of an unknown root was taken")
		}
		f.wantStates(want{"b": queue.Leased})
		f.complete(job)
		f.wantStates(want{})
	})

	t.Run("and no reader ever sees a path with neither record nor job", func(t *testing.T) {
		const n = 200
		var changes []queue.Change
		for i := range n {
			changes = append(changes, f.change(fmt.Sprintf("c%03d", i), 1))
		}
		f.enqueue(changes...)
		jobs := f.claim(n)
		finished := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(finished)
			for i := range jobs {
				if i%20 == 19 { // now and then a commit of its own
					if err := f.outcome(func(done func(error)) { f.q.Complete(&jobs[i], fileOf(jobs[i]), done) }); err != nil {
						t.Error(err)
					}
					continue
				}
				f.q.Complete(&jobs[i], fileOf(jobs[i]), func(err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
		})
		for running := true; running; {
			select {
			case <-finished:
				running = false
			default:
			}
			known, _, err := f.q.Known(t.Context(), f.root, "b", 10_000)
			if err != nil {
				t.Fatal(err)
			}
			if len(known) != n {
				t.Fatalf("%d of %d paths are known", len(known), n)
			}
		}
		wg.Wait()
	})
}

// Ordering invariant 2.
func TestLeasesOfADeadProcessComeBack(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1), f.change("b", 1), f.change("c", 1))
	if got := pathsOf(f.claim(2)); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("claimed %q", got)
	}
	f.reopen()
	f.wantStates(want{"a": queue.Leased, "b": queue.Leased, "c": queue.Ready})
	n, err := f.q.Recover(t.Context())
	if err != nil || n != 2 {
		t.Errorf("recovered %d, error %v; should be 2", n, err)
	}
	if got := pathsOf(f.claim(9)); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("claimed %q", got)
	}
}

// Ordering invariant 3.
func TestEnqueueIgnoresWhatIsAlreadyRecorded(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	for _, c := range []struct {
		name   string
		change queue.Change
		queued int
	}{
		{"the content that the record shows", f.change("a", 1), 0},
		{"the same after a reboot that renumbered the devices", func() queue.Change {
			c := f.change("a", 1)
			c.Stat.Dev = 99
			return c
		}(), 0},
		{"a new content", f.change("a", 2), 1},
		{"the new content once more", f.change("a", 2), 0},
		{"a scan's late view of the recorded content", f.change("a", 1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := f.enqueue(c.change); got.Queued != c.queued || got.Held != 0 {
				t.Errorf("%+v, should queue %d", got, c.queued)
			}
		})
	}
	if job := f.claimOne(); job.Stat != f.seenAt("a", 2) {
		t.Errorf("the job has stat %+v", job.Stat)
	}
}

// Ordering invariant 4.
func TestTwoPathsNeverShareARemotePath(t *testing.T) {
	f := open(t)
	first, second := f.change("a b", 1), f.change("a_b", 1)
	first.Remote, second.Remote = "/a_b", "/a_b"
	given := alternate("/a_b", "a_b", 0)

	e := f.enqueue(first, second)
	if e.Queued != 2 || len(e.Renamed) != 1 || e.Renamed[0] != (queue.Renamed{RootID: f.root, Path: "a_b", Wanted: "/a_b", Given: given}) {
		t.Fatalf("enqueued %+v", e)
	}
	if e := f.enqueue(second, first); e.Queued != 0 || len(e.Renamed) != 0 {
		t.Errorf("a repetition enqueued %+v", e)
	}
	second.Stat = f.seenAt(second.Path, 2)
	f.enqueue(second)
	jobs := f.claim(2)
	if jobs[0].RemotePath != "/a_b" || jobs[1].RemotePath != given {
		t.Errorf("they go to %q and %q", jobs[0].RemotePath, jobs[1].RemotePath)
	}
	f.complete(jobs[0])
	f.complete(jobs[1])

	t.Run("not when one has a record and the other a job", func(t *testing.T) {
		third := f.change("a?b", 1)
		third.Remote = "/a_b"
		f.enqueue(third)
		job := f.claimOne()
		if job.RemotePath != alternate("/a_b", "a?b", 0) {
			t.Errorf("it goes to %q", job.RemotePath)
		}
		f.complete(job)
	})
	t.Run("and a change of the second goes where its record is", func(t *testing.T) {
		second.Stat = f.seenAt(second.Path, 3)
		if e := f.enqueue(second); e.Queued != 1 {
			t.Errorf("enqueued %+v", e)
		}
		job := f.claimOne()
		if job.RemotePath != given {
			t.Errorf("it goes to %q, its record is at %q", job.RemotePath, given)
		}
		f.complete(job)
	})
	t.Run("nor when the alternates are taken too", func(t *testing.T) {
		blocker := f.change("blocker", 1)
		blocker.Remote = alternate("/a_b", "late", 0)
		late := f.change("late", 1)
		late.Remote = "/a_b"
		f.enqueue(blocker, late)
		jobs := f.claim(2)
		if jobs[1].RemotePath != alternate("/a_b", "late", 1) {
			t.Errorf("it goes to %q", jobs[1].RemotePath)
		}
		f.complete(jobs[0])
		f.complete(jobs[1])
	})
	t.Run("nor in two roots", func(t *testing.T) {
		other := f.change("a b", 1)
		other.RootID, other.Remote, other.Stat.Size = f.ensureRoot("/other"), "/a_b", 7 // not one that was moved
		if e := f.enqueue(other); len(e.Renamed) != 1 {
			t.Errorf("enqueued %+v", e)
		}
	})
}

func TestARemotePathIsFreeAgainWhenItsJobIsCancelled(t *testing.T) {
	f := open(t)
	first, second := f.change("a b", 1), f.change("a_b", 1)
	first.Remote, second.Remote = "/a_b", "/a_b"
	f.enqueue(first)
	if err := f.q.Cancel(t.Context(), f.root, []string{first.Path}, time.Now().Add(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	if e := f.enqueue(second); len(e.Renamed) != 0 || e.Queued != 1 {
		t.Errorf("enqueued %+v", e)
	}
}

// A changed folder in the configuration is where new files go; an uploaded one
// would otherwise be there twice.
func TestARecordsOwnRemotePathWinsOverTheWantedOne(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	moved := f.change("a", 2)
	moved.Remote = "/elsewhere/a"
	if e := f.enqueue(moved); e.Queued != 1 {
		t.Fatalf("enqueued %+v", e)
	}
	if job := f.claimOne(); job.RemotePath != "/a" {
		t.Errorf("a wanted remote path that is free wins over the record's: the job goes to %q, the record is at /a, whose asset is orphaned", job.RemotePath)
	}
}

func TestALaterChangeSupersedesTheEarlierOneInPlace(t *testing.T) {
	f := open(t)
	for n := range int64(5) {
		f.enqueue(f.change("a", n))
	}
	job := f.claimOne()
	if job.Stat != f.seenAt("a", 4) {
		t.Errorf("the job has stat %+v", job.Stat)
	}
	f.complete(job)
	f.wantStates(want{})
}

func TestAChangeDuringAnUploadIsNotLost(t *testing.T) {
	for name, finish := range map[string]func(*fixture, queue.Job){
		"when it completes": func(f *fixture, job queue.Job) {
			f.complete(job)
			if got := f.record("a"); got == nil || got.FileID != "a@1" {
				t.Errorf("the result is not recorded: %+v", got)
			}
		},
		"when it fails":                 func(f *fixture, job queue.Job) { f.fail(job, queue.Failure{NotBefore: time.Now().Add(time.Hour)}) },
		"when it becomes a dead letter": func(f *fixture, job queue.Job) { f.fail(job, queue.Failure{Dead: true}) },
		"when it is held":               func(f *fixture, job queue.Job) { f.hold(job, seen(1), "empty", "empty") },
		"when it is given back": func(f *fixture, job queue.Job) {
			if err := f.q.Release(f.Context(), []queue.Job{job}); err != nil {
				t.Error(err)
			}
		},
		"when its file was gone": func(f *fixture, job queue.Job) {
			if err := f.outcome(func(done func(error)) { f.q.Drop(&job, nil, done) }); err != nil {
				t.Error(err)
			}
		},
		"when its content is as recorded": func(f *fixture, job queue.Job) {
			if err := f.outcome(func(done func(error)) { f.q.Touch(&job, seen(1), done) }); err != nil {
				t.Error(err)
			}
		},
		"when its lease has ended": func(f *fixture, job queue.Job) {
			if err := f.q.Renew(f.Context(), []int64{job.ID}, -time.Hour); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.enqueue(f.change("a", 1))
			job := f.claimOne()
			awake(f.q)
			f.enqueue(f.change("a", 2))
			if jobs := f.claim(1); len(jobs) != 0 {
				t.Error("the path was given to a second worker")
			}
			finish(f, job)
			if got := f.claimOne(); got.Stat != f.seenAt("a", 2) || got.RemotePath != "/a" {
				t.Errorf("claimed %+v", got)
			}
		})
	}
}

func TestWorkersAreWokenWhenJobsBecomeReady(t *testing.T) {
	f := open(t)
	hold := f.change("held", 1)
	hold.Hold, hold.HoldClass = "empty", "empty"
	var job queue.Job
	for _, s := range []struct {
		name string
		do   func()
		want bool
	}{
		{"not by a held change", func() { f.enqueue(hold) }, false},
		{"by a change", func() { f.enqueue(f.change("a", 1)) }, true},
		{"not by a change that is known", func() { f.enqueue(f.change("a", 1)) }, false},
		{"not by a claim", func() { job = f.claimOne() }, false},
		{"by a failure, since a backoff has begun", func() { f.fail(job, queue.Failure{}) }, true},
	} {
		s.do()
		if got := awake(f.q); got != s.want {
			t.Errorf("%s: woken is %v", s.name, got)
		}
	}
}

func TestDepthsCountJobsAndBytesByState(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1), f.change("b", 2), f.change("c", 3))
	f.fail(f.claim(1)[0], queue.Failure{Dead: true})
	f.claim(1)
	got, err := f.q.Depths(t.Context(), []int64{f.root})
	if err != nil {
		t.Fatal(err)
	}
	want := map[queue.State]queue.Depth{
		queue.Ready: {Jobs: 1, Bytes: 103}, queue.Leased: {Jobs: 1, Bytes: 102}, queue.Failed: {Jobs: 1, Bytes: 101},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("depths are %v, should be %v", got, want)
	}
	if none, err := f.q.Depths(t.Context(), []int64{f.root + 1}); err != nil || len(none) != 0 {
		t.Errorf("another root has depths %v, error %v", none, err)
	}
}

func TestStatesHaveNames(t *testing.T) {
	var names []string
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held, 9} {
		names = append(names, s.String())
	}
	if got := strings.Join(names, " "); got != "ready leased failed held unknown" {
		t.Errorf("the names are %s", got)
	}
}

func TestAClosedStateFileIsAnErrorEverywhere(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	job := f.claimOne()
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"Enqueue":  func() error { _, err := f.q.Enqueue(t.Context(), []queue.Change{f.change("b", 1)}); return err },
		"Claim":    func() error { _, _, err := f.q.Claim(t.Context(), []int64{f.root}, 1, time.Hour); return err },
		"Renew":    func() error { return f.q.Renew(t.Context(), []int64{job.ID}, time.Hour) },
		"Recover":  func() error { _, err := f.q.Recover(t.Context()); return err },
		"Release":  func() error { return f.q.Release(t.Context(), []queue.Job{job}) },
		"Cancel":   func() error { return f.q.Cancel(t.Context(), f.root, []string{"a"}, time.Now().Add(time.Hour), nil) },
		"Complete": func() error { return f.outcome(func(d func(error)) { f.q.Complete(&job, fileOf(job), d) }) },
		"Touch":    func() error { return f.outcome(func(d func(error)) { f.q.Touch(&job, job.Stat, d) }) },
		"Drop":     func() error { return f.outcome(func(d func(error)) { f.q.Drop(&job, nil, d) }) },
		"Fail":     func() error { return f.outcome(func(d func(error)) { f.q.Fail(&job, queue.Failure{}, d) }) },
		"Hold":     func() error { return f.outcome(func(d func(error)) { f.q.Hold(&job, job.Stat, "c", "r", d) }) },
		"Retry":    func() error { return f.retry(f.root) },
	} {
		if err := do(); !errors.Is(err, state.ErrClosed) {
			t.Errorf("%s says %v, should wrap ErrClosed", name, err)
		}
	}
}
