package uploader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

const (
	// quietFor is for how long nothing may have happened below a folder before it is
	// removed. Listings lag by seconds; what iksync has sent there is listed by then.
	quietFor = 5 * time.Minute
	// maxFolders is how many folders are removed at a time.
	maxFolders = 50
)

// clock reads the clock that the quiet of folders is counted by.
func (m *mover) clock() queue.Clock { return queue.Clock{Boot: m.start, Up: state.Uptime()} }

// newStart names what the clock counts from: the start of the machine, or of the process
// where that can't be told. Then the time between two processes does not count.
func newStart() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Sprintf("process %016x", rand.Uint64())
	}
	return strings.TrimSpace(string(boot))
}

// removeFolders removes the folders below a root's that deletes have emptied, where the
// root's policy says so and nothing of iksync's has happened below them for long enough:
// the deepest first, then those above.
func (m *mover) removeFolders(ctx context.Context, r *Root) error {
	for ctx.Err() == nil && r.Removal.RemovesFolders() {
		folders, err := m.p.q.QuietFolders(ctx, r.Folder, m.clock(), m.quietFor, maxFolders)
		if err != nil || len(folders) == 0 {
			return err
		}
		intents := make([]*queue.Intent, len(folders))
		for n, folder := range folders {
			intents[n] = &queue.Intent{Kind: queue.RemoveFolder, Source: folder}
		}
		if err := m.p.q.IntendAll(ctx, &intents); err != nil || len(intents) == 0 {
			return err
		}
		if err := m.removeEmpty(ctx, intents); err != nil {
			var api *imagekit.Error
			if errors.As(err, &api) {
				err = m.unanswered(ctx, api)
			}
			return err
		}
	}
	return nil
}

// removeEmpty removes those of some folders that two listings show to be empty. The
// intents keep everything of iksync's away from the folders meanwhile. An intent whose
// call has no outcome stays, and is looked into.
func (m *mover) removeEmpty(ctx context.Context, intents []*queue.Intent) error {
	settled := context.WithoutCancel(ctx)
	var failed error
	left := intents
	for look := range 2 {
		if look > 0 && len(left) > 0 && m.p.tell == nil {
			pause(ctx, m.betweenListings)
		}
		var empty []*queue.Intent
		for _, i := range left {
			inside := 0
			if failed == nil && ctx.Err() == nil {
				m.p.stats.requests.Add(1)
				var page []imagekit.Entry
				page, failed = m.p.library.List(ctx, i.Source, 0, 1)
				inside = len(page)
			}
			var err error
			switch {
			case failed != nil || ctx.Err() != nil: // nothing was asked for: it is looked at again
				err = m.p.q.Forget(settled, i)
			case inside > 0:
				err = m.p.q.KeepFolder(settled, i)
			default:
				empty = append(empty, i)
			}
			if err != nil {
				return err
			}
		}
		left = empty
	}
	for _, i := range left {
		free, err := m.p.q.Unoccupied(settled, i)
		if err != nil {
			return err
		}
		if !free || failed != nil || ctx.Err() != nil {
			if err := m.p.q.Forget(settled, i); err != nil {
				return err
			}
			continue
		}
		m.p.stats.requests.Add(1)
		err = m.p.library.DeleteFolder(ctx, i.Source)
		var api *imagekit.Error
		switch {
		case err == nil:
			err = m.forgetFolder(settled, i)
		case !errors.As(err, &api) || api.Ambiguous:
			// It may be done yet, so nothing may be sent there: the intent stays.
			failed = err
			err = nil
		case api.Class == imagekit.File:
			m.p.o.Log.Warn("ImageKit does not remove an empty folder", zap.String("folder", i.Source), zap.Error(err))
			err = m.p.q.KeepFolder(settled, i)
		default:
			failed = err
			err = m.p.q.Forget(settled, i)
		}
		if err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failed
}

// forgetFolder notes that a folder is no more.
func (m *mover) forgetFolder(ctx context.Context, i *queue.Intent) error {
	if err := m.p.q.ForgetFolder(ctx, i); err != nil {
		return err
	}
	m.p.foldersMu.Lock()
	for folder := range m.p.folders {
		if folder == i.Source || under(folder, i.Source) {
			delete(m.p.folders, folder)
		}
	}
	m.p.foldersMu.Unlock()
	m.p.o.Log.Info("an empty folder was removed from the library", zap.String("folder", i.Source))
	return nil
}

// settleRemoval finds out what became of the removal of a folder: it is asked for again
// if the folder is empty still, and the policy still says so.
func (m *mover) settleRemoval(ctx context.Context, i *queue.Intent) error {
	for n := range m.p.o.Roots {
		r := &m.p.o.Roots[n]
		if r.Removal.RemovesFolders() && (r.Folder == "/" || under(i.Source, r.Folder)) {
			return m.removeEmpty(ctx, []*queue.Intent{i})
		}
	}
	// A request that was broken off may have been carried out: who made the folder that
	// is there is not known.
	m.p.foldersMu.Lock()
	delete(m.p.folders, i.Source)
	m.p.foldersMu.Unlock()
	return m.p.q.ForgetFolder(ctx, i)
}
