package watcher

import (
	"maps"
	"sync"
	"sync/atomic"

	"iksync/queue"
)

// maxProblems bounds the problems that are kept with their paths; all are counted.
const maxProblems = 100

// Problem is a path that could not be looked at.
type Problem struct {
	Path string // below the root; "" is the root itself
	Err  error
}

// Report is what a scan has found so far.
type Report struct {
	Dirs  int64
	Files int64 // wanted files, with their Bytes
	Bytes int64

	InStep       int64 // as recorded
	Waiting      int64 // with a job already, with their WaitingBytes
	WaitingBytes int64
	Failing      int64 // with a job that has failed
	NotCompared  int64 // queued to be compared with their records: metadata does not prove that they are equal
	Queued       int64 // new jobs, with their QueuedBytes
	QueuedBytes  int64
	Held         map[string]int64 // can't be uploaded as they are, by class
	Skipped      map[string]int64 // not wanted, by the rule that decided ("junk", "exclude", "symlink", ...)
	Gone         int64            // recorded, and not wanted or not there any more

	Problems  int64
	Problem   []Problem       // the first of them
	Renamed   int64           // files whose remote path was taken
	Renames   []queue.Renamed // the first of them
	Completed bool            // the walk came to its end; Problems could not be looked at
}

// tally is a Report that is being made.
type tally struct {
	dirs, files, bytes, inStep, waiting, waitingBytes, failing, notCompared atomic.Int64
	queued, queuedBytes, gone, problems, renamed                            atomic.Int64
	completed                                                               atomic.Bool

	mu      sync.Mutex
	held    map[string]int64
	skipped map[string]int64
	problem []Problem
	renames []queue.Renamed
}

func newTally() *tally {
	return &tally{held: make(map[string]int64), skipped: make(map[string]int64)}
}

func (t *tally) hold(class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[class]++
}

func (t *tally) skip(rule string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped[rule]++
}

func (t *tally) fault(path string, err error) {
	t.problems.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.problem) < maxProblems {
		t.problem = append(t.problem, Problem{Path: path, Err: err})
	}
}

func (t *tally) enqueued(e queue.Enqueued) {
	t.queued.Add(int64(e.Queued))
	t.queuedBytes.Add(e.Bytes)
	t.renamed.Add(int64(len(e.Renamed)))
	t.mu.Lock()
	defer t.mu.Unlock()
	room := maxProblems - len(t.renames)
	t.renames = append(t.renames, e.Renamed[:min(room, len(e.Renamed))]...)
}

func (t *tally) report() Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Report{
		Dirs: t.dirs.Load(), Files: t.files.Load(), Bytes: t.bytes.Load(),
		InStep: t.inStep.Load(), Waiting: t.waiting.Load(), WaitingBytes: t.waitingBytes.Load(), Failing: t.failing.Load(), NotCompared: t.notCompared.Load(),
		Queued: t.queued.Load(), QueuedBytes: t.queuedBytes.Load(),
		Held: maps.Clone(t.held), Skipped: maps.Clone(t.skipped), Gone: t.gone.Load(),
		Problems: t.problems.Load(), Problem: append([]Problem(nil), t.problem...),
		Renamed: t.renamed.Load(), Renames: append([]queue.Renamed(nil), t.renames...),
		Completed: t.completed.Load(),
	}
}
