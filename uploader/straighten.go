package uploader

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// maxHomes bounds the remote paths that are tried for an asset that is astray.
const maxHomes = 4

// straighten brings an asset to where its record's path has it, which a move
// that was broken off, or came to nothing, has left elsewhere; false when there is none.
func (m *mover) straighten(ctx context.Context, roots []int64) (bool, error) {
	f, err := m.p.q.Astray(ctx, roots)
	if err != nil || f == nil {
		return false, err
	}
	home, err := m.p.remotePath(f.RootID, f.Path)
	if err != nil { // the mapping has changed since
		return true, m.p.q.Settled(ctx, f)
	}
	if names.Key(f.RemotePath) == names.Key(home) {
		return true, m.p.q.Settled(ctx, f) // it is there, in one form or the other
	}
	target := home
	for n := range maxHomes {
		if n > 0 {
			target = imagekit.Alternate(home, f.Path, n-1)
		}
		err := m.bringHome(ctx, f, target)
		if !errors.Is(err, errOccupied) {
			return true, m.straightened(ctx, f, err)
		}
	}
	return true, m.straightened(ctx, f, nil) // it stays
}

// bringHome brings an asset that is astray to a remote path. One of another
// record that is there and astray, too, steps aside.
func (m *mover) bringHome(ctx context.Context, f *state.File, target string) error {
	owner, err := m.p.db.KeyOwner(ctx, target, f.ID)
	if err == nil && owner != nil {
		var astray bool
		if astray, err = m.p.q.IsAstray(ctx, owner); err == nil && astray {
			err = m.bring(ctx, owner, aside(owner, owner.RemotePath))
		}
	}
	if err != nil {
		return err
	}
	return m.bring(ctx, f, target)
}

// straightened decides what follows an attempt to bring an asset home.
func (m *mover) straightened(ctx context.Context, f *state.File, err error) error {
	var api *imagekit.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errLost):
		return nil
	case errors.Is(err, queue.ErrBusy):
		return errLater
	case errors.As(err, &api) && api.Class == imagekit.File:
		m.p.o.Log.Warn("an asset stays where it is: ImageKit does not move it back", zap.String("path", f.Path), zap.String("remote_path", f.RemotePath), zap.Error(api))
	case errors.As(err, &api):
		return m.unanswered(ctx, api)
	case err != nil:
		return err
	default:
		m.p.o.Log.Debug("an asset is in its place again", zap.String("path", f.Path), zap.String("remote_path", f.RemotePath))
	}
	m.silent = 0
	return m.p.q.Settled(ctx, f)
}
