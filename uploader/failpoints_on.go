//go:build failpoints

package uploader

import (
	"context"
	"time"

	"iksync/state/failpoint"
	"iksync/uploader/imagekit"
)

// listingLag and orphanLag are for how long a new asset may be missing from listings:
// little longer than those of the emulator, since a test of failpoints looks often.
const listingLag, orphanLag = 2500 * time.Millisecond, 2500 * time.Millisecond

// betweenListings is the time between two listings of a folder that is to be removed:
// short here, since a test of failpoints removes many.
const betweenListings = 50 * time.Millisecond

func sending(c *imagekit.Client) *failing { return &failing{c} }

func managed(c *imagekit.Client) library { return &failing{c} }

// failing is a client with failpoints before and after each call. An error before
// is that of a request that was not carried out; one after, that of an answer that
// was lost.
type failing struct{ *imagekit.Client }

func hitBefore(name string) error { return lost(name, failpoint.Hit(name), false) }

func hitAfter(name string, err error) error {
	if err != nil {
		return err
	}
	return lost(name, failpoint.Hit(name), true)
}

func lost(name string, err error, ambiguous bool) error {
	if err == nil {
		return nil
	}
	return &imagekit.Error{Class: imagekit.Transient, Op: name, Message: err.Error(), Ambiguous: ambiguous, Err: err}
}

// around makes a call between two failpoints.
func around[T any](before, after string, call func() (T, error)) (T, error) {
	var none T
	if err := hitBefore(before); err != nil {
		return none, err
	}
	got, err := call()
	if err = hitAfter(after, err); err != nil {
		return none, err
	}
	return got, nil
}

// does is around for a call that returns nothing.
func does(before, after string, call func() error) error {
	_, err := around(before, after, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (f *failing) Upload(ctx context.Context, u *imagekit.Upload) (*imagekit.Asset, error) {
	return around(failpoint.Upload, failpoint.Uploaded, func() (*imagekit.Asset, error) { return f.Client.Upload(ctx, u) })
}

func (f *failing) Find(ctx context.Context, filePath string) (*imagekit.Asset, error) {
	return around(failpoint.LibraryFind, failpoint.LibraryFound, func() (*imagekit.Asset, error) { return f.Client.Find(ctx, filePath) })
}

func (f *failing) Details(ctx context.Context, fileID string) (*imagekit.Asset, error) {
	return around(failpoint.LibraryDetails, failpoint.LibraryDetailed, func() (*imagekit.Asset, error) { return f.Client.Details(ctx, fileID) })
}

func (f *failing) List(ctx context.Context, folder string, skip, limit int) ([]imagekit.Entry, error) {
	return around(failpoint.LibraryList, failpoint.LibraryListed, func() ([]imagekit.Entry, error) { return f.Client.List(ctx, folder, skip, limit) })
}

func (f *failing) FolderExists(ctx context.Context, folder string) (bool, error) {
	return around(failpoint.LibraryFolderExists, failpoint.LibraryFolderKnown, func() (bool, error) { return f.Client.FolderExists(ctx, folder) })
}

func (f *failing) Rename(ctx context.Context, filePath, name string) error {
	return does(failpoint.LibraryRename, failpoint.LibraryRenamed, func() error { return f.Client.Rename(ctx, filePath, name) })
}

func (f *failing) Move(ctx context.Context, filePath, folder string) error {
	return does(failpoint.LibraryMove, failpoint.LibraryMoved, func() error { return f.Client.Move(ctx, filePath, folder) })
}

func (f *failing) Copy(ctx context.Context, filePath, folder string) error {
	return does(failpoint.LibraryCopy, failpoint.LibraryCopied, func() error { return f.Client.Copy(ctx, filePath, folder) })
}

func (f *failing) DeleteFiles(ctx context.Context, ids []string) (deleted []string, refused map[string]string, err error) {
	if err := hitBefore(failpoint.LibraryDelete); err != nil {
		return nil, nil, err
	}
	deleted, refused, err = f.Client.DeleteFiles(ctx, ids)
	if err = hitAfter(failpoint.LibraryDeleted, err); err != nil {
		return nil, nil, err
	}
	return deleted, refused, nil
}

func (f *failing) RenameFolder(ctx context.Context, folder, name string) (string, error) {
	return around(failpoint.LibraryRenameFolder, failpoint.LibraryRenamedTree, func() (string, error) { return f.Client.RenameFolder(ctx, folder, name) })
}

func (f *failing) MoveFolder(ctx context.Context, folder, into string) (string, error) {
	return around(failpoint.LibraryMoveFolder, failpoint.LibraryMovedTree, func() (string, error) { return f.Client.MoveFolder(ctx, folder, into) })
}

func (f *failing) DeleteFolder(ctx context.Context, folder string) error {
	return does(failpoint.LibraryDeleteFolder, failpoint.LibraryDeletedTree, func() error { return f.Client.DeleteFolder(ctx, folder) })
}

func (f *failing) JobDone(ctx context.Context, jobID string) (bool, error) {
	return around(failpoint.LibraryJob, failpoint.LibraryJobTold, func() (bool, error) { return f.Client.JobDone(ctx, jobID) })
}
