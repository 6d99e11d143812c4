package uploader

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

const (
	// asideAfter is after how many failed attempts an intent is set aside.
	asideAfter = 5
	// longestAside bounds the time between two attempts.
	longestAside = 30 * time.Minute
)

// errUnresolved says that it could not be found out what became of an intent, which stays.
var errUnresolved = errors.New("what became of a call is not known yet")

// settleIntents finds out what became of everything that was intended and has
// no outcome: in an earlier run, or when ImageKit's answer was lost. Nothing
// else is done with these records before. What can't be found out is tried again at
// next, and keeps nothing else. did is false when there was nothing.
func (m *mover) settleIntents(ctx context.Context) (did bool, next time.Time, err error) {
	intents, err := m.p.q.Intents(ctx)
	if err != nil {
		return false, next, err
	}
	for n := range intents {
		i := &intents[n]
		if wait := time.Until(i.NotBefore); wait > 0 && wait <= longestAside { // a longer one is of a clock that was wrong
			if !i.Aside && (next.IsZero() || i.NotBefore.Before(next)) {
				next = i.NotBefore
			}
			continue
		}
		err := m.settleIntent(ctx, i)
		var api *imagekit.Error
		if errors.As(err, &api) && !errors.Is(err, errLost) {
			err = m.unresolved(ctx, i, err)
		}
		switch {
		case errors.Is(err, errUnresolved):
			if !i.Aside && (next.IsZero() || i.NotBefore.Before(next)) {
				next = i.NotBefore
			}
			continue
		case errors.Is(err, errLost):
		case errors.As(err, &api):
			return did, next, m.unanswered(ctx, api)
		case err != nil:
			return did, next, err
		}
		if m.aside[i.ID] {
			delete(m.aside, i.ID)
			m.p.o.Log.Info("an unresolved change of the library is resolved", zap.String("source", i.Source), zap.String("target", i.Target))
		}
		did = true
	}
	return did, next, nil
}

// settleIntent finds out what became of one intent.
func (m *mover) settleIntent(ctx context.Context, i *queue.Intent) error {
	switch i.Kind {
	case queue.CopyFile:
		if m.p.copying.Load() > 0 {
			return nil // a worker is at it
		}
		return m.p.unstage(ctx, i)
	case queue.RemoveFolder:
		return m.settleRemoval(ctx, i)
	case queue.MoveFolder:
		_, err := m.settleFolder(ctx, i, nil)
		return err
	}
	f, err := m.p.db.FileByID(ctx, i.File)
	if err != nil {
		return err
	}
	if f == nil {
		return m.p.q.Forget(ctx, i)
	}
	return m.settleFile(ctx, i, f)
}

// unresolved decides what follows when it can't be found out what became of an intent. An
// error that all calls meet, and one of the state file, is returned as it is.
func (m *mover) unresolved(ctx context.Context, i *queue.Intent, err error) error {
	var api *imagekit.Error
	if !errors.As(err, &api) || errors.Is(err, errLost) {
		return err
	}
	switch api.Class {
	case imagekit.Account, imagekit.Credentials, imagekit.Offline, imagekit.Throttled:
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	until := time.Now().Add(min(max(api.RetryAfter, backoff(i.Tries, firstRetry, longestAside)), longestAside))
	aside := i.Aside || api.Class == imagekit.File || i.Tries+1 >= asideAfter
	if err := m.p.q.PutOffIntent(ctx, i, reason(api), until, aside); err != nil {
		return err
	}
	if aside && !m.aside[i.ID] {
		m.aside[i.ID] = true
		m.p.o.Log.Warn("an unresolved change of the library is set aside", zap.String("source", i.Source), zap.String("target", i.Target), zap.Error(api),
			zap.String("hint", "nothing is sent, moved or removed there until ImageKit tells what became of it; iksync asks again"))
	}
	return fmt.Errorf("%w: %w", errUnresolved, err)
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
		elsewhere = []string{i.Target, names.Key(i.Target)}
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
	case i.Kind == queue.TrashFile && (asset.FilePath == i.Target || asset.FilePath == names.Key(i.Target)):
		m.p.stats.removed.Add(1)
		return m.p.q.Removed(ctx, i, asset.FilePath)
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
			if asset, err = m.p.library.Find(ctx, at); err != nil || asset != nil && asset.Size == f.LibrarySize() {
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
