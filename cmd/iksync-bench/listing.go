package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"iksync/state"
)

// listing answers as a library would that holds just the files of a tree, which it
// reckons: millions of assets don't fit into the memory of an emulator.
type listing struct {
	tree *tree
	stat func(n int) (state.Stat, error)
}

// ServeHTTP answers a page of a folder, by name.
func (l *listing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	skip, _ := strconv.Atoi(q.Get("skip"))
	limit, err := strconv.Atoi(q.Get("limit"))
	if r.URL.Path != "/v1/files" || q.Get("type") != "all" || q.Get("sort") != "ASC_NAME" || err != nil {
		http.Error(w, `{"message":"this server can only list"}`, http.StatusNotImplemented)
		return
	}
	first, entries, entry := l.folder(q)
	body := []byte{'['}
	for n := first + skip; n < first+min(entries, skip+limit); n++ {
		if len(body) > 1 {
			body = append(body, ',')
		}
		if body, err = entry(body, n); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, ']'))
}

// folder tells what is in the folder that is asked for: how many entries, from which
// number, and how one of them is written.
func (l *listing) folder(q url.Values) (first, entries int, entry func([]byte, int) ([]byte, error)) {
	t := l.tree
	folder := strings.Trim(q.Get("path"), "/")
	top, name, deep := strings.Cut(folder, "/")
	upper := (t.dirs() + fanOut - 1) / fanOut
	sub := func(name func(n int) string) func([]byte, int) ([]byte, error) {
		return func(b []byte, n int) ([]byte, error) {
			p := "/" + name(n)
			return fmt.Appendf(b, `{"type":"folder","folderId":"f%d","name":%q,"folderPath":%q,"createdAt":"2025-06-15T15:06:40.000Z","updatedAt":"2025-06-15T15:06:40.000Z"}`, n, path.Base(p), p), nil
		}
	}
	if folder == "" {
		return 0, upper, sub(func(n int) string { return path.Dir(t.dir(n * fanOut)) })
	}
	i, _ := strconv.Atoi(top)
	if !deep {
		return i * fanOut, min(fanOut, t.dirs()-i*fanOut), sub(t.dir)
	}
	k, _ := strconv.Atoi(name)
	d := i*fanOut + k
	return d * t.each, max(0, min(t.each, t.files-d*t.each)), l.file
}

func (l *listing) file(b []byte, n int) ([]byte, error) {
	st, err := l.stat(n)
	if err != nil {
		return nil, err
	}
	p := l.tree.file(n)
	return fmt.Appendf(b, `{"type":"file","name":%q,"createdAt":"2025-06-15T15:06:40.000Z","updatedAt":"2025-06-15T15:06:40.000Z","fileId":%q,"tags":null,"AITags":null,"versionInfo":{"id":%q,"name":"Version 1"},"embeddedMetadata":{},"customCoordinates":"","customMetadata":{},"isPrivateFile":false,"url":"https://ik.imagekit.io/demo/%s","thumbnail":"https://ik.imagekit.io/demo/tr:n-ik_ml_thumbnail/%s","fileType":"image","filePath":"/%s","height":3000,"width":4000,"size":%d,"hasAlpha":false,"mime":"image/jpeg"}`,
		path.Base(p), l.tree.fileID(n), l.tree.versionID(n), p, p, p, st.Size), nil
}
