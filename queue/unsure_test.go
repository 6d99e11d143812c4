package queue_test

import (
	"runtime"
	"testing"
	"time"

	"iksync/queue"
)

// tick waits until the clock of the queue has gone on.
func tick() {
	for last := time.Now().UnixMilli(); time.Now().UnixMilli() <= last+1; {
		runtime.Gosched()
	}
}

// unsureJob makes a job of a path of which the library may have something.
func (f *fixture) unsureJob(path string) {
	f.Helper()
	f.enqueue(f.change(path, 1))
	f.fail(f.claimOne(), queue.Failure{Free: true, Unsure: time.Now()})
}

// A worker looks for what may have come, so a job that a scan finds to be for
// nothing must come to one, whatever state it is in.
func TestWhatMayHaveComeIsLookedForByAWorkerWhenItsFileIsGone(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(f *fixture){
		"ready":    func(*fixture) {},
		"given up": func(f *fixture) { f.fail(f.claimOne(), queue.Failure{Dead: true}) },
		"held by a worker": func(f *fixture) {
			job := f.claimOne()
			f.hold(job, job.Stat, "empty", "empty")
		},
		"held by a scan": func(f *fixture) {
			c := f.change("a", 2)
			c.Hold, c.HoldClass = "empty", "empty"
			f.enqueue(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			f.unsureJob("a")
			set(f)
			if err := f.q.Cancel(t.Context(), f.root, []string{"a"}, time.Now().Add(time.Hour), nil); err != nil {
				t.Fatal(err)
			}
			if jobs := f.claim(1); len(jobs) != 1 || jobs[0].Unsure.IsZero() || jobs[0].RemotePath != "/a" {
				t.Errorf("claimed %+v, the jobs are %v", jobs, f.states())
			}
		})
	}
}

// What was on its way when its file changed began before that.
func TestWhatMayHaveComeBeganBeforeItsFileChanged(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.enqueue(f.change("a", 1))
	f.claimOne()
	began := time.Now()
	tick()
	f.enqueue(f.change("a", 2))
	f.reopen()
	if _, err := f.q.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if job := f.claimOne(); job.Unsure.After(began) || !job.Changed {
		t.Errorf("an upload that began at %s may have come since %s (changed %t)", began, job.Unsure, job.Changed)
	}
}

// Outcomes that look for nothing tell nothing of what may have come before.
func TestWhatMayHaveComeIsNotForgottenForAnotherReason(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.unsureJob("a")
	job := f.claimOne()
	f.enqueue(f.change("a", 2))
	f.hold(job, job.Stat, "empty", "empty")
	if job := f.claimOne(); job.Unsure.IsZero() {
		t.Errorf("after Hold nothing is known of what was sent: %+v", job)
	}
}

// TestWhatWasSentBeforeAChangeIsNotTakenForWhatIsBack: a job that ends since its file is
// gone, while the file is back and another one.
func TestWhatWasSentBeforeAChangeIsNotTakenForWhatIsBack(t *testing.T) {
	f := open(t)
	f.enqueue(f.change("a", 1))
	f.fail(f.claimOne(), queue.Failure{Free: true, Unsure: time.Now()})
	job := f.claimOne()
	if job.Unsure.IsZero() || job.Changed {
		t.Fatalf("it is %+v", job)
	}
	f.enqueue(f.change("a", 2)) // the worker has it
	if err := f.outcome(func(done func(error)) { f.q.Drop(&job, func() bool { return true }, done) }); err != nil {
		t.Fatal(err)
	}
	if again := f.claimOne(); !again.Changed {
		t.Errorf("what was sent of another content counts as sent of this: %+v", again)
	}
}
