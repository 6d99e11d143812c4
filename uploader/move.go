package uploader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// errOccupied says that something else is where an asset is to go.
var errOccupied = errors.New("something else is there in the library")

// move moves the asset of a file that was moved or renamed by itself. Where the
// record of another file that was moved is in its place, that goes first; files
// that changed places go together.
func (m *mover) move(ctx context.Context, mv *queue.Move) error {
	chain, cycle, err := m.chain(ctx, mv)
	if err != nil || chain == nil {
		return err
	}
	for _, other := range chain {
		if other.NotBefore.After(time.Now()) { // it failed a moment ago
			return m.p.q.PutOff(ctx, mv, queue.Failure{Free: true, NotBefore: other.NotBefore})
		}
	}
	clear(m.was)
	for _, mv := range chain {
		m.was[mv.JobID] = mv.Donor.RemotePath
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if n, err := m.makeRoom(ctx, chain, i); err != nil {
			return m.failed(ctx, chain, n, err)
		}
		if err := m.bring(ctx, chain[i].Donor, chain[i].Remote); err != nil {
			return m.failed(ctx, chain, i, err)
		}
		if !cycle {
			if err := m.relabel(ctx, chain[i]); err != nil {
				return err
			}
		}
	}
	if cycle {
		return m.relabel(ctx, chain...)
	}
	return nil
}

// makeRoom lets the asset that is where that of the n-th move is to go step aside, under
// a name that is its own, if it is of one of the moves before, which are done after it:
// where they go round, or where a broken-off attempt has left it. An error is of the
// move that it returns.
func (m *mover) makeRoom(ctx context.Context, chain []*queue.Move, n int) (int, error) {
	owner, err := m.p.db.KeyOwner(ctx, chain[n].Remote, chain[n].Donor.ID)
	if err != nil || owner == nil {
		return n, err
	}
	for i, mv := range chain[:n] {
		if mv.Donor.ID == owner.ID {
			return i, m.bring(ctx, mv.Donor, aside(mv.Donor, owner.RemotePath))
		}
	}
	return n, nil
}

// aside is a remote path beside another that is a record's own.
func aside(f *state.File, remote string) string {
	return imagekit.Alternate(remote, fmt.Sprint("record ", f.ID), 0)
}

func (m *mover) relabel(ctx context.Context, moves ...*queue.Move) error {
	for _, mv := range moves {
		mv.WantedKey = m.p.wantedKey(mv.RootID, mv.Path, mv.Donor.RemotePath)
	}
	err := m.p.q.Relabel(ctx, moves)
	if errors.Is(err, queue.ErrOccupied) {
		return m.p.q.ToUpload(ctx, moves[0]) // a record came in between
	}
	if err != nil {
		return err
	}
	for _, mv := range moves {
		m.p.stats.moved.Add(1)
		m.p.toldMove(mv, m.was[mv.JobID])
		m.p.o.Log.Debug("moved", zap.String("from", mv.Donor.Path), zap.String("path", mv.Path), zap.String("remote_path", mv.Remote), zap.String("file_id", mv.Donor.FileID))
	}
	return nil
}

// chain lists the moves that must be done together with one, each waiting for
// the one after it; cycle when the last waits for the first. It is nil when the
// first can't be done: then that is seen to.
func (m *mover) chain(ctx context.Context, mv *queue.Move) (chain []*queue.Move, cycle bool, err error) {
	for {
		if ok, err := m.confirm(ctx, mv, m.p.notMoved); err != nil || !ok {
			return nil, false, err
		}
		chain = append(chain, mv)
		occupant, err := m.p.db.FileAt(ctx, mv.RootID, mv.Path)
		if err == nil && occupant == nil {
			occupant, err = m.p.db.KeyOwner(ctx, mv.Remote, mv.Donor.ID) // its asset is there, though it is of another path
		}
		if err != nil || occupant == nil || occupant.ID == mv.Donor.ID {
			return chain, false, err
		}
		if occupant.ID == chain[0].Donor.ID {
			return chain, true, nil
		}
		next, err := m.p.q.MoveOf(ctx, occupant.ID)
		if err != nil {
			return nil, false, err
		}
		if next == nil {
			// The file there was overwritten: its asset gets a new version.
			return nil, false, m.p.q.ToUpload(ctx, mv)
		}
		mv = next
	}
}

// failed decides what follows when the asset of one move of a chain could not be
// brought to its place.
func (m *mover) failed(ctx context.Context, chain []*queue.Move, n int, err error) error {
	mv := chain[n]
	var api *imagekit.Error
	if errors.Is(err, errOccupied) || errors.As(err, &api) && api.Class == imagekit.File && !errors.Is(err, errUnresolved) {
		// It is not going there, so it had better be where it was.
		if back := m.bring(ctx, mv.Donor, m.was[mv.JobID]); back != nil {
			m.p.o.Log.Debug("an asset stays on its way", zap.String("remote_path", mv.Donor.RemotePath), zap.Error(back))
		}
	}
	switch {
	case errors.Is(err, errOccupied):
		m.p.o.Log.Info("uploaded and not moved: the library has something else in its place", zap.String("path", mv.Path), zap.String("remote_path", mv.Remote))
		return m.p.q.ToUpload(ctx, mv)
	case errors.Is(err, errLost):
		return nil // its record is gone, and it is an upload
	case errors.Is(err, errUnresolved): // it is a move still, and goes on when that is known
		return m.p.q.PutOff(ctx, mv, queue.Failure{Free: true, Class: imagekit.Transient.String(), Reason: err.Error(), NotBefore: time.Now().Add(firstRetry)})
	case errors.Is(err, queue.ErrBusy), errors.Is(err, errLater), errors.As(err, &api):
		return m.refused(ctx, mv, err, chain...)
	}
	return err
}

// errLost says that an asset is not in the library any more.
var errLost = errors.New("the asset is not in the library any more")

// maxSteps bounds the calls to bring one asset to its place: a rename out of
// the way, a move, and a rename, each once more.
const maxSteps = 6

// bring moves the asset of a record to a remote path where nothing is. f is
// changed with it. An error of ImageKit's leaves it wherever it is by then, and
// recorded there.
func (m *mover) bring(ctx context.Context, f *state.File, target string) error {
	checked := false
	key := names.Key(target)
	if m.p.q.Names(f.RootID) == queue.NamesChanged {
		target = key
	}
	if f.RemotePath == target {
		return nil
	}
	if err := m.refresh(ctx, f); err != nil {
		return err
	}
	for range maxSteps {
		if f.RemotePath == target {
			return nil
		}
		if !checked {
			if err := m.isFree(ctx, f, target); err != nil {
				return err
			}
			checked = true
		}
		before := f.RemotePath
		if err := m.stepTowards(ctx, f, target, false); err != nil {
			return err
		}
		if target != key && (changed(path.Base, before, f.RemotePath, target, key) || changed(path.Dir, before, f.RemotePath, target, key)) {
			if err := m.noteMapped(ctx, f.RootID, target, f.RemotePath); err != nil {
				return err
			}
			target = key
		}
	}
	return errLater
}

// changed reports whether a call gave a part of a path the name that the library makes of
// the one that was asked for.
func changed(part func(string) string, before, after, asked, key string) bool {
	return part(after) != part(before) && part(after) != part(asked) && part(after) == part(key)
}

// refresh looks where the asset of a record is. Calls name it by its path, and
// somebody else's may be there.
func (m *mover) refresh(ctx context.Context, f *state.File) error {
	m.p.stats.requests.Add(1)
	asset, err := m.p.library.Details(ctx, f.FileID)
	if err != nil {
		return err
	}
	if asset == nil {
		return m.lost(ctx, f)
	}
	if asset.FilePath == f.RemotePath && asset.FileID == f.FileID {
		return nil
	}
	err = m.p.q.Locate(ctx, f.ID, location(asset))
	if errors.Is(err, state.ErrRemoteTaken) {
		return m.lost(ctx, f)
	}
	f.FileID, f.RemotePath = asset.FileID, asset.FilePath
	return err
}

// lost ends the record of an asset that is not in the library any more.
func (m *mover) lost(ctx context.Context, f *state.File) error {
	m.p.o.Log.Warn("an asset is not in the library any more", zap.String("path", f.Path), zap.String("remote_path", f.RemotePath), zap.String("file_id", f.FileID))
	if err := m.p.q.Lost(ctx, f.ID); err != nil {
		return err
	}
	return errLost
}

// isFree looks whether nothing is at a remote path: moving a file to where one
// is would join their histories without a word.
func (m *mover) isFree(ctx context.Context, f *state.File, target string) error {
	owner, err := m.p.db.KeyOwner(ctx, target, f.ID)
	if err != nil {
		return err
	}
	if owner != nil {
		return errOccupied
	}
	find := m.p.findEither
	if m.p.q.Names(f.RootID) == queue.NamesKept {
		m.p.stats.requests.Add(1)
		find = m.p.library.Find
	}
	there, err := find(ctx, target)
	if err != nil {
		return err
	}
	if there != nil && there.FileID != f.FileID {
		return errOccupied
	}
	return nil
}

// stepTowards makes one call that brings an asset nearer to its place, and
// records where it is then, whatever the answer was. With vacant it makes none if somebody
// else has reserved the target.
func (m *mover) stepTowards(ctx context.Context, f *state.File, target string, vacant bool) error {
	folder, name := split(f.RemotePath)
	toFolder, toName := split(target)
	i := &queue.Intent{Kind: queue.MoveFile, File: f.ID, Source: f.RemotePath, Target: target, Vacant: vacant}
	if err := m.p.q.Intend(ctx, i); err != nil {
		return err
	}
	m.p.stats.requests.Add(1)
	var err error
	switch {
	case folder == toFolder:
		err = m.p.library.Rename(ctx, f.RemotePath, toName)
	case name == toName:
		err = m.moveInto(ctx, f, toFolder)
	default:
		var reserved bool
		own := path.Base(aside(f, target))
		if reserved, err = m.p.q.Reserved(ctx, path.Join(folder, toName)); err != nil {
			return err
		}
		var api *imagekit.Error
		if !reserved {
			err = m.p.library.Rename(ctx, f.RemotePath, toName)
		}
		if reserved || errors.As(err, &api) && api.Exists() {
			// The new name is taken in the old folder: a name of its own on the way.
			m.p.stats.requests.Add(1)
			if name != own {
				err = m.p.library.Rename(ctx, f.RemotePath, own)
			} else {
				err = m.moveInto(ctx, f, toFolder)
			}
		}
	}
	if err != nil && ctx.Err() != nil {
		return err // broken off, it may be done yet: the intent stays, and is looked into at the next start
	}
	before := f.RemotePath
	if settled := m.settleFile(ctx, i, f); settled != nil {
		return m.unresolved(ctx, i, settled)
	}
	m.silent = 0
	if f.RemotePath != before {
		return nil
	}
	var api *imagekit.Error
	switch {
	case err == nil:
		return errLater // ImageKit says that it is done, and where it was: in a moment it will know
	case errors.As(err, &api) && api.Exists():
		return errOccupied
	}
	return err
}

// moveInto moves the asset of a record into a folder, which is made where that takes a
// call of its own. The library is asked for the asset first: a 404 may be about it.
func (m *mover) moveInto(ctx context.Context, f *state.File, folder string) error {
	err := m.p.library.Move(ctx, f.RemotePath, folder)
	if !notFound(err) {
		return err
	}
	m.p.stats.requests.Add(1)
	asset, asked := m.p.library.Details(ctx, f.FileID)
	if asked != nil || asset == nil || asset.FilePath != f.RemotePath {
		return err
	}
	return m.p.inFolder(ctx, err, folder, func() error { return m.p.library.Move(ctx, f.RemotePath, folder) })
}
