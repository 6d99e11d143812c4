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
)

// remove takes the copies of files that are absent out of the library, where
// the policies say so, their grace is over, and no brake is on.
func (m *mover) remove(ctx context.Context) error {
	for i := range m.p.o.Roots {
		r := &m.p.o.Roots[i]
		if r.Removal.Gone == Keep && r.Removal.Filtered == Keep {
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
	due, err := m.p.q.Due(ctx, queue.Removal{
		RootID: r.ID, Gone: r.Removal.Gone != Keep, Filtered: r.Removal.Filtered != Keep, After: r.Removal.After,
		MaxFiles: r.Removal.MaxFiles, MaxShare: r.Removal.MaxShare, Limit: imagekit.MaxDelete,
	})
	if err != nil {
		return false, err
	}
	m.sayBrake(r, due.Braked)
	if due.Unscanned > 0 && r.Rescan != nil {
		r.Rescan()
	}
	var trash, deletes []*queue.Intent
	for _, f := range due.Files {
		// The last look is the one that counts.
		if now := r.Absence(f.Path); now != f.Absent {
			if now != state.Present {
				err = m.p.q.MarkAbsent(ctx, r.ID, []queue.Absent{{Path: f.Path, Why: now}})
			} else {
				err = m.p.q.MarkPresent(ctx, r.ID, []string{f.Path})
			}
			if err != nil {
				return false, err
			}
			continue
		}
		policy := r.Removal.Gone
		if f.Absent == state.Filtered {
			policy = r.Removal.Filtered
		}
		i := &queue.Intent{File: f.ID, Source: f.RemotePath, Approved: due.Approved}
		if policy == Delete {
			i.Kind = queue.DeleteFile
			deletes = append(deletes, i)
		} else {
			i.Kind, i.Target = queue.TrashFile, path.Join(r.Removal.TrashFolder, time.Now().UTC().Format(time.DateOnly), f.RemotePath)
			trash = append(trash, i)
		}
	}
	done, err := m.deleteAll(ctx, r, deletes)
	for _, i := range trash {
		if err != nil {
			break
		}
		var moved bool
		if moved, err = m.trash(ctx, r, i); moved {
			done++
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
func (m *mover) trash(ctx context.Context, r *Root, i *queue.Intent) (bool, error) {
	m.p.stats.requests.Add(2)
	there, err := m.p.library.Find(ctx, i.Target)
	if err != nil {
		return false, err
	}
	if there != nil { // a file of that name was thrown away today
		now := time.Now().UTC()
		i.Target = path.Join(r.Removal.TrashFolder, now.Format(time.DateOnly), fmt.Sprintf("%02d%02d%02d-%d", now.Hour(), now.Minute(), now.Second(), i.File), i.Source)
	}
	err = m.p.q.Intend(ctx, i)
	if errors.Is(err, queue.ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f, err := m.p.db.FileByID(ctx, i.File)
	if err != nil || f == nil {
		return false, err
	}
	callErr := m.p.library.Move(ctx, i.Source, path.Dir(i.Target))
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
// made them and nothing is in them any more.
func (m *mover) removeFolders(ctx context.Context, r *Root, files map[string]*state.File) error {
	folders := make(map[string]bool)
	for _, f := range files {
		folders[path.Dir(f.RemotePath)] = true
	}
	for folder := range folders {
		for ; folder != "/" && folder != r.Folder && under(folder+"/", r.Folder); folder = path.Dir(folder) {
			made, err := m.p.q.MadeFolder(ctx, folder)
			if err != nil || !made {
				break
			}
			// Two looks, since what was put there just now may be missing from one.
			empty := true
			for range 2 {
				m.p.stats.requests.Add(1)
				inside, err := m.p.library.List(ctx, folder, 0, 1)
				if err != nil {
					return err
				}
				if empty = empty && len(inside) == 0; !empty {
					break
				}
				pause(ctx, firstRetry)
			}
			if !empty || ctx.Err() != nil {
				break
			}
			m.p.stats.requests.Add(1)
			if err := m.p.library.DeleteFolder(ctx, folder); err != nil {
				return err
			}
			if err := m.p.q.ForgetFolder(ctx, folder); err != nil {
				return err
			}
			m.p.o.Log.Info("an empty folder was removed from the library", zap.String("folder", folder))
		}
	}
	return nil
}
