package uploader

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
)

// leastTree is from how many files on a folder is moved as a whole.
const leastTree = 2

// How often it is asked whether a folder's job is done: more and more seldom.
const (
	firstPoll, longestPoll = 100 * time.Millisecond, 5 * time.Second
	// patience is after how long without an end a job's files are looked at one by one.
	patience = 15 * time.Minute
)

// moveTree moves the folder of a directory that was moved, with all that is in
// it, by one job of ImageKit's. It is false when that can't be done; then
// nothing has happened.
func (m *mover) moveTree(ctx context.Context, t *queue.Tree) (bool, error) {
	if err := m.p.q.Tree(ctx, t); err != nil {
		return false, err
	}
	if t.Records < leastTree || 2*t.Alike <= t.Records {
		return false, nil
	}
	if 2*t.Matched <= t.Records {
		if n, err := m.readTree(ctx, t); err != nil || 2*n <= t.Records {
			return false, err
		}
	}
	if t.Ahead != 0 && !m.visiting[t.Ahead] {
		if err := m.goAhead(ctx, t); err != nil {
			return false, err
		}
	}
	if t.Obstacle == "" && !m.p.left(ctx, t) {
		t.Obstacle = "not all files have left"
	}
	if t.Obstacle == "" {
		taken, err := m.folderTaken(ctx, t.Target)
		if err != nil {
			return false, m.treeFailed(ctx, err)
		}
		if taken {
			t.Obstacle = "the library has that folder already"
		}
	}
	if t.Obstacle != "" {
		m.p.o.Log.Info("the files of a directory that was moved are moved one by one", zap.String("from", t.From.Path), zap.String("to", t.To.Path), zap.String("why", t.Obstacle))
		return false, nil
	}
	return m.moveFolder(ctx, t)
}

// goAhead sees to the move of the directory whose assets are where t is to go,
// and looks again.
func (m *mover) goAhead(ctx context.Context, t *queue.Tree) error {
	mv, err := m.p.q.MoveOf(ctx, t.Ahead)
	if err != nil || mv == nil {
		return err
	}
	if err := m.decide(ctx, mv); err != nil {
		return err
	}
	return m.p.q.Tree(ctx, t)
}

// readTree counts the files of a directory that are known to be those of the directory
// before; where metadata does not prove that, they are read.
func (m *mover) readTree(ctx context.Context, t *queue.Tree) (n int64, err error) {
	root := m.p.roots[t.To.RootID]
	if root == nil {
		return 0, nil
	}
	for f, err := range m.p.q.FilesBelow(ctx, t.From) {
		if err != nil {
			return n, err
		}
		mv, err := m.p.q.MoveTo(ctx, queue.Place{RootID: t.To.RootID, Path: t.To.Path + strings.TrimPrefix(f.Path, t.From.Path)})
		if err != nil {
			return n, err
		}
		if mv == nil || mv.Donor.ID != f.ID {
			continue
		}
		m.p.beat.Store(time.Now().UnixNano())
		why, err := m.p.unlike(ctx, root, mv)
		if err != nil {
			return n, err
		}
		if why == "" {
			n++
		}
	}
	return n, nil
}

// left reports whether none of the files is where the records have it. Other files may be
// there: a directory that was moved as a whole takes its assets along also when another
// one has been made in its place, unlike a single file.
func (p *Pool) left(ctx context.Context, t *queue.Tree) bool {
	root := p.roots[t.From.RootID]
	if root == nil || root.away() {
		return false
	}
	if _, err := root.Dir.Lstat(t.From.Path); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	for f, err := range p.q.FilesBelow(ctx, t.From) {
		if err != nil {
			return false
		}
		info, err := root.Dir.Lstat(f.Path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil || info.Mode().IsRegular() && stillThere(state.StatOf(info), f, &f.Stat) {
			return false
		}
	}
	return true
}

// folderTaken reports whether the library has anything at a folder's path.
func (m *mover) folderTaken(ctx context.Context, folder string) (bool, error) {
	m.p.stats.requests.Add(1)
	taken, err := m.p.library.FolderExists(ctx, folder)
	if err != nil || taken {
		return taken, err
	}
	m.p.stats.requests.Add(1)
	inside, err := m.p.library.List(ctx, folder, 0, 1)
	return len(inside) > 0, err
}

// moveFolder renames and moves the folder, in that order where it must be both.
func (m *mover) moveFolder(ctx context.Context, t *queue.Tree) (bool, error) {
	parent, name := split(t.Source)
	toParent, toName := split(t.Target)
	source := t.Source
	m.treeSource = t.Source
	var then *queue.Intent // the second job, when there are two
	if name != toName {
		target, to := t.Target, t.To
		if parent != toParent {
			target, to = path.Join(parent, toName), t.From // on the way
			free, err := m.isFolderFree(ctx, target)
			if err != nil || !free {
				return false, m.treeFailed(ctx, err)
			}
			then = &queue.Intent{Kind: queue.MoveFolder, Source: target, Target: t.Target, From: t.From, To: t.To}
		}
		i := &queue.Intent{Kind: queue.MoveFolder, Source: source, Target: target, From: t.From, To: to, Records: t.Records}
		if err := m.p.q.Intend(ctx, i); err != nil {
			return false, m.treeFailed(ctx, err)
		}
		done, err := m.folderJob(ctx, i, then, func() (string, error) { return m.p.library.RenameFolder(ctx, source, toName) })
		if err != nil || !done {
			return false, m.treeFailed(ctx, err)
		}
		source = i.Target // as it is called by now
	}
	if parent != toParent {
		i := then
		if i == nil {
			i = &queue.Intent{Kind: queue.MoveFolder, Source: source, Target: t.Target, From: t.From, To: t.To, Records: t.Records}
			if err := m.p.q.Intend(ctx, i); err != nil {
				return false, m.treeFailed(ctx, err)
			}
		}
		done, err := m.folderJob(ctx, i, nil, func() (string, error) { return m.moveFolderInto(ctx, source, toParent) })
		if err != nil || !done {
			return false, m.treeFailed(ctx, err)
		}
	}
	return true, nil
}

func (m *mover) isFolderFree(ctx context.Context, folder string) (bool, error) {
	ours, err := m.p.q.SomeOf(ctx, folder)
	if err != nil || ours != nil {
		return false, err
	}
	taken, err := m.folderTaken(ctx, folder)
	return !taken, err
}

// treeFailed turns what only keeps a folder from being moved as a whole into no
// error: its files are moved one by one then.
func (m *mover) treeFailed(ctx context.Context, err error) error {
	var api *imagekit.Error
	switch {
	case err == nil:
		m.silent = 0
		return nil
	case errors.Is(err, errUnresolved):
		return errLater
	case errors.Is(err, queue.ErrBusy): // a worker sends something there: when it has, it is looked again
		return errLater
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &api) && (api.Class == imagekit.File || api.Status == statusLocked):
		m.p.o.Log.Info("ImageKit does not move the folder as a whole: its files are moved one by one", zap.Error(api))
		return nil
	case errors.As(err, &api) && api.Class == imagekit.Transient && m.silent >= maxTreeAttempts:
		m.silent = 0
		m.p.o.Log.Warn("ImageKit keeps failing for the folder as a whole: its files are moved one by one", zap.Error(api))
		return nil
	case errors.As(err, &api):
		return m.unanswered(ctx, api)
	}
	m.silent = 0
	return err
}

const statusLocked = 423

// moveFolderInto begins the move of a folder into another, which is made where that
// takes a call of its own.
func (m *mover) moveFolderInto(ctx context.Context, source, into string) (job string, err error) {
	job, err = m.p.library.MoveFolder(ctx, source, into)
	if notFound(err) && into != "/" {
		err = m.p.inFolder(ctx, err, into, func() (err error) {
			job, err = m.p.library.MoveFolder(ctx, source, into)
			return err
		})
	}
	return job, err
}

// folderJob lets ImageKit do a job on a folder, as is intended, and records its
// outcome, and what is intended then. false is that nothing has happened.
func (m *mover) folderJob(ctx context.Context, i, then *queue.Intent, begin func() (string, error)) (bool, error) {
	m.p.stats.requests.Add(1)
	job, err := begin()
	if err == nil {
		err = m.p.q.NoteJob(context.WithoutCancel(ctx), i, job)
	}
	var api *imagekit.Error
	if errors.As(err, &api) && !api.Ambiguous { // it was refused
		return false, errors.Join(err, m.p.q.Forget(context.WithoutCancel(ctx), i))
	}
	if err != nil && !errors.As(err, &api) {
		return false, err
	}
	done, settled := m.settleFolder(ctx, i, then)
	if errors.As(settled, &api) {
		settled = m.unresolved(ctx, i, settled)
	}
	if settled == nil && !done {
		settled = err // it is tried again, or given up
	}
	return done, settled
}

// settleFolder waits for the end of a folder's job, looks where the folder is,
// and records that. false is that it is where it was.
func (m *mover) settleFolder(ctx context.Context, i, then *queue.Intent) (bool, error) {
	if i.Job != "" && i.Job != newIDs {
		if err := m.awaitJob(ctx, i.Job); err != nil {
			return false, err
		}
	}
	some, err := m.p.q.SomeOf(ctx, i.Source)
	if err != nil {
		return false, err
	}
	if some == nil {
		return false, m.p.q.Forget(ctx, i) // all of it is recorded elsewhere
	}
	there := i.Target + strings.TrimPrefix(some.RemotePath, i.Source)
	safe := names.FolderKey(i.Target) // what the library may have made of it
	asset, err := m.find(ctx, some, there, safe+strings.TrimPrefix(some.RemotePath, i.Source))
	if err != nil {
		return false, err
	}
	if asset == nil {
		// This one was deleted by somebody: another tells.
		if err := m.p.q.Lost(ctx, some.ID); err != nil {
			return false, err
		}
		return m.settleFolder(ctx, i, then)
	}
	if safe != i.Target && asset.FilePath == safe+strings.TrimPrefix(some.RemotePath, i.Source) {
		if err := m.noteMapped(ctx, i.To.RootID, i.Target, safe); err != nil {
			return false, err
		}
		if i.Target, there = safe, asset.FilePath; then != nil {
			then.Source = safe
		}
	}
	if asset.FilePath != there {
		return false, m.p.q.Forget(ctx, i)
	}
	if asset.FileID != some.FileID {
		// Noted, since after a crash this one has its new id already.
		if err := m.p.q.NoteJob(context.WithoutCancel(ctx), i, newIDs); err != nil {
			return false, err
		}
	}
	if i.Job == newIDs {
		if err := m.reread(ctx, i); err != nil {
			return false, err
		}
	}
	began := time.Now()
	n, err := m.p.q.MovedTree(context.WithoutCancel(ctx), i, then, movedURLs)
	if err != nil {
		return false, err
	}
	if i.From != i.To { // else it is on the way
		m.p.stats.moved.Add(n)
		m.p.stats.movedFolders.Add(1)
		m.p.told(Step{Do: StepMoveFolder, RootID: i.To.RootID, Path: i.To.Path, From: i.From.Path, Remote: i.Target, FromRemote: m.treeSource, Files: n})
	}
	m.p.o.Log.Info("a folder was moved as a whole", zap.String("from", i.Source), zap.String("to", i.Target), zap.Int64("files", n), zap.Duration("records_took", time.Since(began)))
	return true, nil
}

func (m *mover) awaitJob(ctx context.Context, job string) error {
	wait := firstPoll
	for began := time.Now(); time.Since(began) < patience; wait = min(2*wait, longestPoll) {
		m.p.stats.requests.Add(1)
		done, err := m.p.library.JobDone(ctx, job)
		var api *imagekit.Error
		switch {
		case err == nil && done:
			return nil
		case errors.As(err, &api) && api.Class == imagekit.File:
			return nil // it is not known any more: where the files are tells
		case err != nil:
			return err
		}
		m.p.beat.Store(time.Now().UnixNano())
		if pause(ctx, wait); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// newIDs stands in an intent for the id of a job that is done, whose files have
// other ids since.
const newIDs = "new ids"

// maxRereads is how often the ids of files that were moved are looked for, since
// what is new may be missing from listings.
const maxRereads = 6

// reread records the ids that files have by now in the target of an intent, for a
// library that gives new ones to files that are moved. Their paths follow.
func (m *mover) reread(ctx context.Context, i *queue.Intent) error {
	known := make(map[string]bool) // remote paths as they were
	if err := m.rereadFolder(ctx, i, i.Target, known); err != nil {
		return err
	}
	missing := false
	for f, err := range m.p.q.FilesUnder(ctx, i.Source) {
		if err != nil {
			return err
		}
		if known[f.RemotePath] {
			continue
		}
		m.p.stats.requests.Add(1)
		asset, err := m.p.library.Find(ctx, i.Target+strings.TrimPrefix(f.RemotePath, i.Source))
		if err != nil {
			return err
		}
		if missing = missing || asset == nil; asset != nil {
			if _, err := m.p.q.Identify(ctx, f.RemotePath, location(asset)); err != nil {
				return err
			}
		}
	}
	if m.rereads++; missing && m.rereads < maxRereads {
		return errLater
	}
	m.rereads = 0
	return nil
}

func (m *mover) rereadFolder(ctx context.Context, i *queue.Intent, folder string, known map[string]bool) error {
	if strings.Count(folder, "/") > maxDepth {
		return nil // ImageKit has none so deep
	}
	list := func(ctx context.Context, folder string, skip, limit int) ([]imagekit.Entry, error) {
		m.p.stats.requests.Add(1)
		return m.p.library.List(ctx, folder, skip, limit)
	}
	return eachPage(ctx, folder, list, func(page []imagekit.Entry) (err error) {
		for _, e := range page {
			if e.Folder {
				err = m.rereadFolder(ctx, i, e.Path, known)
			} else {
				before := i.Source + strings.TrimPrefix(e.Path, i.Target)
				known[before], err = m.p.q.Identify(ctx, before, location(e.Asset))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// movedURLs gives the URLs of an asset after its folder was moved: they end with
// its path.
func movedURLs(f *state.File, remote string) (string, string) {
	return movedURL(f.URL, f.RemotePath, remote), movedURL(f.ThumbnailURL, f.RemotePath, remote)
}

func movedURL(raw, from, to string) string {
	u, err := url.Parse(raw)
	if err != nil || !strings.HasSuffix(u.Path, from) {
		return raw
	}
	u.Path = strings.TrimSuffix(u.Path, from) + to
	u.RawPath = ""
	return u.String()
}
