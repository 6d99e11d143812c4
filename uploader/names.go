package uploader

import (
	"context"
	"errors"
	"path"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// remotePath maps a local path of a root to where its asset goes, as the root is
// configured and as far as the library keeps names.
func (p *Pool) remotePath(rootID int64, local string) (string, error) {
	root := p.roots[rootID]
	mode := root.Names
	if p.q.Names(rootID) == queue.NamesChanged {
		mode = names.Safe
	}
	return names.Path(root.Folder, local, mode)
}

// wantedKey is, of an asset that has a suffix in its name, the key of its remote path
// without it; else "".
func (p *Pool) wantedKey(rootID int64, local, remote string) string {
	if wanted := p.withoutSuffix(rootID, local, remote); wanted != "" {
		return names.Key(wanted)
	}
	return ""
}

// withoutSuffix is the remote path without its suffix, if it has one that tells it from
// that of another file; else "". A changed configuration of names leaves it in its form.
func (p *Pool) withoutSuffix(rootID int64, local, remote string) string {
	root := p.roots[rootID]
	if root == nil {
		return ""
	}
	for _, mode := range []names.Mode{names.Safe, names.Keep} {
		wanted, err := names.Path(root.Folder, local, mode)
		if err != nil || wanted == remote {
			return ""
		}
		if imagekit.IsAlternate(remote, wanted, local) {
			return wanted
		}
		if root.Names == names.Safe {
			break
		}
	}
	return ""
}

// mapped reports whether the library has changed a name that it was given.
func mapped(asked, given string) bool {
	return asked != given && names.Key(asked) != asked && names.Key(asked) == names.Key(given)
}

// sayMapped tells once that a library changes names.
func (p *Pool) sayMapped(rootID int64, asked, given string) {
	if _, said := p.mapped.LoadOrStore(rootID, true); said || p.q.Names(rootID) == queue.NamesChanged {
		return
	}
	p.o.Log.Warn("ImageKit does not keep names as they are: from now on they are sent as with names: safe",
		zap.String("root", p.roots[rootID].Dir.Name()), zap.String("asked", asked), zap.String("given", given))
}

// noteMapped notes that a library changes names, as a move has shown.
func (m *mover) noteMapped(ctx context.Context, rootID int64, asked, given string) error {
	if m.p.roots[rootID] == nil {
		return nil
	}
	m.p.sayMapped(rootID, asked, given)
	return m.p.q.NoteNames(ctx, rootID, queue.NamesChanged)
}

// findEither looks for what was sent to a remote path, in the form in which it was sent,
// or else in the one that the library may have made of it.
func (p *Pool) findEither(ctx context.Context, remote string) (*imagekit.Asset, error) {
	p.stats.requests.Add(1)
	asset, err := p.library.Find(ctx, remote)
	key := names.Key(remote)
	if err != nil || asset != nil || key == remote {
		return asset, err
	}
	p.stats.requests.Add(1)
	return p.library.Find(ctx, key)
}

// shortenAll gives assets their names without a suffix, where the names have become free.
// It is false when there was nothing to do.
func (m *mover) shortenAll(ctx context.Context, roots []int64) (did bool, err error) {
	for ctx.Err() == nil {
		f, err := m.p.q.Vacated(ctx, roots)
		if err != nil || f == nil {
			return did, err
		}
		if err := m.shorten(ctx, f); err != nil {
			return did, err
		}
		did = true
	}
	return did, ctx.Err()
}

// shortenAtEnd is shortenAll for a pool that ends when all is done: what ImageKit does not
// answer at once is tried some times more. What is left is done by a later run.
func (m *mover) shortenAtEnd(ctx context.Context) error {
	const most = 5
	for n := 0; ; n++ {
		_, err := m.shortenAll(ctx, m.p.open())
		if !errors.Is(err, errLater) || n >= most {
			return err
		}
		if pause(ctx, max(time.Until(m.until), firstRetry)); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// shorten renames the asset of a record once, if nobody else has the name. The URL of
// the asset changes, so it is told as a move.
func (m *mover) shorten(ctx context.Context, f *state.File) error {
	target := m.p.withoutSuffix(f.RootID, f.Path, f.RemotePath)
	if target == "" || names.Key(target) != f.WantedKey {
		return m.p.q.Shortened(ctx, f, true) // it has the name, or is to have another
	}
	free, err := m.p.q.IsVacant(ctx, f, target)
	if err != nil {
		return err
	}
	if !free {
		return m.p.q.Shortened(ctx, f, false) // it is looked at again when that one leaves
	}
	was := f.RemotePath
	var api *imagekit.Error
	switch err := m.takeName(ctx, f, target); {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case errors.Is(err, errLost):
		return nil
	case errors.Is(err, queue.ErrBusy):
		return m.p.q.Shortened(ctx, f, false) // somebody has reserved it meanwhile
	case errors.Is(err, errOccupied), errors.As(err, &api) && api.Class == imagekit.File:
		m.p.o.Log.Info("an asset keeps the suffix of its name: the library has something else under the name without it",
			zap.String("path", f.Path), zap.String("remote_path", f.RemotePath), zap.String("wanted", target), zap.Error(err))
		return m.p.q.Shortened(ctx, f, false)
	case errors.As(err, &api):
		return m.unanswered(ctx, api)
	case err != nil:
		return err
	}
	m.silent = 0
	if err := m.p.q.Shortened(ctx, f, f.RemotePath != was); err != nil {
		return err
	}
	if f.RemotePath == was {
		return nil
	}
	m.p.stats.moved.Add(1)
	m.p.told(Step{Do: StepMove, RootID: f.RootID, Path: f.Path, From: f.Path, Remote: f.RemotePath, FromRemote: was, Files: 1, Why: "the name has become free"})
	m.p.o.Log.Info("renamed in the library: the name without the suffix has become free", zap.String("path", f.Path),
		zap.String("from", was), zap.String("remote_path", f.RemotePath), zap.String("file_id", f.FileID))
	return nil
}

// takeName renames an asset in its folder.
func (m *mover) takeName(ctx context.Context, f *state.File, target string) error {
	if err := m.refresh(ctx, f); err != nil || f.RemotePath == target {
		return err
	}
	if path.Dir(f.RemotePath) != path.Dir(target) {
		return errOccupied // somebody has moved it: it stays there
	}
	if err := m.isFree(ctx, f, target); err != nil {
		return err
	}
	return m.stepTowards(ctx, f, target, true)
}
