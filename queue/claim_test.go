package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iksync/queue"
)

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
			return f.outcome(func(done func(error)) { f.q.Drop(&job, nil, done) })
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

// New files must not starve the backlog, nor wait for it.
func TestOneOfFourClaimedJobsIsOfTheBacklog(t *testing.T) {
	f := open(t)
	var changes []queue.Change
	for i := range 20 {
		old, fresh := f.change(fmt.Sprintf("old%02d", i), 1), f.change(fmt.Sprintf("new%02d", i), 1)
		fresh.Priority = 1
		changes = append(changes, old, fresh)
	}
	f.enqueue(changes...)
	count := func(jobs []queue.Job) (fresh, old int) {
		for _, j := range jobs {
			if isNew := strings.HasPrefix(j.Path, "new"); j.Fresh != isNew {
				t.Errorf("%s is said to be fresh: %t", j.Path, j.Fresh)
			} else if isNew {
				fresh++
			} else {
				old++
			}
		}
		return fresh, old
	}
	for _, want := range [][2]int{{6, 2}, {6, 2}, {6, 2}, {2, 6}, {0, 8}} {
		jobs, _, err := f.q.ClaimMixed(t.Context(), []int64{f.root}, 8, 8, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if fresh, old := count(jobs); fresh != want[0] || old != want[1] {
			t.Errorf("claimed %d new and %d old, should be %v", fresh, old, want)
		}
	}
}

// Big files must not take every worker.
func TestNoMoreBigFilesAreClaimedThanThereIsRoomFor(t *testing.T) {
	f := open(t)
	var changes []queue.Change
	for i := range 10 {
		big := f.change(fmt.Sprintf("big%d", i), 1)
		big.Stat.Size = queue.BigFile
		changes = append(changes, big)
	}
	for i := range 4 {
		changes = append(changes, f.change(fmt.Sprintf("small%d", i), 1))
	}
	f.enqueue(changes...)
	for _, want := range []struct{ room, big, small int }{{2, 2, 4}, {0, 0, 0}, {3, 3, 0}, {100, 5, 0}} {
		jobs, _, err := f.q.ClaimMixed(t.Context(), []int64{f.root}, 8, want.room, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var big, small int
		for _, j := range jobs {
			if j.Stat.Size >= queue.BigFile {
				big++
			} else {
				small++
			}
		}
		if big != want.big || small != want.small {
			t.Errorf("with room for %d: claimed %d big and %d small, should be %d and %d", want.room, big, small, want.big, want.small)
		}
	}
}
