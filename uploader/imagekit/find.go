package imagekit

import (
	"context"
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
	var items []assetJSON
	if err := decode(ans.body, &items); err != nil {
		return nil, ans.broken("look up "+filePath, err)
	}
	for i := range items {
		if items[i].FilePath == filePath && items[i].FileID != "" {
			return items[i].asset(ans.body), nil
		}
	}
	return nil, nil
}
