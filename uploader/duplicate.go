package uploader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

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
	if other != nil && p.storesTheSame(root, job, other) {
		if root.Duplicates == SkipDuplicates {
			p.stats.aliased.Add(1)
			p.o.Log.Debug("the same content is in the library", zap.String("path", job.Path), zap.String("as", other.RemotePath))
			p.told(Step{Do: StepAlias, RootID: job.RootID, Path: job.Path, From: other.Path, Remote: other.RemotePath, Files: 1})
			p.q.Alias(job, st, other, p.done(job))
			return true, nil
		}
		asset, err := p.copy(ctx, root, job, other)
		if errors.Is(err, errInUse) {
			p.put(job, queue.Failure{Free: true, NotBefore: time.Now().Add(sameContentWait)})
			return true, nil
		}
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

// storesTheSame reports whether the asset of a record with a job's content is what
// ImageKit would store of the job's file: the pre-transformations must be the same.
func (p *Pool) storesTheSame(root *Root, job *queue.Job, other *state.File) bool {
	params := root.Params(job.Path)
	if !params.Prepares() && other.StoredSize != nil {
		return false
	}
	var theirs imagekit.Params
	if r := p.roots[other.RootID]; r != nil {
		theirs = r.Params(other.Path)
	}
	return !params.Prepares() && !theirs.Prepares() || bytes.Equal(params.Transformation, theirs.Transformation)
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

// errInUse says that another file is being copied from the same asset.
var errInUse = errors.New("the asset is being copied for another file")

// copy lets ImageKit copy an asset to the job's remote path. It is nil when that
// can't be done. Copying to where a file is would join their histories without a
// word, so what is there is looked at before. The copy must be one of the version that
// is recorded, and carry all that the target's parameters say.
func (p *Pool) copy(ctx context.Context, root *Root, job *queue.Job, other *state.File) (*imagekit.Asset, error) {
	params := root.Params(job.Path)
	if !params.Copyable() {
		return nil, nil
	}
	there, err := p.findEither(ctx, job.RemotePath)
	if err != nil || there != nil {
		return nil, err
	}
	source, err := p.asRecorded(ctx, other)
	if err != nil || source == nil || !params.CarriedBy(source.Raw) { // a copy has what its source has
		return nil, err
	}
	i := &queue.Intent{Kind: queue.CopyFile, Source: other.RemotePath, Target: job.RemotePath, Hash: other.Hash}
	if err := p.q.Intend(ctx, i); errors.Is(err, queue.ErrBusy) {
		return nil, errInUse
	} else if err != nil {
		return nil, errors.Join(errState, err)
	}
	err = p.copyTo(ctx, i)
	if err != nil && ctx.Err() != nil {
		return nil, err // broken off, a copy may come yet: the intent stays, and its folder is removed at the next start
	}
	var asset *imagekit.Asset
	if err == nil {
		asset, err = p.copied(ctx, job, other)
	}
	if err == nil && asset != nil && !params.CarriedBy(asset.Raw) {
		err = fmt.Errorf("%w: the copy has other parameters than it should", errWrongAnswer)
	}
	return asset, errors.Join(err, p.unstage(context.WithoutCancel(ctx), i))
}

// asRecorded asks for the asset of a record; nil when it is not where it is recorded, in
// the version that is recorded.
func (p *Pool) asRecorded(ctx context.Context, f *state.File) (*imagekit.Asset, error) {
	p.stats.requests.Add(1)
	asset, err := p.library.Details(ctx, f.FileID)
	if err != nil || asset == nil || asset.FilePath != f.RemotePath || location(asset).VersionID != f.VersionID || asset.Size != f.LibrarySize() {
		return nil, err
	}
	return asset, nil
}

// copied looks for a copy that was made, and whether it can be one of the version that
// is recorded; nil when it does not show.
func (p *Pool) copied(ctx context.Context, job *queue.Job, other *state.File) (*imagekit.Asset, error) {
	for range 3 { // what is new may not be listed yet
		asset, err := p.findEither(ctx, job.RemotePath)
		if err != nil {
			return nil, err
		}
		if asset == nil {
			if pause(ctx, firstRetry); ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		if asset.Size != other.LibrarySize() {
			return nil, fmt.Errorf("%w: the copy has %d bytes, the original %d", errWrongAnswer, asset.Size, other.LibrarySize())
		}
		if source, err := p.asRecorded(ctx, other); err != nil || source == nil {
			return nil, err // somebody has changed it meanwhile
		}
		return asset, nil
	}
	return nil, nil
}

// copyTo makes the copy of an intent. A copy keeps its name: one under another name is
// made in a folder of its own, renamed there and moved.
func (p *Pool) copyTo(ctx context.Context, i *queue.Intent) error {
	folder, name := split(i.Target)
	fromFolder, fromName := split(i.Source)
	if name == fromName && folder != fromFolder {
		return p.copyInto(ctx, i.Source, folder)
	}
	staging := stagingFolder(i)
	if err := p.copyInto(ctx, i.Source, staging); err != nil {
		return err
	}
	if fromName != name {
		p.stats.requests.Add(1)
		if err := p.library.Rename(ctx, path.Join(staging, fromName), name); err != nil {
			return err
		}
	}
	staged := path.Join(staging, name)
	p.stats.requests.Add(1)
	err := p.library.Move(ctx, staged, folder)
	if notFound(err) {
		err = p.inFolder(ctx, err, folder, func() error { return p.library.Move(ctx, staged, folder) })
	}
	return err
}

// copyInto lets ImageKit copy an asset into a folder, which is made where that takes a
// call of its own.
func (p *Pool) copyInto(ctx context.Context, source, folder string) error {
	p.stats.requests.Add(1)
	err := p.library.Copy(ctx, source, folder)
	if notFound(err) {
		err = p.inFolder(ctx, err, folder, func() error { return p.library.Copy(ctx, source, folder) })
	}
	return err
}

// notFound reports whether a server answered 404.
func notFound(err error) bool {
	var api *imagekit.Error
	return errors.As(err, &api) && api.Status == http.StatusNotFound
}

// inFolder makes a call once more whose answer was 404, and before that the folder that
// it goes into, if that is missing: ImageKit makes such a folder, and other servers want
// it made. What they say in the 404 is not relied on.
func (p *Pool) inFolder(ctx context.Context, err error, folder string, again func() error) error {
	p.stats.requests.Add(1)
	exists, asked := p.library.FolderExists(ctx, folder)
	if asked != nil {
		return err
	}
	if !exists { // else somebody has made it meanwhile
		if err := p.makeFolder(ctx, folder); err != nil {
			return err
		}
	}
	p.stats.requests.Add(1)
	return again()
}

// makeFolder makes a folder with just that name. The call that makes one replaces more
// characters of its name than any other, and none of the names of the folders above it:
// so a folder of another name is made by way of one inside it, which goes again.
func (p *Pool) makeFolder(ctx context.Context, folder string) error {
	p.stats.requests.Add(1)
	kept := func(r rune) bool { return r == '_' || unicode.In(r, unicode.Letter, unicode.Mark, unicode.Number) }
	if strings.IndexFunc(path.Base(folder), func(r rune) bool { return !kept(r) }) < 0 {
		return p.library.CreateFolder(ctx, folder)
	}
	inside := path.Join(folder, fmt.Sprintf("iksync%016x", rand.Uint64())) // nobody else's
	if err := p.library.CreateFolder(ctx, inside); err != nil {
		return err
	}
	p.stats.requests.Add(1)
	if err := p.library.DeleteFolder(ctx, inside); err != nil {
		p.o.Log.Debug("an empty folder stays", zap.String("folder", inside), zap.Error(err))
	}
	return nil
}

// stagingFolder is where the copy of an intent is made.
func stagingFolder(i *queue.Intent) string { return fmt.Sprintf("/iksync-staging-%d", i.ID) }

// unstage removes what an intent to copy has left in its staging folder.
func (p *Pool) unstage(ctx context.Context, i *queue.Intent) error {
	folder, name := split(i.Target)
	if fromFolder, fromName := split(i.Source); name == fromName && folder != fromFolder {
		return p.q.Forget(ctx, i) // it needed none
	}
	p.stats.requests.Add(1)
	if err := p.library.DeleteFolder(ctx, stagingFolder(i)); err != nil {
		return err
	}
	return p.q.Forget(ctx, i)
}

// noteFolders finds out, before the first file is sent to a folder, whether it is
// there already: only what iksync made is removed again when it is empty.
func (p *Pool) noteFolders(ctx context.Context, root *Root, folder string) error {
	if !root.Removal.RemovesFolders() {
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
