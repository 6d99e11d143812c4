package uploader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// remove takes the copies of files that are absent out of the library, where
// the policies say so, their grace is over, and no brake is on.
func (m *mover) remove(ctx context.Context) error {
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
	due, err := m.p.q.Due(ctx, queue.Removal{
		RootID: r.ID, Gone: r.Removal.Gone != Keep, Filtered: r.Removal.Filtered != Keep, After: r.Removal.After,
		MaxFiles: r.Removal.MaxFiles, MaxShare: r.Removal.MaxShare, Limit: imagekit.MaxDelete, Identity: identity,
	})
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
	done, err := m.deleteAll(ctx, r, deletes)
	for _, i := range trash {
		if err != nil {
			break
		}
		var moved bool
		if moved, err = m.trash(ctx, i); moved {
			done++
		}
		var api *imagekit.Error
		if errors.As(err, &api) && api.Class == imagekit.File {
			m.p.o.Log.Warn("ImageKit does not move a file to the trash folder", zap.String("remote_path", i.Source), zap.Error(err))
			err = nil // the others go on
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

// deleteAll deletes assets for good, in one call.
func (m *mover) deleteAll(ctx context.Context, r *Root, intents []*queue.Intent) (done int, err error) {
	if len(intents) == 0 {
		return 0, nil
	}
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
		} else if ambiguous {
			continue // the intent stays, and is looked into
		}
		if err := m.p.q.Forget(settled, i); err != nil {
			return done, err
		}
	}
	if callErr == nil && done > 0 {
		callErr = m.removeFolders(ctx, r, files)
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
	callErr := m.p.library.Move(ctx, i.Source, path.Dir(i.Target))
	if callErr != nil && ctx.Err() != nil {
		return false, callErr // it may be done yet: the intent stays
	}
	err = m.settleFile(ctx, i, f)
	if err == nil && callErr == nil {
		m.p.toldRemoval(i, f)
		m.p.o.Log.Info("moved to the trash folder", zap.String("path", f.Path), zap.String("remote_path", i.Target))
		return true, nil
	}
	if errors.Is(err, errLost) {
		return true, nil
	}
	return false, errors.Join(err, callErr)
}

// removeFolders removes the folders that the deleted files were in, where iksync
// made them and nothing is in them any more: the deepest first, then those above.
func (m *mover) removeFolders(ctx context.Context, r *Root, files map[string]*state.File) error {
	folders := make(map[string]bool)
	for _, f := range files {
		folders[path.Dir(f.RemotePath)] = true
	}
	depth := func(folder string) int { return strings.Count(folder, "/") }
	for len(folders) > 0 {
		deepest := 0
		for folder := range folders {
			deepest = max(deepest, depth(folder))
		}
		var intents []*queue.Intent
		for folder := range folders {
			if depth(folder) < deepest {
				continue
			}
			delete(folders, folder)
			if folder == "/" || folder == r.Folder || r.Folder != "/" && !under(folder, r.Folder) {
				continue
			}
			made, err := m.p.q.MadeFolder(ctx, folder)
			if err != nil {
				return err
			}
			if made {
				intents = append(intents, &queue.Intent{Kind: queue.RemoveFolder, Source: folder})
			}
		}
		removed, err := m.removeEmpty(ctx, intents)
		if err != nil {
			return err
		}
		for _, folder := range removed {
			folders[path.Dir(folder)] = true
		}
	}
	return nil
}

// removeEmpty removes those of some folders that are empty, and returns which.
// Nothing is sent there meanwhile. It looks twice, since what was put there just
// now may be missing from one listing.
func (m *mover) removeEmpty(ctx context.Context, intents []*queue.Intent) (removed []string, err error) {
	if err := m.p.q.IntendAll(ctx, &intents); err != nil || len(intents) == 0 {
		return nil, err
	}
	defer func() {
		for _, i := range intents {
			err = errors.Join(err, m.p.q.Forget(context.WithoutCancel(ctx), i))
		}
	}()
	empty := intents
	for look := range 2 {
		if look > 0 && len(empty) > 0 && m.p.tell == nil {
			pause(ctx, firstRetry)
		}
		var still []*queue.Intent
		for _, i := range empty {
			m.p.stats.requests.Add(1)
			inside, err := m.p.library.List(ctx, i.Source, 0, 1)
			if err != nil {
				return nil, err
			}
			if len(inside) == 0 {
				still = append(still, i)
			}
		}
		empty = still
	}
	for _, i := range empty {
		if ctx.Err() != nil {
			return removed, ctx.Err()
		}
		m.p.stats.requests.Add(1)
		if err := m.p.library.DeleteFolder(ctx, i.Source); err != nil {
			return removed, err
		}
		if err := m.p.q.ForgetFolder(ctx, i.Source); err != nil {
			return removed, err
		}
		removed = append(removed, i.Source)
		m.p.o.Log.Info("an empty folder was removed from the library", zap.String("folder", i.Source))
	}
	return removed, nil
}
