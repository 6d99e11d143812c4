package emulator

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxLimit = 1000
	badSort  = "Your request contains invalid value for sort parameters."
	badType  = "Your request contains invalid value for type parameter. Please provide one of the following: file, file-version, folder, all."
)

// listing is the query of GET /v1/files.
type listing struct {
	folder   string // "" is everywhere
	files    bool
	versions bool
	folders  bool
	fileType string // "" is all
	name     string // parameter "name"
	tags     []string
	where    predicate // nil without searchQuery
	sort     string
	skip     int
	limit    int
}

// listed is one candidate of a listing: a version of an asset, or a folder.
type listed struct {
	entry   *entry
	asset   *asset
	version *version
	folder  *folder
}

// list answers GET /v1/files: a bare array, without a total.
func (s *Server) list(c *call) answer {
	q, message := s.parseListing(c.URL.Query())
	if message != "" {
		return badRequest(message)
	}
	s.mu.RLock()
	found := s.find(q)
	s.mu.RUnlock()
	endpoint := s.endpoint(c.Host)
	page := make([]any, len(found))
	for i, item := range found {
		if item.folder != nil {
			page[i] = describeFolder(item.folder)
			continue
		}
		d := s.describe(endpoint, item.asset, item.version)
		if q.versions {
			d.Type = "file-version"
		}
		page[i] = d
	}
	return ok(page)
}

// parseListing validates the parameters; message is what a 400 says.
func (s *Server) parseListing(v url.Values) (q listing, message string) {
	q = listing{sort: "ASC_CREATED", limit: maxLimit, files: true}
	if message = q.window(v); message != "" {
		return q, message
	}
	switch v.Get("fileType") {
	case "", "all":
	case "image", "non-image":
		q.fileType = v.Get("fileType")
	default:
		return q, "Your request contains invalid value for fileType parameter."
	}
	if v.Get("sort") != "" {
		q.sort = v.Get("sort")
		if !validSort(q.sort) {
			return q, badSort
		}
	}
	if v.Get("path") != "" {
		path, err := s.names.existing(v.Get("path"))
		if err != nil {
			return q, "Your request contains invalid value for path parameter."
		}
		q.folder = path
	}
	switch v.Get("type") {
	case "", "file":
	case "file-version":
		q.files, q.versions = false, true
	case "folder":
		q.files, q.folders = false, true
	case "all":
		q.folders = true
	default:
		return q, badType
	}
	if text := v.Get("searchQuery"); text != "" {
		return q.search(text, s.now())
	}
	q.name = v.Get("name")
	if tags := v.Get("tags"); tags != "" {
		q.tags = strings.Split(tags, ",")
	}
	return q, ""
}

func (q *listing) window(v url.Values) string {
	if text := v.Get("skip"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Sprintf("The value of skip parameter should be greater than or equal to 0. Value sent is %s.", text)
		}
		q.skip = n
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil || n < 1:
			return fmt.Sprintf("Minimum value of limit parameter is 1. Value sent is %s.", text)
		case n > maxLimit:
			return fmt.Sprintf("Maximum value of limit parameter is 1000. Value sent is %s.", text)
		}
		q.limit = n
	}
	return ""
}

// search takes a searchQuery in, beside which type, tags and name have no
// effect: the query itself says what type it is after, else files and folders
// are both found.
func (q listing) search(text string, now time.Time) (listing, string) {
	e, err := parseExpression(text)
	if err == nil {
		q.where, err = compile(e, searchedField, now)
	}
	if err != nil {
		return q, fmt.Sprintf("Your request contains invalid searchQuery parameter: %v.", err)
	}
	q.files, q.folders, q.versions = true, true, false
	if asksFor(e, "file-version") {
		q.files, q.folders, q.versions = false, false, true
	}
	return q, ""
}

// asksFor says whether an expression compares type with a value.
func asksFor(e expression, value string) bool {
	among := func(list []expression) bool {
		return slices.ContainsFunc(list, func(e expression) bool { return asksFor(e, value) })
	}
	switch e := e.(type) {
	case allOf:
		return among(e)
	case anyOf:
		return among(e)
	case comparison:
		return e.field == "type" && !e.not && slices.Contains(e.values, value)
	}
	return false
}

func validSort(sort string) bool {
	field, found := strings.CutPrefix(sort, "ASC_")
	if !found {
		field, found = strings.CutPrefix(sort, "DESC_")
	}
	switch field {
	case "NAME", "CREATED", "UPDATED", "HEIGHT", "WIDTH", "SIZE", "RELEVANCE":
		return found
	}
	return false
}

// find gives the page of a listing. The caller has s.mu at least for reading.
func (s *Server) find(q listing) []listed {
	now := s.now()
	var found []listed
	// Assets come in order of creation already: without another order to
	// make, the page's end ends the search.
	inOrder := q.sort == "ASC_CREATED" && !q.folders && q.folder == ""
	q.candidates(s.lib, now, func(item listed) bool {
		if q.matches(item) {
			found = append(found, item)
		}
		return !inOrder || len(found) < q.skip+q.limit
	})
	if !inOrder {
		slices.SortStableFunc(found, q.order)
	}
	found = found[min(q.skip, len(found)):]
	return found[:min(q.limit, len(found))]
}

// candidates goes through what may be on the page: all, or one folder.
func (q listing) candidates(l *library, now time.Time, yield func(listed) bool) {
	asset := func(e *entry) bool {
		if e.asset == nil || e.listed.After(now) {
			return true
		}
		if q.versions {
			for _, v := range e.asset.Versions {
				if !yield(listed{entry: e, asset: e.asset, version: v}) {
					return false
				}
			}
			return true
		}
		return yield(listed{entry: e, asset: e.asset, version: e.asset.current()})
	}
	folders := func(f *folder) bool { return f.path == "/" || f.listed.After(now) || yield(listed{folder: f}) }
	if q.folder == "" {
		if q.folders {
			for f := range l.root.tree() {
				if !folders(f) {
					return
				}
			}
		}
		for _, e := range l.order {
			if (q.files || q.versions) && !asset(e) {
				return
			}
		}
		return
	}
	f := l.folder(q.folder)
	if f == nil {
		return
	}
	if q.folders {
		for _, sub := range f.folders {
			if !folders(sub) {
				return
			}
		}
	}
	if q.files || q.versions {
		for _, e := range f.files {
			if !asset(e) {
				return
			}
		}
	}
}

func (q listing) matches(item listed) bool {
	if q.fileType != "" && (item.folder != nil || item.version.Content.fileType() != q.fileType) {
		return false
	}
	if q.name != "" && item.name() != q.name {
		return false
	}
	if len(q.tags) > 0 && (item.folder != nil || !slices.ContainsFunc(item.version.allTags(), func(tag string) bool {
		return slices.Contains(q.tags, tag)
	})) {
		return false
	}
	return q.where == nil || q.where(item.lookup(q.versions))
}

func (i listed) name() string {
	if i.folder != nil {
		return i.folder.name()
	}
	return i.asset.Name
}

// order compares two candidates; ties go by creation, then by name.
func (q listing) order(a, b listed) int {
	direction, field, _ := strings.Cut(q.sort, "_")
	if direction == "DESC" {
		a, b = b, a
	}
	by := 0
	switch field {
	case "NAME":
		by = strings.Compare(a.name(), b.name())
	case "UPDATED":
		by = a.updated().Compare(b.updated())
	case "HEIGHT":
		by = cmp.Compare(a.content().Height, b.content().Height)
	case "WIDTH":
		by = cmp.Compare(a.content().Width, b.content().Width)
	case "SIZE":
		by = cmp.Compare(a.content().Size, b.content().Size)
	}
	return cmp.Or(by, a.created().Compare(b.created()), cmp.Compare(a.seq(), b.seq()), strings.Compare(a.name(), b.name()))
}
