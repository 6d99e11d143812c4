package uploader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

const (
	// restMover is the least time between two looks of the mover.
	restMover = 100 * time.Millisecond
	// maxMoveAttempts is after how many failures a file is uploaded instead of moved,
	// under a new fileId: about two hours of them. A Pool that gives up on uploads
	// earlier does so here, too.
	maxMoveAttempts = 30
	// maxTreeAttempts is after how many failures in a row a folder is not moved as a whole.
	maxTreeAttempts = 6
	// removeEvery is how often it is looked for what is to be removed.
	removeEvery = 10 * time.Second
	// confirmEvery is how often a scan is asked for that confirms what is absent.
	confirmEvery = time.Minute
)

// mover moves assets whose files were moved, one after the other: ImageKit
// limits these calls, and their order matters. It also removes the copies of
// files that are gone, where the root's policy says so.
type mover struct {
	p    *Pool
	wake chan struct{}

	rereads    int
	confirmed  time.Time      // when a scan was asked for
	treeSource string         // the folder that is being moved, as it was at first
	visiting   map[int64]bool // donors of the directories that are being looked into
	removed    time.Time      // when it was last looked for what is to be removed
	braked     map[int64]string
	was        map[int64]string // remote path of the assets that are being moved, by job
	silent     int              // times in a row that ImageKit did not answer what must be known
	until      time.Time        // it is not asked before

	refusals  map[int64]refusal // records whose copies ImageKit did not remove
	left      int64             // copies that a run that has ended was to remove and did not
	leftFirst []Unremoved
	aside     map[int64]bool // intents that were reported as set aside
	start     string         // names what the clock counts from

	quietFor, betweenListings, removeEvery time.Duration

	// read are the files that were read and found to be their donors', by job; of which
	// generation of it.
	read    map[int64]*queue.Move
	leaving map[int64]bool // jobs that wait in moveAway
}

func newMover(p *Pool) *mover {
	return &mover{p: p, wake: make(chan struct{}, 1), visiting: make(map[int64]bool), braked: make(map[int64]string), was: make(map[int64]string),
		read: make(map[int64]*queue.Move), leaving: make(map[int64]bool),
		refusals: make(map[int64]refusal), aside: make(map[int64]bool), start: newStart(),
		quietFor: quietFor, betweenListings: betweenListings, removeEvery: removeEvery}
}

// poke lets the mover look again.
func (m *mover) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run works until stop ends.
func (m *mover) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		wait := pollEvery
		if closed := max(m.p.gate.closedFor(time.Now()), time.Until(m.until)); closed > 0 {
			wait = min(closed, pollEvery)
		} else if did, next, err := m.passed(ctx); err != nil {
			if ctx.Err() == nil {
				m.p.fail(err)
			}
			return
		} else {
			if !next.IsZero() {
				wait = min(wait, max(time.Until(next), restMover))
			}
			if did {
				m.p.poke() // what was a move may be an upload by now
			}
		}
		rest := time.NewTimer(restMover)
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		rest.Stop()
		timer.Reset(wait)
	}
}

// errLater says that it can't go on now: ImageKit is asked again later.
var errLater = errors.New("later")

// passed is pass, and true also when there is nothing left to wait for.
func (m *mover) passed(ctx context.Context) (did bool, next time.Time, err error) {
	before, err := m.p.q.HasMoves(ctx, m.p.rootIDs())
	if err != nil {
		return false, next, err
	}
	did, next, err = m.pass(ctx)
	if err == nil && before && !did {
		var left bool
		left, err = m.p.q.HasMoves(ctx, m.p.rootIDs())
		did = !left
	}
	return did, next, err
}

// pass does what there is to do; false when there was nothing. next is when there
// will be more; the zero time when that is not known. An error is one of the state
// file.
func (m *mover) pass(ctx context.Context) (did bool, next time.Time, err error) {
	busy, err := m.p.q.HasMoves(ctx, m.p.rootIDs())
	if err != nil {
		return false, next, err
	}
	if !busy {
		if busy, err = m.p.q.HasAside(ctx); err != nil {
			return false, next, err
		}
	}
	defer m.p.moving.Store(false)
	for busy {
		m.p.moving.Store(true)
		settled, again, err := m.settleIntents(ctx)
		did = did || settled
		if err != nil {
			next, err = m.later(err)
			return did, next, err
		}
		var one bool
		if one, next, err = m.step(ctx); err != nil {
			next, err = m.later(err)
			return did, next, err
		}
		if next.IsZero() || !again.IsZero() && again.Before(next) {
			next = again
		}
		did = did || one
		if !one || ctx.Err() != nil {
			break
		}
	}
	if m.p.o.Idle == nil { // else it is done at the end
		shorter, err := m.shortenAll(ctx, m.p.open())
		did = did || shorter
		if err != nil {
			next, err = m.later(err)
			return did, next, err
		}
	}
	if m.p.o.Idle == nil && m.p.removes() {
		if due := m.removed.Add(m.removeEvery); time.Now().Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			return did, next, nil
		}
		m.removed = time.Now()
		if next.IsZero() {
			next = m.removed.Add(m.removeEvery)
		}
		if err := m.remove(ctx); err != nil {
			next, err = m.later(err)
			return did, next, err
		}
	}
	return did, next, nil
}

// removes reports whether any root's policy removes something.
func (p *Pool) removes() bool {
	return slices.ContainsFunc(p.o.Roots, func(r Root) bool { return r.Removal.removes() })
}

// later turns an error of ImageKit's, which is waited out, into none.
func (m *mover) later(err error) (time.Time, error) {
	if errors.Is(err, errLater) {
		return time.Now().Add(firstRetry), nil
	}
	return time.Time{}, err
}

// step does one move; false when there is none to do now.
func (m *mover) step(ctx context.Context) (did bool, next time.Time, err error) {
	roots := m.p.open()
	soon := time.Now().Add(2 * restMover) // it is looked again whether it is calm
	mv, next, err := m.p.q.Undecided(ctx, roots)
	if err != nil {
		return false, next, err
	}
	// A directory may have been moved from a root that is being scanned. Whether one is
	// must be asked after the move was read: by then a scan that has found it, and more
	// of its directory, has begun.
	calm := m.p.calm()
	if calm {
		if left := m.p.young(mv); left > 0 {
			return false, time.Now().Add(left), nil
		}
		if mv != nil {
			clear(m.visiting)
			return true, next, m.decide(ctx, mv)
		}
		soon = next
	}
	mv, next, err = m.p.q.NextMove(ctx, roots)
	if err != nil {
		return false, next, err
	}
	if mv == nil {
		if calm {
			if did, err := m.rehome(ctx, roots); err != nil || did {
				return did, next, err
			}
			if did, err := m.straighten(ctx, roots); err != nil || did {
				return did, next, err
			}
		}
		if next.IsZero() || !soon.IsZero() && soon.Before(next) {
			next = soon
		}
		return false, next, nil
	}
	return true, time.Time{}, m.move(ctx, mv)
}

// young returns how long a move must wait: its file may be about to be put back, or
// another to be put in its place, as programs do that keep the original under another
// name.
func (p *Pool) young(mv *queue.Move) time.Duration {
	if mv == nil || p.tell != nil { // a plan does not wait
		return 0
	}
	up := state.Uptime()
	if mv.SeenAt > up { // before the system was started anew
		return 0
	}
	return mv.SeenAt + max(p.o.Settle, mv.Stat.Grain()) - up
}

// decide finds out whether a file was moved together with its directory.
func (m *mover) decide(ctx context.Context, mv *queue.Move) error {
	if ok, err := m.confirm(ctx, mv, m.p.notAlike); err != nil || !ok {
		return err
	}
	m.visiting[mv.Donor.ID] = true
	for _, t := range trees(mv) {
		moved, err := m.moveTree(ctx, &t)
		if err != nil || moved {
			return err
		}
	}
	return m.p.q.Decide(ctx, mv)
}

// trees lists the directories that may have been moved with a file, the highest
// first: those that have the same names below them up to the file.
func trees(mv *queue.Move) []queue.Tree {
	t := queue.Tree{
		From: queue.Place{RootID: mv.Donor.RootID, Path: mv.Donor.Path}, To: mv.Place(),
		Source: mv.Donor.RemotePath, Target: mv.Remote,
	}
	var all []queue.Tree
	same := names.File(path.Base(t.Source)) == names.File(path.Base(t.Target))
	for path.Base(t.From.Path) == path.Base(t.To.Path) && same {
		for _, p := range []*string{&t.From.Path, &t.To.Path, &t.Source, &t.Target} {
			if *p = path.Dir(*p); *p == "." || *p == "/" {
				return all // the root is not moved
			}
		}
		if t.Source == t.Target {
			return all
		}
		same = names.Folder(path.Base(t.Source)) == names.Folder(path.Base(t.Target))
		all = append([]queue.Tree{t}, all...)
	}
	return all
}

// confirm looks on the disk whether a move is one, as a check says. If not it is made an
// upload.
func (m *mover) confirm(ctx context.Context, mv *queue.Move, check func(context.Context, *queue.Move) (string, error)) (bool, error) {
	why, err := check(ctx, mv)
	if err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		m.p.o.Log.Debug("a move can't be looked into now", zap.String("path", mv.Path), zap.Error(err))
		return false, m.p.q.PutOff(ctx, mv, queue.Failure{Free: true, NotBefore: time.Now().Add(firstRetry)})
	}
	if why == "" {
		return true, nil
	}
	if !m.p.calm() { // the scan that is going on may tell more of it
		return false, m.p.q.PutOff(ctx, mv, queue.Failure{Free: true, NotBefore: time.Now().Add(stepAside)})
	}
	if waits, err := m.moveAway(ctx, mv); err != nil || waits {
		return false, err
	}
	m.p.o.Log.Debug("uploaded and not moved", zap.String("path", mv.Path), zap.String("like", mv.Donor.Path), zap.String("why", why))
	return false, m.p.q.ToUpload(ctx, mv)
}

// moveAway sees to the move of the asset at the path of a file that is about to be
// uploaded: while this file is known as a recorded one, it does not keep that asset. It is
// false when there is no such move.
func (m *mover) moveAway(ctx context.Context, mv *queue.Move) (bool, error) {
	occupant, err := m.p.db.FileAt(ctx, mv.RootID, mv.Path)
	if err != nil || occupant == nil {
		return false, err
	}
	next, err := m.p.q.MoveOf(ctx, occupant.ID)
	if err != nil || next == nil || next.JobID == mv.JobID || m.leaving[next.JobID] {
		return false, err
	}
	if next.NotBefore.After(time.Now()) {
		return true, m.p.q.PutOff(ctx, mv, queue.Failure{Free: true, NotBefore: next.NotBefore})
	}
	m.leaving[mv.JobID] = true // files that go round do not wait for each other
	defer delete(m.leaving, mv.JobID)
	return true, m.move(ctx, next)
}

// notMoved says why a file is not the donor's under another name, or why the donor's asset
// stays where it is; "" when it follows the file.
func (p *Pool) notMoved(ctx context.Context, mv *queue.Move) (string, error) {
	if why, err := p.notAlike(ctx, mv); err != nil || why != "" {
		return why, err
	}
	return p.occupied(ctx, p.roots[mv.Donor.RootID], mv)
}

// notAlike says why a file is not shown to have the content of its donor; "" when it is.
func (p *Pool) notAlike(ctx context.Context, mv *queue.Move) (string, error) {
	root, donorRoot := p.roots[mv.RootID], p.roots[mv.Donor.RootID]
	if root == nil || donorRoot == nil {
		return "the other file's root is not configured", nil
	}
	for _, r := range []*Root{root, donorRoot} {
		if r.away() {
			return "", fmt.Errorf("root %s is not there", r.Dir.Name())
		}
	}
	return p.unlike(ctx, root, mv)
}

// occupied says why the asset of a donor stays where it is: its file is there still, or
// another that is no recorded one under another name. A program that keeps the original
// under another name has put a changed file in its place.
func (p *Pool) occupied(ctx context.Context, root *Root, mv *queue.Move) (string, error) {
	info, err := root.Dir.Lstat(mv.Donor.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", nil
	case err != nil:
		return "the other path can't be looked at: " + err.Error(), nil
	case !info.Mode().IsRegular():
		return "", nil
	}
	if stillThere(state.StatOf(info), mv.Donor, &mv.Stat) {
		return "the other file is there still", nil
	}
	return p.replaced(ctx, queue.Place{RootID: mv.Donor.RootID, Path: mv.Donor.Path})
}

// stillThere reports whether what is at the path of a donor is taken for its file, when
// another is seen elsewhere. By its inode alone a file is another one; that proves nothing
// where identity is not proven, nor when the one that is seen elsewhere is another, too.
func stillThere(there state.Stat, donor *state.File, elsewhere *state.Stat) bool {
	if !there.Alike(donor.Stat) {
		return false
	}
	proven := elsewhere.Mount == 0 && donor.Stat.Mount == 0
	return !proven || there.Ino == donor.Stat.Ino || elsewhere.Ino != donor.Stat.Ino
}

// replaced says that the file at a path is no recorded one that was moved there; "" when
// it is.
func (p *Pool) replaced(ctx context.Context, at queue.Place) (string, error) {
	const another = "another file is in the place of the other one, whose asset stays there"
	next, err := p.q.MoveTo(ctx, at)
	if err != nil || next == nil {
		return another, err
	}
	root := p.roots[at.RootID]
	if root == nil {
		return another, nil
	}
	why, err := p.unlike(ctx, root, next)
	if err != nil || why != "" {
		return another, err
	}
	return "", nil
}

// unlike says why a file is not shown to have the content of its donor; "" when it is.
func (p *Pool) unlike(ctx context.Context, root *Root, mv *queue.Move) (string, error) {
	file, err := root.open(mv.Path)
	if err != nil {
		return "it can't be opened: " + err.Error(), nil
	}
	defer file.Close()
	st, err := p.statOf(file)
	if err != nil || !st.Same(mv.Stat) {
		return "it is not as it was seen", nil
	}
	proof := state.Prove(mv.Donor.Content(), state.Content{Stat: st}, state.OtherPath)
	if proof != state.NotCompared {
		return unproven(proof), nil
	}
	if mv.Stat.Mount != 0 || mv.Stat.Ino != mv.Donor.Stat.Ino {
		if first, err := p.q.MoveOf(ctx, mv.Donor.ID); err != nil || first == nil || first.JobID != mv.JobID {
			return "another file is the other one under another name", err
		}
	}
	if p.mover.hasRead(mv) {
		return "", nil
	}
	sum, err := contentOf(ctx, file, st)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "it can't be read: " + err.Error(), nil
	}
	if proof = state.Prove(mv.Donor.Content(), contentRead(st, sum), state.OtherPath); proof == state.Equal {
		p.mover.noteRead(mv)
	}
	return unproven(proof), nil
}

// unproven says that contents are not known to be equal; "" when they are.
func unproven(p state.Proof) string {
	if p == state.Equal {
		return ""
	}
	return "its content is another, or not known to be equal"
}

// maxRead bounds the moves whose files are known to have been read.
const maxRead = 100_000

func (m *mover) noteRead(mv *queue.Move) {
	if len(m.read) >= maxRead {
		clear(m.read)
	}
	m.read[mv.JobID] = mv
}

// hasRead reports whether the file of a move was read and had the content of its donor.
func (m *mover) hasRead(mv *queue.Move) bool {
	r := m.read[mv.JobID]
	return r != nil && r.Gen() == mv.Gen() && r.Stat == mv.Stat && r.Donor.ID == mv.Donor.ID && r.Donor.Hash == mv.Donor.Hash
}

// refused decides what follows a failed call of the management API about a
// move: it waits, with those that are done together with it, or is uploaded after
// all. The intent has its outcome by then.
func (m *mover) refused(ctx context.Context, mv *queue.Move, err error, together ...*queue.Move) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := time.Now()
	f := queue.Failure{Class: imagekit.Transient.String(), Reason: err.Error(), NotBefore: now.Add(backoff(mv.Attempts, firstRetry, longestRetry))}
	var api *imagekit.Error
	if errors.As(err, &api) {
		f.Class, f.Reason, f.RequestID = api.Class.String(), reason(api), api.RequestID
		f.NotBefore = now.Add(max(api.RetryAfter, f.NotBefore.Sub(now)))
		switch api.Class {
		case imagekit.File:
			return m.p.q.ToUpload(ctx, mv)
		case imagekit.Account, imagekit.Credentials:
			f.Free = true
			m.p.refusedAll(api, now)
		case imagekit.Offline:
			f.Free = true
			m.p.offline(api, now)
		case imagekit.Throttled:
			f.Free = true
		}
	}
	most := maxMoveAttempts
	if m.p.o.MaxAttempts > 0 {
		most = m.p.o.MaxAttempts
	}
	if mv.Attempts+1 >= most && !f.Free {
		m.p.o.Log.Warn("uploaded and not moved, which gives it a new fileId: ImageKit fails again and again to move it", zap.String("path", mv.Path),
			zap.String("from", mv.Donor.Path), zap.String("reason", f.Reason), zap.String("request_id", f.RequestID))
		return m.p.q.ToUpload(ctx, mv)
	}
	m.p.stats.retries.Add(1)
	for _, other := range together {
		if other.JobID == mv.JobID {
			continue
		}
		if err := m.p.q.PutOff(ctx, other, queue.Failure{Class: f.Class, Reason: f.Reason, RequestID: f.RequestID, NotBefore: f.NotBefore, Free: true}); err != nil {
			return err
		}
	}
	return m.p.q.PutOff(ctx, mv, f)
}

// split parts a remote path into folder and name.
func split(remote string) (folder, name string) {
	folder, name = path.Split(remote)
	if folder != "/" {
		folder = strings.TrimSuffix(folder, "/")
	}
	return folder, name
}
