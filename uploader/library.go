package uploader

import (
	"context"
	"path"
	"slices"
	"strings"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// library is what is asked of ImageKit's management API: an [*imagekit.Client],
// or for a plan what would come of it.
type library interface {
	Find(ctx context.Context, filePath string) (*imagekit.Asset, error)
	Details(ctx context.Context, fileID string) (*imagekit.Asset, error)
	List(ctx context.Context, folder string, skip, limit int) ([]imagekit.Entry, error)
	FolderExists(ctx context.Context, folder string) (bool, error)
	Rename(ctx context.Context, filePath, name string) error
	Move(ctx context.Context, filePath, folder string) error
	Copy(ctx context.Context, filePath, folder string) error
	DeleteFiles(ctx context.Context, ids []string) (deleted []string, refused map[string]string, err error)
	RenameFolder(ctx context.Context, folder, name string) (jobID string, err error)
	MoveFolder(ctx context.Context, folder, into string) (jobID string, err error)
	CreateFolder(ctx context.Context, folder string) error
	DeleteFolder(ctx context.Context, folder string) error
	JobDone(ctx context.Context, jobID string) (bool, error)
}

// planned is a library in which everything succeeds and nothing happens. What it
// holds is what the records say, and what was planned since. It counts the calls.
type planned struct {
	db     *state.DB
	q      *queue.Queue
	remote *imagekit.Client  // asked whether something is in the way; nil asks nobody
	moved  map[string]string // fileId to path, of files whose place the records don't have yet
	source string            // a folder that is moved, until the records have it
	target string
	copied map[string]*imagekit.Asset // by path
	gone   map[string]bool            // fileIds that are deleted
	listed string                     // the folder that sizes are of
	sizes  map[string]int64           // of the files in it, by path
	calls  int64
}

func newPlanned(db *state.DB, q *queue.Queue, remote *imagekit.Client) *planned {
	return &planned{db: db, q: q, remote: remote, moved: make(map[string]string), copied: make(map[string]*imagekit.Asset), gone: make(map[string]bool)}
}

// Find gives what others have put there, if it may ask, and what was copied there.
func (p *planned) Find(ctx context.Context, filePath string) (*imagekit.Asset, error) {
	p.calls++
	if a := p.copied[filePath]; a != nil {
		return a, nil
	}
	if p.remote == nil {
		return nil, nil
	}
	a, err := p.remote.Find(ctx, filePath)
	if err != nil || a == nil {
		return nil, err
	}
	if _, gone := p.moved[a.FileID]; gone {
		return nil, nil
	}
	// Of a file that the records have elsewhere, they know better by now.
	ours, err := p.db.FileByAsset(ctx, a.FileID)
	if err != nil || ours != nil && ours.RemotePath != filePath {
		return nil, err
	}
	return a, nil
}

// Details gives a file as it is recorded, at its planned place.
func (p *planned) Details(ctx context.Context, fileID string) (*imagekit.Asset, error) {
	p.calls++
	f, err := p.db.FileByAsset(ctx, fileID)
	if err != nil || f == nil {
		return nil, err
	}
	at := f.RemotePath
	if to, ok := p.moved[fileID]; ok {
		at = to
		delete(p.moved, fileID)
	} else if p.source != "" && under(at, p.source) {
		at = p.target + strings.TrimPrefix(at, p.source)
	}
	url, thumbnail := movedURLs(f, at)
	answer := f.Response
	if len(answer) == 0 { // its upload is planned, too
		answer = []byte("{}")
	}
	return &imagekit.Asset{FileID: fileID, VersionID: f.VersionID, Name: path.Base(at), FilePath: at, Size: f.LibrarySize(), URL: url, ThumbnailURL: thumbnail, Raw: answer}, nil
}

// List gives one entry of a folder that has any.
func (p *planned) List(ctx context.Context, folder string, skip, limit int) ([]imagekit.Entry, error) {
	p.calls++
	f, err := p.q.SomeOf(ctx, folder)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return []imagekit.Entry{{Path: f.RemotePath, Name: f.Name}}, nil
	}
	if p.remote == nil {
		return nil, nil
	}
	page, err := p.remote.List(ctx, folder, skip, imagekit.MaxPage)
	return slices.DeleteFunc(page, func(e imagekit.Entry) bool { return e.Asset != nil && p.gone[e.Asset.FileID] }), err
}

// inTheWay tells the size of what others have put at a remote path, if it may ask;
// false when there is nothing.
func (p *planned) inTheWay(ctx context.Context, remote string) (size int64, is bool, err error) {
	if p.remote == nil {
		return 0, false, nil
	}
	if folder, _ := split(remote); folder != p.listed || p.sizes == nil {
		p.listed, p.sizes = folder, make(map[string]int64)
		err := eachPage(ctx, folder, p.remote.List, func(page []imagekit.Entry) error {
			for _, e := range page {
				if e.Asset != nil {
					p.sizes[e.Path] = e.Asset.Size
				}
			}
			return nil
		})
		if err != nil {
			return 0, false, err
		}
	}
	size, is = p.sizes[remote]
	return size, is, nil
}

// FolderExists asks, if it may.
func (p *planned) FolderExists(ctx context.Context, folder string) (bool, error) {
	p.calls++
	if p.remote != nil {
		return p.remote.FolderExists(ctx, folder)
	}
	return false, nil
}

// Rename is planned.
func (p *planned) Rename(ctx context.Context, filePath, name string) error {
	return p.place(ctx, filePath, path.Join(path.Dir(filePath), name))
}

// Move is planned.
func (p *planned) Move(ctx context.Context, filePath, folder string) error {
	return p.place(ctx, filePath, path.Join(folder, path.Base(filePath)))
}

func (p *planned) place(ctx context.Context, from, to string) error {
	p.calls++
	if a := p.copied[from]; a != nil {
		delete(p.copied, from)
		a.FilePath, a.Name = to, path.Base(to)
		p.copied[to] = a
		return nil
	}
	f, err := p.db.RemoteOwner(ctx, from)
	if err == nil && f != nil {
		p.moved[f.FileID] = to
	}
	return err
}

// Copy is planned.
func (p *planned) Copy(ctx context.Context, filePath, folder string) error {
	p.calls++
	f, err := p.db.RemoteOwner(ctx, filePath)
	if err != nil || f == nil {
		return err
	}
	to := path.Join(folder, path.Base(filePath))
	p.copied[to] = &imagekit.Asset{FileID: "planned:" + to, FilePath: to, Name: path.Base(to), Size: f.LibrarySize(), Raw: []byte("{}")}
	return nil
}

// DeleteFiles is planned.
func (p *planned) DeleteFiles(_ context.Context, ids []string) ([]string, map[string]string, error) {
	p.calls++
	for _, id := range ids {
		p.gone[id] = true
	}
	return ids, nil, nil
}

// RenameFolder is planned.
func (p *planned) RenameFolder(_ context.Context, folder, name string) (string, error) {
	p.calls++
	p.source, p.target = folder, path.Join(path.Dir(folder), name)
	return "planned", nil
}

// MoveFolder is planned.
func (p *planned) MoveFolder(_ context.Context, folder, into string) (string, error) {
	p.calls++
	p.source, p.target = folder, path.Join(into, path.Base(folder))
	return "planned", nil
}

// CreateFolder is never needed.
func (p *planned) CreateFolder(context.Context, string) error {
	p.calls++
	return nil
}

// DeleteFolder is planned.
func (p *planned) DeleteFolder(context.Context, string) error {
	p.calls++
	return nil
}

// JobDone is at once.
func (p *planned) JobDone(context.Context, string) (bool, error) {
	p.calls++
	return true, nil
}
