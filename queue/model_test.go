package queue_test

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"iksync/queue"
)

// The pages of Known are cut so that a path's two rows are never parted.
func TestKnownPagesGiveEveryRowOnceAndPartNoPair(t *testing.T) {
	t.Parallel()
	f := open(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		f.root = f.ensureRoot(fmt.Sprintf("/%d", round))
		octet := rapid.SampledFrom([]byte("a!-./0\x01\xff\n"))
		paths := rapid.SliceOfNDistinct(rapid.SliceOfN(octet, 1, 4), 0, 14, func(b []byte) string { return string(b) }).Draw(rt, "paths")
		var expected []string
		for _, p := range paths {
			change := f.change(string(p), 1)
			change.Remote = fmt.Sprintf("/%d/%x", round, p)
			rows := rapid.IntRange(1, 3).Draw(rt, "a record, a job or both")
			f.enqueue(change)
			if rows&1 != 0 {
				f.complete(f.claimOne())
				expected = append(expected, fmt.Sprintf("%q record 1", p))
				change.Stat = f.seenAt(string(p), 2)
			}
			if rows&2 != 0 {
				if rapid.Bool().Draw(rt, "held") {
					change.Hold, change.HoldClass = "why", "class"
				}
				f.enqueue(change)
				expected = append(expected, fmt.Sprintf("%q job %d %s", p, change.Stat.MtimeNs%versions, change.Hold))
				if jobs := f.claim(1); len(jobs) > 0 { // out of the way of the next one
					f.fail(jobs[0], queue.Failure{Dead: true})
				}
			}
		}
		limit := rapid.IntRange(3, 8).Draw(rt, "limit")
		var got []string
		order := []string{}
		for after, page := "", 0; ; page++ {
			known, more, err := f.q.Known(t.Context(), f.root, after, limit)
			if err != nil {
				rt.Fatal(err)
			}
			if len(known) > limit {
				rt.Fatalf("a page of %d rows", len(known))
			}
			for _, k := range known {
				if page > 0 && k.Path <= after {
					rt.Fatalf("%q is parted from its other row", k.Path)
				}
				what := "record"
				if k.Job {
					what = "job"
				}
				row := fmt.Sprintf("%q %s %d", k.Path, what, k.Stat.MtimeNs%versions)
				if k.Job {
					row += " " + k.Reason
				}
				got, order = append(got, row), append(order, k.Path)
			}
			if !more {
				break
			}
			if len(known) == 0 {
				rt.Fatal("an empty page that is not the last")
			}
			after = known[len(known)-1].Path
		}
		if !sort.StringsAreSorted(order) {
			rt.Errorf("the order is %q", order)
		}
		slices.Sort(got)
		slices.Sort(expected)
		if diff := cmp.Diff(expected, got); diff != "" {
			rt.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// modelJob is a job as it should be.
type modelJob struct {
	state    queue.State
	version  int64
	waits    bool // for a backoff that does not end during the test
	unsure   bool // something of it may have been sent that nobody knows of
	priority int
	seq      int // for the order of those of one priority
}

// model is the queue without files, threads and crashes.
type model struct {
	f       *fixture
	prefix  string
	version int64             // the last content that any file had
	disk    map[string]int64  // the content of each file
	records map[string]string // path to fileId
	shown   map[string]int64  // content that the record shows
	jobs    map[string]*modelJob
	claimed []queue.Job
	seq     int
}

func (m *model) change(path string) queue.Change {
	c := m.f.change(path, m.disk[path])
	c.Remote = m.prefix + path
	return c
}

// again is what a job becomes when its path changed while it was worked on.
func (m *model) superseded(job queue.Job) bool {
	j := m.jobs[job.Path]
	if j.version == job.Stat.MtimeNs%versions {
		return false
	}
	j.state, j.waits, j.unsure = queue.Ready, false, false
	return true
}

func (m *model) take(rt *rapid.T) queue.Job {
	if len(m.claimed) == 0 {
		rt.Skip("no worker has a job")
	}
	i := rapid.IntRange(0, len(m.claimed)-1).Draw(rt, "worker")
	job := m.claimed[i]
	m.claimed = slices.Delete(m.claimed, i, i+1)
	return job
}

// The queue behaves as its model whatever the order of calls: one job per
// path, no change lost, every recorded fileId kept, through restarts.
func TestTheQueueBehavesAsItsModel(t *testing.T) {
	t.Parallel()
	f := open(t)
	round := 0
	paths := []string{"a", "a/b", "a.b", "\xff", "z\n"}
	rapid.Check(t, func(rt *rapid.T) {
		round++
		f.root = f.ensureRoot(fmt.Sprintf("/%d", round))
		m := &model{
			f: f, prefix: fmt.Sprintf("/%d/", round),
			disk: make(map[string]int64), records: make(map[string]string), shown: make(map[string]int64), jobs: make(map[string]*modelJob),
		}
		path := rapid.SampledFrom(paths)
		check := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"a file changes": func(rt *rapid.T) {
				p := path.Draw(rt, "path")
				m.version++
				m.disk[p] = m.version
				c := m.change(p)
				c.Priority = rapid.IntRange(0, 1).Draw(rt, "priority")
				if e := f.enqueue(c); e.Queued != 1 || e.Bytes != c.Stat.Size {
					rt.Fatalf("enqueued %+v", e)
				}
				j := m.jobs[p]
				if j == nil {
					m.seq++
					j = &modelJob{seq: m.seq}
					m.jobs[p] = j
				}
				j.version, j.waits, j.priority = m.version, false, max(j.priority, c.Priority)
				if j.state != queue.Leased {
					j.state = queue.Ready
				} else {
					j.unsure = true // what is being sent is not what is there
				}
			},
			"a scan sees it as it is": func(rt *rapid.T) {
				p := path.Draw(rt, "path")
				j := m.jobs[p]
				if m.disk[p] == 0 || j == nil && m.shown[p] != m.disk[p] || j != nil && j.state == queue.Held {
					rt.Skip("it differs")
				}
				if e := f.enqueue(m.change(p)); e.Queued != 0 {
					rt.Fatalf("enqueued %+v", e)
				}
			},
			"a worker claims": func(rt *rapid.T) {
				n := rapid.IntRange(1, 3).Draw(rt, "n")
				var ready []string
				for _, p := range paths {
					if j := m.jobs[p]; j != nil && j.state == queue.Ready && !j.waits {
						ready = append(ready, p)
					}
				}
				slices.SortFunc(ready, func(a, b string) int {
					if d := m.jobs[b].priority - m.jobs[a].priority; d != 0 {
						return d
					}
					return m.jobs[a].seq - m.jobs[b].seq
				})
				ready = ready[:min(n, len(ready))]
				jobs := f.claim(n)
				if !slices.Equal(pathsOf(jobs), ready) {
					rt.Fatalf("claimed %q, should be %q", pathsOf(jobs), ready)
				}
				for _, job := range jobs {
					if job.Stat != f.seenAt(job.Path, m.jobs[job.Path].version) {
						rt.Fatalf("%q was claimed with an old stat", job.Path)
					}
					m.jobs[job.Path].state = queue.Leased
				}
				m.claimed = append(m.claimed, jobs...)
			},
			"an upload completes": func(rt *rapid.T) {
				job := m.take(rt)
				f.complete(job)
				m.records[job.Path], m.shown[job.Path] = fileOf(job).FileID, job.Stat.MtimeNs%versions
				if !m.superseded(job) {
					delete(m.jobs, job.Path)
				}
			},
			"an upload fails": func(rt *rapid.T) {
				job := m.take(rt)
				why := queue.Failure{Dead: rapid.Bool().Draw(rt, "dead")}
				if rapid.Bool().Draw(rt, "backoff") {
					why.NotBefore = time.Now().Add(time.Hour)
				}
				f.fail(job, why)
				if !m.superseded(job) {
					j := m.jobs[job.Path]
					j.state, j.waits = queue.Ready, !why.NotBefore.IsZero()
					if why.Dead {
						j.state = queue.Failed
					}
				}
				m.jobs[job.Path].unsure = !job.Unsure.IsZero()
			},
			"a content is as recorded": func(rt *rapid.T) {
				job := m.take(rt)
				check(f.outcome(func(done func(error)) { f.q.Touch(&job, job.Stat, done) }))
				if _, ok := m.records[job.Path]; ok {
					m.shown[job.Path] = job.Stat.MtimeNs % versions
				}
				if !m.superseded(job) {
					delete(m.jobs, job.Path)
				}
			},
			"a file is gone": func(rt *rapid.T) {
				job := m.take(rt)
				check(f.outcome(func(done func(error)) { f.q.Drop(&job, nil, done) }))
				if !m.superseded(job) {
					delete(m.jobs, job.Path)
				}
			},
			"a file is held": func(rt *rapid.T) {
				job := m.take(rt)
				f.hold(job, job.Stat, "empty", "empty")
				if !m.superseded(job) {
					m.jobs[job.Path].state, m.jobs[job.Path].waits = queue.Held, false
				}
				m.jobs[job.Path].unsure = !job.Unsure.IsZero()
			},
			"workers give their jobs back": func(rt *rapid.T) {
				check(f.q.Release(t.Context(), m.claimed))
				for _, job := range m.claimed {
					m.jobs[job.Path].state, m.jobs[job.Path].waits = queue.Ready, false
				}
				m.claimed = nil
			},
			"a scan cancels": func(rt *rapid.T) {
				p := path.Draw(rt, "path")
				check(f.q.Cancel(t.Context(), f.root, []string{p}, time.Now().Add(time.Hour), nil))
				switch j := m.jobs[p]; {
				case j == nil || j.state == queue.Leased:
				case !j.unsure:
					delete(m.jobs, p)
				case j.state != queue.Ready: // a worker looks
					j.state, j.waits = queue.Ready, false
				}
			},
			"the user retries": func(rt *rapid.T) {
				check(f.retry(f.root))
				for _, j := range m.jobs {
					if j.state == queue.Failed || j.state == queue.Ready {
						j.state, j.waits = queue.Ready, false
					}
				}
			},
			"the daemon is restarted": func(rt *rapid.T) {
				f.reopen()
				_, err := f.q.Recover(t.Context())
				check(err)
				for _, j := range m.jobs {
					if j.state == queue.Leased {
						j.state, j.unsure = queue.Ready, true
					}
				}
				m.claimed = nil
			},
			"": func(rt *rapid.T) {
				states := make(map[string]queue.State)
				for p, j := range m.jobs {
					states[p] = j.state
				}
				if got := f.states(); !maps.Equal(got, states) {
					rt.Fatalf("the jobs are %v, should be %v", got, states)
				}
				ids := make(map[string]string)
				for file, err := range f.db.Files(t.Context(), f.root, false) {
					check(err)
					ids[file.Path] = file.FileID
				}
				if !maps.Equal(ids, m.records) {
					rt.Fatalf("recorded are %v, should be %v", ids, m.records)
				}
			},
		})
	})
}

// Whatever paths want the same remote path, in whatever order things happen,
// no two of them ever have it, and in the end each has a record.
func TestPathsThatWantTheSameRemotePathAllGetThere(t *testing.T) {
	t.Parallel()
	f := open(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		f.root = f.ensureRoot(fmt.Sprintf("/%d", round))
		paths := []string{"a b", "a_b", "a?b", "a*b"}
		version := int64(0)
		changed := make(map[string]bool)
		taken := make(map[string]string) // by uploads and records
		var claimed []queue.Job
		claim := func(n int) {
			for _, job := range f.claim(n) {
				claimed = append(claimed, job)
				if owner := taken[job.RemotePath]; owner != "" && owner != job.Path || job.RemotePath == "" {
					rt.Fatalf("%q goes to %q, which is %q's", job.Path, job.RemotePath, owner)
				}
				taken[job.RemotePath] = job.Path
			}
		}
		finish := func() {
			job := claimed[0]
			claimed = claimed[1:]
			f.complete(job)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(rt *rapid.T) {
				version++
				c := f.change(rapid.SampledFrom(paths).Draw(rt, "path"), version)
				c.Remote = fmt.Sprintf("/%d/a_b", round)
				f.enqueue(c)
				changed[c.Path] = true
			},
			"claim": func(*rapid.T) { claim(1) },
			"finish": func(rt *rapid.T) {
				if len(claimed) == 0 {
					rt.Skip("nothing is being uploaded")
				}
				finish()
			},
		})
		for claim(9); len(claimed) > 0; claim(9) {
			finish()
		}
		ends := make(map[string]bool)
		for file, err := range f.db.Files(t.Context(), f.root, false) {
			if err != nil {
				rt.Fatal(err)
			}
			ends[file.Path] = true
		}
		if !maps.Equal(ends, changed) {
			rt.Errorf("recorded are %v, should be %v", ends, changed)
		}
	})
}
