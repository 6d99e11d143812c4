package imagekit

import (
	"context"
	"encoding/json"
	"net/url"
	"path"
	"strings"
)

// Find looks a file up by its exact path; nil when the library does not list
// it. A file that was stored seconds ago may not be listed yet, so nil is no
// proof that it is not there.
func (c *Client) Find(ctx context.Context, filePath string) (*Asset, error) {
	folder, name := path.Split(filePath)
	if folder != "/" {
		folder = strings.TrimSuffix(folder, "/")
	}
	ans, err := c.get(ctx, "/files", url.Values{
		"path":        {folder},
		"limit":       {"10"},
		"searchQuery": {`type = "file" AND name = "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`},
	})
	if err != nil {
		return nil, err
	}
	var items []json.RawMessage
	if err := decode(ans.body, &items); err != nil {
		return nil, ans.broken("look up "+filePath, err)
	}
	for _, raw := range items {
		var item assetJSON
		if err := decode(raw, &item); err == nil && item.FilePath == filePath && item.FileID != "" {
			return item.asset(raw), nil
		}
	}
	return nil, nil
}
