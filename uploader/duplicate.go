package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// indexHashes prepares for duplicate where a root needs it.
func (p *Pool) indexHashes(ctx context.Context) error {
	if slices.ContainsFunc(p.o.Roots, func(r Root) bool { return r.Duplicates != UploadDuplicates }) {
		return p.q.IndexHashes(ctx)
	}
	return nil
}

// duplicate sees to a new file whose content the library has already, as the
// root is configured; false when it is to be uploaded.
func (p *Pool) duplicate(ctx context.Context, root *Root, job *queue.Job, file *os.File, st state.Stat) (bool, error) {
	sum, err := contentOf(ctx, file, st)
	if err != nil {
		return false, err
	}
	other, err := p.q.SameContent(ctx, sum, st.Size, path.Base(job.RemotePath))
	if err != nil {
		return false, errors.Join(errState, err)
	}
	if other != nil {
		if root.Duplicates == SkipDuplicates {
			p.stats.aliased.Add(1)
			p.o.Log.Debug("the same content is in the library", zap.String("path", job.Path), zap.String("as", other.RemotePath))
			p.told(Step{Do: StepAlias, RootID: job.RootID, Path: job.Path, From: other.Path, Remote: other.RemotePath, Files: 1})
			p.q.Alias(job, st, other, p.done(job))
			return true, nil
		}
		asset, err := p.copy(ctx, job, other)
		if err == nil && asset != nil {
			p.stats.copied.Add(1)
			p.told(Step{Do: StepCopy, RootID: job.RootID, Path: job.Path, From: other.Path, Remote: asset.FilePath, FromRemote: other.RemotePath, Files: 1})
			p.complete(job, p.file(job, asset, st, sum))
			return true, nil
		}
		// It is uploaded then, also after a copy that was done and not seen.
		p.o.Log.Debug("not copied in the library", zap.String("path", job.Path), zap.String("from", other.RemotePath), zap.Error(err))
	}
	if !p.claimContent(job, sum) {
		// Another worker sends the same: when it has, there is something to copy.
		p.put(job, queue.Failure{Free: true, NotBefore: time.Now().Add(sameContentWait)})
		return true, nil
	}
	return false, nil
}

// sameContentWait is how long a file waits for one of the same content to be sent.
const sameContentWait = 200 * time.Millisecond

// claimContent notes that a job sends a content; false when another does.
func (p *Pool) claimContent(job *queue.Job, sum state.Hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, other := range p.contents {
		if other == sum && id != job.ID {
			return false
		}
	}
	p.contents[job.ID] = sum
	return true
}

// contentOf reads the whole file and returns its hash. The file is then at its
// start again.
func contentOf(ctx context.Context, file *os.File, st state.Stat) (state.Hash, error) {
	h := newHashing(file)
	n, err := io.Copy(io.Discard, &untilDone{ctx: ctx, r: io.LimitReader(h, st.Size)})
	if err != nil {
		return state.Hash{}, err
	}
	after, err := statOf(file)
	if err != nil {
		return state.Hash{}, err
	}
	if n != st.Size || !after.Same(st) {
		return state.Hash{}, errChanged
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return state.Hash{}, err
	}
	return h.sum(), nil
}

// copy lets ImageKit copy an asset to the job's remote path. It is nil when that
// can't be done. Copying to where a file is would join their histories without a
// word, so what is there is looked at before.
func (p *Pool) copy(ctx context.Context, job *queue.Job, other *state.File) (*imagekit.Asset, error) {
	p.stats.requests.Add(1)
	there, err := p.library.Find(ctx, job.RemotePath)
	if err != nil || there != nil {
		return nil, err
	}
	folder, name := split(job.RemotePath)
	fromFolder, fromName := split(other.RemotePath)
	if name == fromName && folder != fromFolder {
		p.stats.requests.Add(1)
		err = p.library.Copy(ctx, other.RemotePath, folder)
	} else {
		err = p.copyAs(ctx, other.RemotePath, folder, name)
	}
	if err != nil {
		return nil, err
	}
	for range 3 { // what is new may not be listed yet
		p.stats.requests.Add(1)
		asset, err := p.library.Find(ctx, job.RemotePath)
		if err != nil {
			return nil, err
		}
		if asset != nil {
			if asset.Size != other.Stat.Size {
				return nil, fmt.Errorf("%w: the copy has %d bytes, the original %d", errWrongAnswer, asset.Size, other.Stat.Size)
			}
			return asset, nil
		}
		if pause(ctx, firstRetry); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, nil
}

// copyAs copies an asset under another name. The copy keeps its name, so it is
// made in a folder of its own, renamed there and moved.
func (p *Pool) copyAs(ctx context.Context, source, folder, name string) (err error) {
	i := &queue.Intent{Kind: queue.CopyFile, Source: source, Target: path.Join(folder, name)}
	if err := p.q.Intend(ctx, i); err != nil {
		return err
	}
	staging := stagingFolder(i)
	p.stats.requests.Add(1)
	if err = p.library.Copy(ctx, source, staging); err == nil {
		at := path.Join(staging, path.Base(source))
		if path.Base(source) != name {
			p.stats.requests.Add(1)
			err = p.library.Rename(ctx, at, name)
		}
		if err == nil {
			p.stats.requests.Add(1)
			err = p.library.Move(ctx, path.Join(staging, name), folder)
		}
	}
	if err != nil && ctx.Err() != nil {
		return err // broken off, a copy may come yet: the intent stays, and its folder is removed at the next start
	}
	return errors.Join(err, p.unstage(context.WithoutCancel(ctx), i))
}

// stagingFolder is where the copy of an intent is made.
func stagingFolder(i *queue.Intent) string { return fmt.Sprintf("/iksync-staging-%d", i.ID) }

// unstage removes what an intent to copy has left in its staging folder.
func (p *Pool) unstage(ctx context.Context, i *queue.Intent) error {
	p.stats.requests.Add(1)
	if err := p.library.DeleteFolder(ctx, stagingFolder(i)); err != nil {
		return err
	}
	return p.q.Forget(ctx, i)
}

// noteFolders finds out, before the first file is sent to a folder, whether it is
// there already: only what iksync made is removed again when it is empty.
func (p *Pool) noteFolders(ctx context.Context, root *Root, folder string) error {
	if !root.Removal.does(Delete) {
		return nil
	}
	p.foldersMu.Lock()
	defer p.foldersMu.Unlock()
	for ; folder != "/" && !p.folders[folder]; folder = path.Dir(folder) {
		known, err := p.q.KnowsFolder(ctx, folder)
		if err != nil {
			return errors.Join(errState, err)
		}
		if !known {
			p.stats.requests.Add(1)
			exists, err := p.library.FolderExists(ctx, folder)
			if err != nil {
				return err
			}
			if err := p.q.NoteFolder(ctx, folder, !exists); err != nil {
				return errors.Join(errState, err)
			}
		}
		p.folders[folder] = true
	}
	return nil
}
