package imagekit

import (
	"context"
	"fmt"
	"net/http"
)

// Details gives the file with this id; nil when ImageKit says that it is not
// there. Unlike a listing it does not lag behind. Errors are an [*Error].
func (c *Client) Details(ctx context.Context, fileID string) (*Asset, error) {
	m := call{method: http.MethodGet, path: "/files/{id}/details", id: fileID}
	ans, err := c.manage(ctx, m)
	switch {
	case gone(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var a assetJSON
	err = decode(ans.body, &a)
	if err == nil {
		err = a.check()
	}
	if err == nil && a.FileID != fileID {
		err = fmt.Errorf("it is of the file %q", a.FileID)
	}
	if err != nil {
		return nil, ans.broken(m.method+" "+m.path, err)
	}
	return a.asset(ans.body), nil
}

// Move moves a file with all its versions into a folder, which is made when it
// is not there. A file of the same name there is not replaced: the versions of
// the moved one are silently appended to that one's. Its URL changes.
//
// The error is an [*Error]: 404 [ReasonSourceMissing], 400 [ReasonVersionLimit]
// and, of the same folder, SAME_SOURCE_AND_DESTINATION.
func (c *Client) Move(ctx context.Context, filePath, folder string) error {
	return c.change(ctx, call{method: http.MethodPost, path: "/files/move", body: placement{
		Source: filePath, Destination: folderPath(folder),
	}})
}

// Copy copies the current version of a file into a folder, which is made when it
// is not there. Where the folder has a file of that name, the copy becomes its
// newest version. Errors are those of [Client.Move].
func (c *Client) Copy(ctx context.Context, filePath, folder string) error {
	return c.change(ctx, call{method: http.MethodPost, path: "/files/copy", body: placement{
		Source: filePath, Destination: folderPath(folder), Versions: new(false),
	}})
}

type placement struct {
	Source      string `json:"sourceFilePath"`
	Destination string `json:"destinationPath"`
	Versions    *bool  `json:"includeFileVersions,omitempty"` // Copy only
}

// Rename gives a file another name in its folder. ImageKit replaces characters
// of the name as it does for uploads, and says nothing of it: see [CheckName].
// Caches are not purged; the old URL may be served from them for long.
//
// The error is an [*Error]: 404 [ReasonFileMissing], 409 [ReasonFileExists] and,
// of the same name, 400 SAME_OLD_AND_NEW_NAME.
func (c *Client) Rename(ctx context.Context, filePath, name string) error {
	// 207, by which ImageKit says that it renamed and did not purge, is a success.
	return c.change(ctx, call{method: http.MethodPut, path: "/files/rename", body: struct {
		Path  string `json:"filePath"`
		Name  string `json:"newFileName"`
		Purge bool   `json:"purgeCache"`
	}{filePath, name, false}})
}
