package uploader

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// settleIntents finds out what became of everything that was intended and has
// no outcome: in an earlier run, or when ImageKit's answer was lost. Nothing
// else is done with these records before. It is false when there was nothing.
func (m *mover) settleIntents(ctx context.Context) (did bool, err error) {
	intents, err := m.p.q.Intents(ctx)
	if err != nil {
		return false, err
	}
	for n := range intents {
		i := &intents[n]
		switch i.Kind {
		case queue.CopyFile:
			if m.p.copying.Load() == 0 { // else a worker is at it
				err = m.p.unstage(ctx, i)
			}
		case queue.RemoveFolder:
			err = m.p.q.Forget(ctx, i)
		case queue.MoveFolder:
			_, err = m.settleFolder(ctx, i, nil)
		default:
			var f *state.File
			if f, err = m.p.db.FileByID(ctx, i.File); err == nil && f == nil {
				err = m.p.q.Forget(ctx, i)
			} else if err == nil {
				err = m.settleFile(ctx, i, f)
			}
		}
		var api *imagekit.Error
		switch {
		case errors.Is(err, errLost):
		case errors.As(err, &api):
			return did, m.unanswered(ctx, api)
		case err != nil:
			return did, err
		}
		did = true
	}
	return did, nil
}

// unanswered notes that ImageKit does not answer what must be known before
// anything else.
func (m *mover) unanswered(ctx context.Context, api *imagekit.Error) error {
	p := m.p
	m.silent++
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch api.Class {
	case imagekit.Account, imagekit.Credentials:
		p.refusedAll(api, time.Now())
	case imagekit.Offline:
		p.offline(api, time.Now())
	default:
		if m.silent > maxOffline && p.o.MaxAttempts > 0 {
			p.fail(api)
		}
		p.o.Log.Warn("ImageKit does not answer what must be known before anything is moved or removed; it is asked again", zap.Error(api))
	}
	m.until = time.Now().Add(askAgain(api, m.silent))
	return errLater
}

// settleFile asks where the asset of a record is, records it, in f too, and
// removes the intent. The call's own answer does not matter: this is the truth.
func (m *mover) settleFile(ctx context.Context, i *queue.Intent, f *state.File) error {
	ctx = context.WithoutCancel(ctx) // what was done must be known
	// Should it have another id since it was moved, it is where it was to go, or on
	// the way. What is where it was is not it.
	var elsewhere []string
	switch folder, _ := split(i.Source); i.Kind {
	case queue.MoveFile:
		elsewhere = []string{i.Target, path.Join(folder, path.Base(i.Target)), path.Join(folder, path.Base(aside(f, i.Target))),
			path.Join(path.Dir(i.Target), path.Base(aside(f, i.Target)))}
	case queue.TrashFile:
		elsewhere = []string{i.Target}
	}
	asset, err := m.find(ctx, f, elsewhere...)
	if err != nil {
		return err
	}
	switch {
	case asset == nil && i.Kind == queue.DeleteFile:
		m.p.stats.removed.Add(1)
		return m.p.q.Removed(ctx, i, "")
	case asset == nil:
		return m.lost(ctx, f)
	case i.Kind == queue.TrashFile && asset.FilePath == i.Target:
		m.p.stats.removed.Add(1)
		return m.p.q.Removed(ctx, i, i.Target)
	}
	err = m.p.q.Placed(ctx, i, location(asset))
	if errors.Is(err, state.ErrRemoteTaken) { // two records of one asset: the other is right
		if err := m.p.q.Lost(ctx, f.ID); err != nil {
			return err
		}
		return errLost
	}
	f.FileID, f.RemotePath = asset.FileID, asset.FilePath
	return err
}

// find asks for the asset of a record: by its id, else by the paths where it may be.
// nil is that it is not in the library.
func (m *mover) find(ctx context.Context, f *state.File, paths ...string) (*imagekit.Asset, error) {
	m.p.stats.requests.Add(1)
	asset, err := m.p.library.Details(ctx, f.FileID)
	if err != nil || asset != nil {
		return asset, err
	}
	// Perhaps it has another id since it was moved. What was moved just now may not be listed yet.
	for try := range 3 {
		for _, at := range paths {
			if at == f.RemotePath {
				continue
			}
			owner, err := m.p.db.RemoteOwner(ctx, at)
			if err != nil {
				return nil, err
			}
			if owner != nil && owner.ID != f.ID {
				continue
			}
			m.p.stats.requests.Add(1)
			if asset, err = m.p.library.Find(ctx, at); err != nil || asset != nil && asset.Size == f.Stat.Size {
				return asset, err
			}
		}
		if try < 2 && len(paths) > 0 {
			pause(ctx, firstRetry)
		}
	}
	return nil, nil
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func location(a *imagekit.Asset) *queue.Location {
	version := a.VersionID
	if version == "" {
		version = a.FileID
	}
	return &queue.Location{FileID: a.FileID, VersionID: version, Name: a.Name, RemotePath: a.FilePath, URL: a.URL, ThumbnailURL: a.ThumbnailURL, Response: a.Raw}
}

// under reports whether a remote path is below a folder.
func under(remote, folder string) bool { return strings.HasPrefix(remote, folder+"/") }
