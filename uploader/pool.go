package uploader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// Root is a local directory whose jobs a pool runs.
type Root struct {
	ID int64
	// Dir confines every open: no symlink leads out of it.
	Dir *os.Root
	// Params gives the upload parameters for a path below the root.
	Params func(path string) imagekit.Params
	// Hold says why a file of that name and size can't be uploaded as it is:
	// class and reason, both "" when it can.
	Hold func(name string, size int64) (class, reason string)
	// Follow allows symlinks that stay inside the root.
	Follow bool
	// Paused, when not nil, says that nothing may be inferred about the root at
	// present: its jobs wait.
	Paused func() bool
	// Halted, when not nil, says that somebody wants the root's jobs to wait, as with
	// Paused; but what is not there is not there.
	Halted func() bool

	// Calm, when not nil, says that what has happened in the root is all queued:
	// before, it can't be told whether a directory was moved as a whole.
	Calm func() bool
	// Folder is the remote folder that mirrors the root.
	Folder string
	// Names says how names are sent.
	Names names.Mode
	// Removal says what becomes of the copies of files that are absent.
	Removal Removal
	// Duplicates says what is done with files whose content is in the library already.
	Duplicates Duplicates
	// Identity tells which directory is there, to be compared with the one of the
	// last complete scan; an error when nothing may be inferred from it.
	Identity func() ([]byte, error)
	// Absence looks on the disk why a recorded file is not among the wanted. It is
	// needed for removals.
	Absence func(path string) state.Absence
	// Sound, when not nil, says that nothing of the root has been missed, as far as
	// is known; else nothing is removed.
	Sound func() bool
	// Rescan, when not nil, asks for a scan that confirms what is absent.
	Rescan func()

	held *os.File // Dir while the pool runs; nil when that can't be had
}

// open opens a file below the root for reading. No symlink leads out of it.
func (r *Root) open(path string) (*os.File, error) {
	if r.held != nil {
		if file, err := openAtOnce(r.held, path); err == nil {
			return file, nil
		}
	}
	return r.Dir.OpenFile(path, os.O_RDONLY|openFlags, 0) // what it says counts
}

// waits reports that the root's jobs wait.
func (r *Root) waits() bool {
	return r.Paused != nil && r.Paused() || r.Halted != nil && r.Halted()
}

// away reports that nothing is to be done about the root at present: it waits, or it is
// gone.
func (r *Root) away() bool { return r.waits() || r.gone() }

// gone reports that the root is not the directory that it was, or not there.
func (r *Root) gone() bool {
	if r.Paused != nil && r.Paused() {
		return true
	}
	held, err := r.Dir.Stat(".")
	if err != nil {
		return true
	}
	there, err := os.Stat(r.Dir.Name())
	return err != nil || !os.SameFile(held, there)
}

// Options configure a [Pool].
type Options struct {
	Client  *imagekit.Client
	Roots   []Root
	Workers int // at once; 16 when 0
	// MaxAttempts is after how many failed attempts a job is given up, a dead
	// letter; 0 is never.
	MaxAttempts int
	// Idle, when not nil, ends the pool once it is closed and no job of the roots
	// waits: nobody will enqueue any more.
	Idle <-chan struct{}
	// Rehash is within what time every recorded file is read again; 0 is never. It is
	// ignored with Idle.
	Rehash time.Duration
	// LowPriority, when not nil, runs a function that reads files with the lowest priority.
	LowPriority func(func() error) error
	// Settle is how long a file must have been under its new name before its asset is
	// moved, counted from when it was seen there.
	Settle time.Duration
	// Grace is how long uploads in flight may go on after ctx has ended.
	Grace time.Duration
	// Cut, when not nil, breaks uploads in flight off when it is closed.
	Cut <-chan struct{}
	// Probe is how often one upload is tried while ImageKit refuses the account or
	// the key; 3 minutes when 0.
	Probe time.Duration
	// Bandwidth, when not nil, limits what all uploads together send.
	Bandwidth *Bandwidth
	// Durations and Outbox, when not nil, hear of what is uploaded; Outbox also of what
	// is given up.
	Durations *Durations
	Outbox    *Outbox
	Log       *zap.Logger // nil logs nothing
}

const (
	// lease is how long a claim lasts without renewal. It matters only if the
	// process lives on while its pool hangs: a dead process's leases are
	// recovered at the next start.
	lease      = 10 * time.Minute
	renewEvery = time.Minute
	// ahead is how many jobs are claimed for each worker before it is free. More
	// makes larger transactions; after a kill all of them are in doubt, and the library
	// is asked for each.
	ahead = 16
	// pollEvery bounds the wait for work, against a clock that jumps.
	pollEvery = 30 * time.Second
	// pausedPoll bounds it while a root is paused: nobody tells when that is over.
	pausedPoll = time.Second
)

// Pool runs jobs. Make it with New, then call Run once.
type Pool struct {
	o         Options
	q         *queue.Queue
	db        *state.DB
	roots     map[int64]*Root
	stats     counters
	gate      gate
	window    *window
	beat      atomic.Int64 // unix ns of the dispatcher's last turn
	foldersMu sync.Mutex
	folders   map[string]bool // of the library, of which noteFolders has noted what is to be known
	copying   atomic.Int64    // workers that let ImageKit copy something
	mapped    sync.Map        // roots of which it was told that the library changes names

	library library
	tell    func(Step) // of a plan; nil when it is none

	mover  *mover
	moving atomic.Bool // the mover is at work
	// changed tells the dispatcher that jobs were taken or finished.
	changed chan struct{}

	mu        sync.Mutex
	working   map[int64]*queue.Job // claimed and not finished, by job id
	transfers map[int64]*transfer  // those of them whose file is being sent
	claims    map[int64]int        // of each of them: one may be claimed again before its end is told
	contents  map[int64]state.Hash // what is being sent, where duplicates are looked for
	refusals  map[int64]bool       // jobs whose last upload was answered by an error
	looks     map[int64]time.Time  // when jobs without an answer were first looked for in vain
	fatal     error                // why the pool ends early
	failed    chan struct{}        // closed with fatal
}

// New returns a pool that runs the jobs of o.Roots from q.
func New(db *state.DB, q *queue.Queue, o Options) *Pool {
	if o.Workers <= 0 {
		o.Workers = 16
	}
	if o.Probe <= 0 {
		o.Probe = 3 * time.Minute
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Pool{
		o: o, q: q, db: db,
		roots:     make(map[int64]*Root, len(o.Roots)),
		changed:   make(chan struct{}, 1),
		working:   make(map[int64]*queue.Job),
		transfers: make(map[int64]*transfer),
		claims:    make(map[int64]int),
		folders:   make(map[string]bool),
		contents:  make(map[int64]state.Hash),
		refusals:  make(map[int64]bool),
		looks:     make(map[int64]time.Time),
		failed:    make(chan struct{}),
	}
	p.beat.Store(time.Now().UnixNano())
	p.window = newWindow(o.Workers)
	p.mover = newMover(p)
	if o.Client != nil {
		p.library = managed(o.Client)
	}
	for i := range o.Roots {
		p.roots[o.Roots[i].ID] = &o.Roots[i]
	}
	return p
}

// Run claims and runs jobs until ctx ends, or, with Options.Idle, until all is
// done. When ctx ends nothing more is claimed; uploads in flight may finish
// within Options.Grace and are then broken off, their jobs returned. An error
// is one that stopped the work for every file: an [*imagekit.Error] when the key
// or the account is refused or ImageKit can't be reached, or the state file's.
// What failed for one file is in the queue.
func (p *Pool) Run(ctx context.Context) error {
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	if err := p.indexHashes(ctx); err != nil {
		return err
	}
	for _, r := range p.roots {
		if held, err := r.Dir.Open("."); err == nil {
			r.held = held
			defer held.Close()
		}
	}
	// Workers find their next job here while the dispatcher claims more.
	jobs := newHandout(p.o.Workers)
	var group errgroup.Group
	for worker := range p.o.Workers {
		group.Go(func() error {
			for {
				job, ok := jobs.next(worker)
				if !ok {
					return nil
				}
				if jobs.wantsMore() || jobs.wantsFresh() {
					p.poke()
				}
				p.attempt(work, &job)
			}
		})
	}
	stopped := make(chan struct{})
	var renewer sync.WaitGroup
	renewer.Go(func() { p.renew(stopped) })
	moves, endMoves := context.WithCancel(work)
	var moving sync.WaitGroup
	moving.Go(func() { p.mover.run(moves) })

	for _, r := range p.roots {
		if p.o.Rehash <= 0 || p.o.Idle != nil {
			break
		}
		moving.Go(func() {
			if err := p.rehash(moves, r); err != nil && moves.Err() == nil {
				p.fail(err)
			}
		})
	}

	p.dispatch(ctx, jobs)
	endMoves()
	moving.Wait() // else it would look into what is intended below, as if nobody was at it
	if p.o.Idle != nil && ctx.Err() == nil && p.failure() == nil {
		p.removeAtEnd(ctx)
		p.shortenAtEnd(ctx)
	}

	// Nothing more is handed out: what no worker has begun goes back.
	unbegun := jobs.close()
	grace := time.AfterFunc(p.o.Grace, func() { abort(errShutdown) })
	if p.failure() != nil {
		abort(errShutdown)
	}
	finished := make(chan struct{})
	renewer.Go(func() {
		select {
		case <-p.o.Cut:
			abort(errShutdown)
		case <-finished:
		}
	})
	_ = group.Wait() // workers return no errors
	close(finished)
	grace.Stop()
	close(stopped)
	renewer.Wait()
	return p.finish(unbegun)
}

// errShutdown breaks uploads off; their jobs go back to the queue.
var errShutdown = errors.New("iksync is stopping")

// finish returns what was not begun, and waits until all that was is on disk.
func (p *Pool) finish(unbegun []queue.Job) error {
	err := p.q.Release(context.Background(), unbegun)
	return errors.Join(p.failure(), err, p.flush())
}

// flush waits until every outcome that was handed in is on disk: a write that
// waits comes after all before it.
func (p *Pool) flush() error {
	return p.db.Write(context.Background(), state.Durable, func(*state.Tx) error { return nil })
}

// dispatch claims jobs and hands them to the workers until there is a reason to stop.
func (p *Pool) dispatch(ctx context.Context, jobs *handout) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	noMoves := false // nor uploads that moves became
	for {
		if ctx.Err() != nil || p.failure() != nil {
			return
		}
		p.beat.Store(time.Now().UnixNano())
		closing, idle := p.closing(), p.o.Idle
		if closing {
			idle = nil // it has been seen: a closed channel would never let the dispatcher rest
		}
		wait := p.gate.closedFor(time.Now())
		if wait <= 0 {
			if err := p.claimFresh(jobs); err != nil {
				p.fail(err)
				return
			}
			free := jobs.room()
			if most := p.gate.room(free); jobs.wantsMore() && most > 0 {
				last := closing && p.inFlight() == 0
				roots := p.open()
				claimed, next, err := p.q.ClaimMixed(context.Background(), roots, most, p.bigRoom(), lease)
				if err != nil {
					p.fail(err)
					return
				}
				p.handOut(jobs, claimed)
				if len(claimed) > 0 {
					noMoves = false
					continue
				}
				if last && next.IsZero() {
					if noMoves {
						return
					}
					moves, err := p.movesLeft()
					if err != nil {
						p.fail(err)
						return
					}
					if !moves { // the last of them may have become an upload since the claim
						noMoves = true
						continue
					}
				}
				if closing && next.IsZero() && p.stats.inFlight.Load() == 0 {
					// All that is missing is the fsync of what is done: nothing else comes to share it.
					if err := p.flush(); err != nil {
						p.fail(err)
					}
				}
				wait = pollEvery
				if !next.IsZero() {
					wait = min(wait, max(time.Until(next), time.Millisecond))
				}
				if len(roots) < len(p.o.Roots) {
					wait = min(wait, pausedPoll)
				}
			} else {
				wait = pollEvery
			}
		}
		p.mover.poke()
		timer.Reset(min(wait, pollEvery)) // Alive depends on it
		select {
		case <-ctx.Done():
		case <-p.failed:
		case <-p.q.Wake():
		case <-p.changed:
		case <-idle:
		case <-timer.C:
		}
	}
}

// claimFresh claims new files that were queued since, for the workers that become
// free first: what was claimed ahead may be of the backlog.
func (p *Pool) claimFresh(jobs *handout) error {
	free := cap(jobs.fresh) - len(jobs.fresh)
	most := p.gate.room(free)
	if most <= 0 || !p.q.TakeFresh() && !jobs.wantsFresh() {
		return nil
	}
	claimed, err := p.q.ClaimFresh(context.Background(), p.open(), most, p.bigRoom(), lease)
	if err != nil {
		return err
	}
	jobs.waiting.Store(len(claimed) == most)
	p.handOut(jobs, claimed)
	return nil
}

// handOut lets the workers have what was claimed.
func (p *Pool) handOut(jobs *handout, claimed []queue.Job) {
	p.begin(claimed)
	for _, job := range claimed {
		p.gate.claimed(job.ID)
		jobs.put(job)
	}
}

// movesLeft reports whether there are moves to do or being done.
func (p *Pool) movesLeft() (bool, error) {
	if p.moving.Load() {
		return true, nil
	}
	return p.q.HasMoves(context.Background(), p.rootIDs())
}

// removeAtEnd removes what is to be removed, for a pool that ends when all is done, and
// notes what is left.
func (p *Pool) removeAtEnd(ctx context.Context) {
	if !p.removes() {
		return
	}
	err := p.mover.finish(ctx)
	if err == nil {
		err = p.failure()
	} else if ctx.Err() == nil {
		p.fail(err)
	}
	if ctx.Err() != nil {
		return
	}
	if noted := p.mover.noteLeft(ctx, err); noted != nil {
		p.fail(noted)
	}
}

// shortenAtEnd gives assets their names without a suffix, for such a pool.
func (p *Pool) shortenAtEnd(ctx context.Context) {
	if ctx.Err() != nil || p.failure() != nil {
		return
	}
	if err := p.mover.shortenAtEnd(ctx); err != nil && !errors.Is(err, errLater) && ctx.Err() == nil {
		p.fail(err)
	}
}

func (p *Pool) rootIDs() []int64 {
	ids := make([]int64, len(p.o.Roots))
	for i := range p.o.Roots {
		ids[i] = p.o.Roots[i].ID
	}
	return ids
}

// open lists the roots whose jobs may be done now.
func (p *Pool) open() []int64 {
	ids := make([]int64, 0, len(p.o.Roots))
	for i := range p.o.Roots {
		if r := &p.o.Roots[i]; !r.waits() {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// bigRoom is how many more big files may be on their way: never as many as there
// are workers, so that small ones don't wait behind them.
func (p *Pool) bigRoom() int {
	room := max(1, p.o.Workers-max(1, p.o.Workers/8))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, job := range p.working {
		if job.Stat.Size >= queue.BigFile {
			room--
		}
	}
	return max(room, 0)
}

// Alive returns when the pool last showed that it is not stuck.
func (p *Pool) Alive() time.Time { return time.Unix(0, p.beat.Load()) }

// closing reports whether nobody will enqueue any more. It is asked before the
// claim, as is what is in flight: an empty claim then proves that nothing is left.
func (p *Pool) closing() bool {
	if p.o.Idle == nil {
		return false
	}
	select {
	case <-p.o.Idle:
		return true
	default:
		return false
	}
}

func (p *Pool) begin(jobs []queue.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range jobs {
		p.working[jobs[i].ID] = &jobs[i]
		p.claims[jobs[i].ID]++
	}
}

// end is called when a job's outcome is on disk.
func (p *Pool) end(job *queue.Job) {
	p.mu.Lock()
	if p.claims[job.ID]--; p.claims[job.ID] <= 0 {
		delete(p.claims, job.ID)
		delete(p.working, job.ID)
		delete(p.contents, job.ID)
		p.gate.ended(job.ID)
	}
	p.mu.Unlock()
	p.poke()
}

// poke lets the dispatcher look again.
func (p *Pool) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *Pool) inFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.working)
}

// renew keeps the leases of long uploads.
func (p *Pool) renew(stopped <-chan struct{}) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		ids := make([]int64, 0, len(p.working))
		for id := range p.working {
			ids = append(ids, id)
		}
		p.mu.Unlock()
		if err := p.q.Renew(context.Background(), ids, lease); err != nil {
			p.fail(err)
		}
	}
}

// fail stops the pool. The first reason is kept.
func (p *Pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fatal == nil {
		p.fatal = err
		close(p.failed)
	}
}

func (p *Pool) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fatal
}

// root returns the root of a job; only jobs of known roots are claimed.
func (p *Pool) root(job *queue.Job) (*Root, error) {
	r, ok := p.roots[job.RootID]
	if !ok {
		return nil, fmt.Errorf("job %d belongs to root %d, which this pool does not have", job.ID, job.RootID)
	}
	return r, nil
}
