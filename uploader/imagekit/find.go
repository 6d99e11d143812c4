package imagekit

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Find looks a file up by its exact path; nil when the library does not list
// it. A file that was stored seconds ago may not be listed yet, so nil is no
// proof that it is not there. Errors are an [*Error].
func (c *Client) Find(ctx context.Context, filePath string) (*Asset, error) {
	asset, _, err := c.lookUp(ctx, "file", filePath)
	return asset, err
}

// lookUp looks a file or folder up, as kind says, by its exact path.
func (c *Client) lookUp(ctx context.Context, kind, path string) (asset *Asset, found bool, err error) {
	const most = 10
	folder, name := splitPath(path)
	// Beside a searchQuery the parameters type and name have no effect.
	ans, err := c.manage(ctx, call{method: http.MethodGet, path: "/files", query: url.Values{
		"path":        {folder},
		"limit":       {strconv.Itoa(most)},
		"searchQuery": {`type = "` + kind + `" AND name = "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`},
	}})
	if err != nil {
		return nil, false, err
	}
	items, err := ans.list(most)
	if err != nil {
		return nil, false, ans.broken("look up "+path, err)
	}
	for _, raw := range items {
		var item entryJSON
		if decode(raw, &item) != nil {
			continue
		}
		switch {
		case kind == "folder" && item.Type == kind && item.FolderPath == path:
			return nil, true, nil
		case kind == "file" && item.FilePath == path && item.FileID != "":
			if !isID(item.FileID) {
				return nil, false, ans.broken("look up "+path, fmt.Errorf("the fileId is %.100q", item.FileID))
			}
			asset := item.asset(raw)
			asset.Age = age(ans.header.Get("Date"), string(item.UpdatedAt))
			return asset, true, nil
		}
	}
	return nil, false, nil
}

// age is how long before the answer something was; 0 when that is not told. Both
// times are ImageKit's, so that our clock does not matter.
func age(answered, updated string) time.Duration {
	now, err := http.ParseTime(answered)
	if err != nil {
		return 0
	}
	then, err := time.Parse(time.RFC3339, updated)
	if err != nil {
		return 0
	}
	return max(now.Sub(then), 1) // the one has whole seconds, the other fractions of one
}
