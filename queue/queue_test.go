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
	if job := f.claimOne(); job.Stat != seen(2) {
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
	second.Stat = seen(2)
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
		second.Stat = seen(3)
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
		other.RootID, other.Remote = f.ensureRoot("/other"), "/a_b"
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
	if err := f.q.Cancel(t.Context(), f.root, []string{first.Path}, time.Now().Add(time.Hour)); err != nil {
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
	if job.Stat != seen(4) {
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
			if err := f.outcome(func(done func(error)) { f.q.Drop(&job, done) }); err != nil {
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
			if got := f.claimOne(); got.Stat != seen(2) || got.RemotePath != "/a" {
				t.Errorf("claimed %+v", got)
			}
		})
	}
}

func TestClaimsComeInOrder(t *testing.T) {
	f := open(t)
	for _, c := range []struct {
		path     string
		priority int
	}{{"old", 0}, {"low", -5}, {"urgent", 10}, {"new", 0}, {"urgent too", 10}} {
		change := f.change(c.path, 1)
		change.Priority = c.priority
		f.enqueue(change)
	}
	var got []string
	for range 5 {
		got = append(got, pathsOf(f.claim(1))...)
	}
	if order := "urgent,urgent too,old,new,low"; strings.Join(got, ",") != order {
		t.Errorf("claimed %q, should be %s", got, order)
	}
}

func TestALaterChangeRaisesThePriorityAndNeverLowersIt(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1), f.change("b", 1))
	raised := f.change("b", 2)
	raised.Priority = 3
	f.enqueue(raised)
	f.enqueue(f.change("b", 3))
	if got := pathsOf(f.claim(2)); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("claimed %q", got)
	}
}

func TestClaimsAreOfTheAskedRootsAlone(t *testing.T) {
	f := open(t)
	other := f.ensureRoot("/other")
	foreign := f.change("a", 1)
	foreign.RootID, foreign.Remote, foreign.Priority = other, "/x", 9
	f.enqueue(foreign, f.change("b", 1))
	for _, c := range []struct {
		name  string
		roots []int64
		want  []string
	}{
		{"none for no root", nil, nil},
		{"none for an unknown root", []int64{99}, nil},
		{"those of one", []int64{f.root}, []string{"b"}},
		{"those of the other", []int64{other}, []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			jobs, next, err := f.q.Claim(t.Context(), c.roots, 9, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pathsOf(jobs), c.want) || !next.IsZero() {
				t.Errorf("claimed %q, next at %v", pathsOf(jobs), next)
			}
		})
	}
}

func TestNoJobIsClaimedTwiceByManyClaimers(t *testing.T) {
	f := open(t)
	const n = 400
	var changes []queue.Change
	for i := range n {
		changes = append(changes, f.change(fmt.Sprint(i), 1))
	}
	f.enqueue(changes...)
	var mu sync.Mutex
	claims := make(map[string]int)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for {
				jobs, _, err := f.q.Claim(t.Context(), []int64{f.root}, 1+g, time.Hour)
				if err != nil {
					t.Error(err)
				}
				if len(jobs) == 0 {
					return
				}
				mu.Lock()
				for _, p := range pathsOf(jobs) {
					claims[p]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(claims) != n {
		t.Errorf("%d of %d were claimed", len(claims), n)
	}
	for p, times := range claims {
		if times != 1 {
			t.Errorf("%s was claimed %d times", p, times)
		}
	}
}

func TestALeaseThatEndsGivesTheJobToAnother(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1), f.change("b", 1))
	jobs := f.claimFor(2, -time.Second) // has ended already
	if err := f.q.Renew(t.Context(), []int64{jobs[1].ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := pathsOf(f.claim(9)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("claimed %q, should be the one that was not renewed", got)
	}
}

func TestRenewDoesNotLeaseWhatIsNotLeased(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	job := f.claimOne()
	if err := f.q.Release(t.Context(), []queue.Job{job}); err != nil {
		t.Fatal(err)
	}
	if err := f.q.Renew(t.Context(), []int64{job.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := f.claimOne(); got.Attempts != 0 {
		t.Errorf("giving it back counted as an attempt: %+v", got)
	}
}

// A worker that was suspended beyond its lease, as with a laptop's lid, comes
// back when another has finished its job: its id may be another's by then.
func TestALateWorkerDoesNotFinishAnothersJob(t *testing.T) {
	for name, finish := range map[string]func(*fixture, queue.Job) error{
		"by Complete": func(f *fixture, job queue.Job) error {
			return f.outcome(func(done func(error)) { f.q.Complete(&job, fileOf(job), done) })
		},
		"by Touch": func(f *fixture, job queue.Job) error {
			return f.outcome(func(done func(error)) { f.q.Touch(&job, job.Stat, done) })
		},
		"by Drop": func(f *fixture, job queue.Job) error {
			return f.outcome(func(done func(error)) { f.q.Drop(&job, done) })
		},
		"by Fail": func(f *fixture, job queue.Job) error {
			return f.outcome(func(done func(error)) { f.q.Fail(&job, queue.Failure{Dead: true}, done) })
		},
		"by Hold": func(f *fixture, job queue.Job) error {
			return f.outcome(func(done func(error)) { f.q.Hold(&job, job.Stat, "empty", "empty", done) })
		},
	} {
		for _, c := range []struct {
			name, path string
			n          int64
		}{{"of another path", "b", 1}, {"of a later change of its path", "a", 2}} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				f := open(t)
				f.enqueue(f.change("a", 1))
				late := f.claimFor(1, -time.Second)[0]
				f.complete(f.claimOne())
				f.enqueue(f.change(c.path, c.n))
				if err := finish(f, late); err != nil {
					t.Fatal(err)
				}
				if got := f.states(); got[c.path] != queue.Ready || len(got) != 1 {
					t.Errorf("ids of removed jobs are given again and a generation begins at 1, so the late worker finished the job of %q: now %v", c.path, got)
				}
			})
		}
	}
}

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
	if err := f.q.RetryFailed(t.Context(), []int64{f.root}); err != nil {
		t.Fatal(err)
	}
	if !awake(f.q) {
		t.Error("RetryFailed does not wake the workers")
	}
	again := f.claimOne()
	if again.Attempts != 0 || again.Accepted == nil || *again.Accepted != hash {
		t.Errorf("claimed %+v", again)
	}
	f.fail(again, queue.Failure{NotBefore: time.Now().Add(-time.Second), Free: true})
	if third := f.claimOne(); third.Attempts != 0 || third.Accepted != nil {
		t.Errorf("after a failure that was not its fault it is %+v", third)
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
		{"not by a retry of another root", func() error { return f.q.RetryFailed(t.Context(), []int64{other}) }, queue.Failed},
		{"by a change", func() error { f.enqueue(f.change("a", 2)); return nil }, queue.Ready},
		{"it can die again", func() error { f.fail(f.claimOne(), queue.Failure{Dead: true}); return nil }, queue.Failed},
		{"by a retry", func() error { return f.q.RetryFailed(t.Context(), []int64{f.root}) }, queue.Ready},
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

func TestRetryFailedLeavesTheLeasedAndTheHeldAlone(t *testing.T) {
	f := open(t)
	held := f.change("held", 1)
	held.Hold, held.HoldClass = "empty", "empty"
	f.enqueue(f.change("leased", 1), held)
	f.claimOne()
	if err := f.q.RetryFailed(t.Context(), []int64{f.root}); err != nil {
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
	f.hold(job, seen(2), "too_large", "too large")
	f.wantStates(want{"a": queue.Held})
	f.enqueue(f.change("a", 3))
	if job := f.claimOne(); job.Stat != seen(3) || job.RemotePath != "/a" {
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
	if err := f.q.Cancel(t.Context(), f.root, []string{"held", "leased", "dead", "ready", "unknown"}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := f.q.Cancel(t.Context(), f.root+1, []string{"kept"}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{"leased": queue.Leased, "kept": queue.Ready})
}

func TestTouchTakesTheNewStatAndDropRecordsNothing(t *testing.T) {
	f := open(t)
	f.upload("a", 1)
	f.enqueue(f.change("a", 2), f.change("b", 1))
	jobs := f.claim(2)
	if !jobs[0].Recorded || jobs[0].Size != seen(1).Size || jobs[0].Hash != (state.Hash{1, 1}) || jobs[1].Recorded {
		t.Errorf("claimed %+v", jobs)
	}
	if err := f.outcome(func(done func(error)) { f.q.Touch(&jobs[0], seen(3), done) }); err != nil {
		t.Fatal(err)
	}
	if err := f.outcome(func(done func(error)) { f.q.Drop(&jobs[1], done) }); err != nil {
		t.Fatal(err)
	}
	f.wantStates(want{})
	if got := f.record("a"); got.Stat != seen(3) || got.FileID != "a@1" {
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
		"Cancel":   func() error { return f.q.Cancel(t.Context(), f.root, []string{"a"}, time.Now().Add(time.Hour)) },
		"Complete": func() error { return f.outcome(func(d func(error)) { f.q.Complete(&job, fileOf(job), d) }) },
		"Touch":    func() error { return f.outcome(func(d func(error)) { f.q.Touch(&job, job.Stat, d) }) },
		"Drop":     func() error { return f.outcome(func(d func(error)) { f.q.Drop(&job, d) }) },
		"Fail":     func() error { return f.outcome(func(d func(error)) { f.q.Fail(&job, queue.Failure{}, d) }) },
		"Hold":     func() error { return f.outcome(func(d func(error)) { f.q.Hold(&job, job.Stat, "c", "r", d) }) },
		"Retry":    func() error { return f.q.RetryFailed(t.Context(), []int64{f.root}) },
	} {
		if err := do(); !errors.Is(err, state.ErrClosed) {
			t.Errorf("%s says %v, should wrap ErrClosed", name, err)
		}
	}
}
