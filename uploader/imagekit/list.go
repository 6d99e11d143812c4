package imagekit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// MaxPage is how many entries one call of [Client.List] can give (ImageKit's
// documentation of its listing).
const MaxPage = 1000

// Entry is a file or folder in a listing.
type Entry struct {
	Folder bool
	Path   string // "/photos/a.jpg"
	Name   string
	Asset  *Asset // nil for a folder
}

// entryJSON is a file or folder as listings have it.
type entryJSON struct {
	assetJSON
	Type       string `json:"type"`
	FolderPath string `json:"folderPath"`
}

// List gives a page of what is directly in a folder, by name: up to limit
// entries, 1 to [MaxPage], after skip others. A page of fewer is the last. A
// folder that is not there gives none. What was made seconds ago may be missing;
// and pages are no snapshot, so what comes and goes meanwhile can shift entries
// from one to another. Errors are an [*Error].
func (c *Client) List(ctx context.Context, folder string, skip, limit int) ([]Entry, error) {
	m := call{method: http.MethodGet, path: "/files"}
	if skip < 0 || limit < 1 || limit > MaxPage {
		return nil, unsendable(m.method+" "+m.path, fmt.Sprintf("a page of %d after %d cannot be had", limit, skip))
	}
	folder = folderPath(folder)
	m.query = url.Values{
		"path": {folder}, "type": {"all"}, "sort": {"ASC_NAME"},
		"skip": {strconv.Itoa(skip)}, "limit": {strconv.Itoa(limit)},
	}
	ans, err := c.manage(ctx, m)
	if err != nil {
		return nil, err
	}
	items, err := ans.list(limit)
	if err != nil {
		return nil, ans.broken("list "+folder, err)
	}
	entries := make([]Entry, len(items))
	for i, raw := range items {
		// None is left out: that would look like a last page, and like a file
		// that is gone.
		if entries[i], err = entry(raw, folder); err != nil {
			return nil, ans.broken("list "+folder, err)
		}
	}
	return entries, nil
}

// list reads an answer that must be a JSON list of limit items at most. Others are
// not even counted: millions of small ones fit into an answer, and null, which
// json.Unmarshal takes for an empty list, would say that files are gone.
func (a *answer) list(limit int) ([]json.RawMessage, error) {
	if !json.Valid(a.body) {
		return nil, decode(a.body, new(json.RawMessage))
	}
	in := json.NewDecoder(bytes.NewReader(a.body))
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return nil, errors.Join(errors.New("it is no JSON list"), err)
	}
	var items []json.RawMessage
	for in.More() {
		if len(items) == limit {
			return nil, fmt.Errorf("it lists more than the %d asked for", limit)
		}
		var item json.RawMessage
		if err := in.Decode(&item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func entry(raw []byte, folder string) (Entry, error) {
	var item entryJSON
	if err := decode(raw, &item); err != nil {
		return Entry{}, err
	}
	var e Entry
	switch {
	case item.Type == "folder":
		e = Entry{Folder: true, Path: item.FolderPath}
	case item.Type != "file":
		return Entry{}, fmt.Errorf("it lists something of type %.50q", item.Type)
	case item.FileID == "":
		return Entry{}, errors.New("it lists a file without a fileId")
	case !isID(item.FileID):
		return Entry{}, fmt.Errorf("it lists a file whose fileId is %.50q", item.FileID)
	default:
		e = Entry{Path: item.FilePath, Asset: item.asset(raw)}
	}
	var parent string
	if parent, e.Name = splitPath(e.Path); !strings.HasPrefix(e.Path, "/") || parent != folder || e.Name == "" {
		return Entry{}, fmt.Errorf("it lists %q, which is elsewhere", e.Path)
	}
	return e, nil
}

// FolderExists reports whether the library lists a folder. One that was made
// seconds ago may not be listed yet, so false is no proof. The root is always
// there. Errors are an [*Error].
func (c *Client) FolderExists(ctx context.Context, folder string) (bool, error) {
	folder = folderPath(folder)
	if folder == "/" {
		return true, nil
	}
	_, found, err := c.lookUp(ctx, "folder", folder)
	return found, err
}
