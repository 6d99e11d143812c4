package uploader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// remove takes the copies of files that are absent out of the library, where
// the policies say so, their grace is over, and no brake is on.
func (m *mover) remove(ctx context.Context) error {
	began := time.Now()
	for i := range m.p.o.Roots {
		r := &m.p.o.Roots[i]
		if !r.Removal.removes() {
			continue
		}
		for ctx.Err() == nil {
			more, err := m.removeSome(ctx, r)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if err := m.removeFolders(ctx, r); err != nil {
			return err
		}
	}
	// Each of the others had its turn: one that has not failed again is no more to be removed.
	maps.DeleteFunc(m.refusals, func(_ int64, f refusal) bool { return f.until.Before(began) })
	return nil
}

// asked is what to find out about a root's removals.
func (m *mover) asked(r *Root, identity []byte) queue.Removal {
	q := queue.Removal{
		RootID: r.ID, Gone: r.Removal.Gone != Keep, Filtered: r.Removal.Filtered != Keep, After: r.Removal.After,
		MaxFiles: r.Removal.MaxFiles, MaxShare: r.Removal.MaxShare, Limit: imagekit.MaxDelete, Identity: identity,
	}
	now := time.Now()
	for id, f := range m.refusals {
		if f.until.After(now) {
			q.Except = append(q.Except, id)
		}
	}
	return q
}

// refusal is a file that ImageKit did not remove when it was asked for just that file.
type refusal struct {
	tries  int
	until  time.Time // it is not asked before
	reason string
	final  bool // for this run
}

// keptBy notes that ImageKit did not remove the copy of a record. The others go on. In
// a run that is to end some day what ImageKit refuses is not asked for again, and what
// fails as often as an upload may.
func (m *mover) keptBy(id int64, reason string, refused bool) {
	f := m.refusals[id]
	f.tries, f.reason = f.tries+1, reason
	f.until = time.Now().Add(backoff(f.tries, firstRetry, longestRetry))
	if refused {
		f.until = time.Now().Add(backoff(f.tries, firstThrottled, longestThrottled))
	}
	if m.p.o.MaxAttempts > 0 && (refused || f.tries >= m.p.o.MaxAttempts) {
		f.final, f.until = true, time.Now().Add(never)
	}
	m.refusals[id] = f
}

// never is longer than any run that is to end some day.
const never = 365 * 24 * time.Hour

// maxInARow is how many files in a row may fail before ImageKit is left alone.
const maxInARow = 3

// Unremoved is a copy that a run was to remove and did not.
type Unremoved struct {
	RootID     int64
	Path       string
	RemotePath string
	Reason     string
}

// maxUnremoved bounds the copies that are named; all are counted.
const maxUnremoved = 20

// Unremoved counts the copies that a run that has ended was to remove and did not, and
// names the first.
func (p *Pool) Unremoved() (int64, []Unremoved) { return p.mover.left, p.mover.leftFirst }

// noteLeft finds out what was to be removed and is there still; cause is why the run
// gave up, nil when it did not.
func (m *mover) noteLeft(ctx context.Context, cause error) error {
	for i := range m.p.o.Roots {
		r := &m.p.o.Roots[i]
		if !r.Removal.removes() || r.away() || r.Sound != nil && !r.Sound() {
			continue
		}
		identity, err := r.Identity()
		if err != nil {
			continue // nothing may be removed, and why is known
		}
		q := m.asked(r, identity)
		q.Except = nil
		due, err := m.p.q.Due(ctx, q)
		if err != nil {
			return err
		}
		if due.Braked != "" && !due.Approved {
			continue
		}
		if n := due.All - due.Unscanned; len(due.Files) > 0 && !due.Approved {
			m.left += n
		} else {
			m.left += int64(len(due.Files))
		}
		for _, f := range due.Files {
			if len(m.leftFirst) == maxUnremoved {
				break
			}
			u := Unremoved{RootID: r.ID, Path: f.Path, RemotePath: f.RemotePath, Reason: m.refusals[f.ID].reason}
			if u.Reason == "" && cause != nil {
				u.Reason = cause.Error()
			}
			m.leftFirst = append(m.leftFirst, u)
		}
	}
	return nil
}

// finish removes what is to be removed for a run that is to end some day, and tries again
// what fails. It returns when there is no more, or with why it gave up.
func (m *mover) finish(ctx context.Context) error {
	for ctx.Err() == nil && m.p.failure() == nil {
		m.p.beat.Store(time.Now().UnixNano())
		_, _, err := m.settleIntents(ctx)
		if err == nil {
			err = m.remove(ctx)
		}
		var until []time.Time
		switch {
		case errors.Is(err, errLater):
			until = append(until, m.until)
		case err != nil:
			return err
		}
		intents, err := m.p.q.Intents(ctx)
		if err != nil {
			return err
		}
		for _, i := range intents {
			if !i.Aside {
				until = append(until, i.NotBefore)
			}
		}
		for _, f := range m.refusals {
			if !f.final {
				until = append(until, f.until)
			}
		}
		if len(until) == 0 {
			return nil
		}
		pause(ctx, max(time.Until(slices.MinFunc(until, time.Time.Compare)), restMover))
	}
	return nil
}

// removeSome removes up to one batch; false when there is no more to remove now.
func (m *mover) removeSome(ctx context.Context, r *Root) (more bool, err error) {
	if r.away() || r.Sound != nil && !r.Sound() {
		return false, nil
	}
	identity, err := r.Identity()
	if err != nil {
		m.p.o.Log.Debug("nothing is removed", zap.String("root", r.Dir.Name()), zap.Error(err))
		return false, nil
	}
	due, err := m.p.q.Due(ctx, m.asked(r, identity))
	if err != nil {
		return false, err
	}
	m.sayBrake(r, due.Braked)
	if due.Unscanned > 0 && r.Rescan != nil && time.Since(m.confirmed) >= confirmEvery {
		m.confirmed = time.Now()
		r.Rescan()
	}
	var trash, deletes []*queue.Intent
	// A folder of its own for each batch: files of one name would join their histories.
	now := time.Now().UTC()
	bin := path.Join(r.Removal.TrashFolder, now.Format(time.DateOnly), fmt.Sprintf("%s-%04x", now.Format("150405"), rand.N(1<<16)))
	for _, f := range due.Files {
		// The last look is the one that counts.
		if now := r.Absence(f.Path); now != f.Absent {
			if now != state.Present {
				_, err = m.p.q.MarkAbsent(ctx, r.ID, []queue.Absent{{Path: f.Path, Why: now}})
			} else {
				err = m.p.q.MarkPresent(ctx, r.ID, []string{f.Path})
			}
			delete(m.refusals, f.ID)
			if err != nil {
				return false, err
			}
			continue
		}
		i := &queue.Intent{File: f.ID, Source: f.RemotePath, Approved: due.Approved}
		if r.Removal.Policy(f.Absent) == Delete {
			i.Kind = queue.DeleteFile
			deletes = append(deletes, i)
		} else {
			i.Kind, i.Target = queue.TrashFile, path.Join(bin, f.RemotePath)
			trash = append(trash, i)
		}
	}
	done, err := m.deleteAll(ctx, deletes)
	inARow := 0
	for _, i := range trash {
		if err != nil {
			break
		}
		var moved bool
		if moved, err = m.trash(ctx, i); moved {
			done++
		}
		var api *imagekit.Error
		switch {
		case errors.Is(err, errUnresolved):
			err = nil // the intent is looked into; the others go on
		case errors.As(err, &api) && api.Class == imagekit.File:
			m.p.o.Log.Warn("ImageKit does not move a file to the trash folder", zap.String("remote_path", i.Source), zap.Error(err))
			m.keptBy(i.File, err.Error(), true)
			err = nil // the others go on
		case errors.As(err, &api) && api.Class == imagekit.Transient && ctx.Err() == nil:
			if inARow++; inARow < maxInARow {
				m.keptBy(i.File, err.Error(), false)
				err = nil
			}
		case err == nil:
			inARow = 0
		}
	}
	var api *imagekit.Error
	if errors.As(err, &api) {
		return false, m.unanswered(ctx, api)
	}
	m.silent = 0
	return done > 0, err
}

// sayBrake tells when the brake is put on or taken off, once.
func (m *mover) sayBrake(r *Root, why string) {
	if m.braked[r.ID] == why {
		return
	}
	m.braked[r.ID] = why
	if why != "" {
		m.p.o.Log.Error("nothing of the root is removed from the library until it is approved: see iksync approve", zap.String("root", r.Dir.Name()), zap.String("why", why))
	} else {
		m.p.o.Log.Info("removals of the root go on", zap.String("root", r.Dir.Name()))
	}
}

// deleteAll deletes assets for good, in one call. Where ImageKit refuses the call as a
// whole, halves of it are tried, so that one asset keeps no other.
func (m *mover) deleteAll(ctx context.Context, intents []*queue.Intent) (done int, err error) {
	if len(intents) == 0 {
		return 0, nil
	}
	done, err = m.deleteBatch(ctx, intents)
	var api *imagekit.Error
	if done > 0 || !errors.As(err, &api) || api.Class != imagekit.File || ctx.Err() != nil {
		return done, err
	}
	if n := len(intents); n > 1 {
		for _, half := range [][]*queue.Intent{intents[:n/2], intents[n/2:]} {
			some, err := m.deleteAll(ctx, half)
			if done += some; err != nil {
				return done, err
			}
		}
		return done, nil
	}
	f, dbErr := m.p.db.FileByID(ctx, intents[0].File)
	if dbErr != nil || f == nil {
		return 0, dbErr
	}
	m.p.stats.requests.Add(1)
	asset, askErr := m.p.library.Details(ctx, f.FileID)
	if askErr != nil || asset != nil {
		m.p.o.Log.Warn("ImageKit does not delete a file", zap.String("remote_path", f.RemotePath), zap.Error(err))
		m.keptBy(f.ID, err.Error(), true)
		return 0, nil
	}
	if err := m.p.q.Intend(ctx, intents[0]); err != nil { // it is gone, whoever deleted it
		if errors.Is(err, queue.ErrBusy) {
			err = nil
		}
		return 0, err
	}
	m.p.stats.removed.Add(1)
	return 1, m.p.q.Removed(context.WithoutCancel(ctx), intents[0], "")
}

// deleteBatch is one call of deleteAll.
func (m *mover) deleteBatch(ctx context.Context, intents []*queue.Intent) (done int, err error) {
	if err := m.p.q.IntendAll(ctx, &intents); err != nil || len(intents) == 0 {
		return 0, err
	}
	byID := make(map[string]*queue.Intent, len(intents))
	files := make(map[string]*state.File, len(intents))
	ids := make([]string, 0, len(intents))
	for _, i := range intents {
		f, err := m.p.db.FileByID(ctx, i.File)
		if err != nil {
			return 0, err
		}
		byID[f.FileID], files[f.FileID] = i, f
		ids = append(ids, f.FileID)
	}
	m.p.stats.requests.Add(1)
	deleted, refused, callErr := m.p.library.DeleteFiles(ctx, ids)
	settled := context.WithoutCancel(ctx)
	for _, id := range deleted {
		if i := byID[id]; i != nil {
			m.p.stats.removed.Add(1)
			delete(m.refusals, i.File)
			m.p.toldRemoval(i, files[id])
			m.p.o.Log.Info("deleted in the library", zap.String("path", files[id].Path), zap.String("remote_path", i.Source), zap.String("file_id", id))
			if err := m.p.q.Removed(settled, i, ""); err != nil {
				return done, err
			}
			delete(byID, id)
			done++
		}
	}
	var api *imagekit.Error
	ambiguous := callErr != nil && (!errors.As(callErr, &api) || api.Ambiguous)
	for id, i := range byID {
		if why, ok := refused[id]; ok {
			m.p.o.Log.Warn("ImageKit does not delete a file", zap.String("remote_path", i.Source), zap.String("why", why))
			m.keptBy(i.File, why, true)
		} else if ambiguous {
			continue // the intent stays, and is looked into
		}
		if err := m.p.q.Forget(settled, i); err != nil {
			return done, err
		}
	}
	return done, callErr
}

// trash moves an asset into the trash folder.
func (m *mover) trash(ctx context.Context, i *queue.Intent) (bool, error) {
	f, err := m.p.db.FileByID(ctx, i.File)
	if err != nil || f == nil {
		return false, err
	}
	if err := m.refresh(ctx, f); errors.Is(err, errLost) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	i.Source = f.RemotePath
	m.p.stats.requests.Add(1)
	err = m.p.q.Intend(ctx, i)
	if errors.Is(err, queue.ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	callErr := m.moveInto(ctx, f, path.Dir(i.Target))
	if callErr != nil && ctx.Err() != nil {
		return false, callErr // it may be done yet: the intent stays
	}
	err = m.settleFile(ctx, i, f)
	if err == nil && callErr == nil {
		delete(m.refusals, i.File)
		m.p.toldRemoval(i, f)
		m.p.o.Log.Info("moved to the trash folder", zap.String("path", f.Path), zap.String("remote_path", i.Target))
		return true, nil
	}
	if errors.Is(err, errLost) {
		return true, nil
	}
	if err != nil {
		return false, m.unresolved(ctx, i, err)
	}
	return false, callErr
}
