package emulator

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

//go:embed gallery.html
var galleryHTML string

// perPage is how many files a page of the gallery shows.
const perPage = 120

// gallery is the page at "/".
type gallery struct{ template *template.Template }

func newGallery() (*gallery, error) {
	t, err := template.New("gallery").Parse(galleryHTML)
	if err != nil {
		return nil, fmt.Errorf("emulator: gallery: %w", err)
	}
	return &gallery{t}, nil
}

// galleryPage is what the template shows.
type galleryPage struct {
	Folder     string
	Trail      []link
	Folders    []link
	Files      []galleryFile
	Total      int
	Page, Last int
	Previous   string
	Next       string
}

type link struct{ Name, URL string }

type galleryFile struct {
	Name, FileID, Source, Size, Kind string
	Image, Private, Draft            bool
	Versions                         int
}

// serveGallery shows a folder: ?folder=/a/b&page=2.
func (s *Server) serveGallery(w http.ResponseWriter, r *http.Request) {
	folder, err := s.names.existing(r.URL.Query().Get("folder"))
	if err != nil {
		http.Error(w, "Not a folder", http.StatusBadRequest)
		return
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	p, found := s.galleryPage(folder, max(page, 1))
	if !found {
		http.Error(w, "No such folder", http.StatusNotFound)
		return
	}
	var out bytes.Buffer
	if err := s.page.template.Execute(&out, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.Write(out.Bytes())
}

func (s *Server) galleryPage(folder string, page int) (*galleryPage, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := s.lib.folder(folder)
	if f == nil {
		return nil, false
	}
	p := &galleryPage{Folder: folder, Total: len(f.files), Trail: trail(folder)}
	p.Last = max(1, (p.Total+perPage-1)/perPage)
	p.Page = min(page, p.Last)
	if p.Page > 1 {
		p.Previous = galleryURL(folder, p.Page-1)
	}
	if p.Page < p.Last {
		p.Next = galleryURL(folder, p.Page+1)
	}
	if p.Page == 1 {
		for _, name := range slices.Sorted(maps.Keys(f.folders)) {
			p.Folders = append(p.Folders, link{name, galleryURL(f.folders[name].path, 1)})
		}
	}
	names := slices.Sorted(maps.Keys(f.files))
	start := (p.Page - 1) * perPage
	for _, name := range names[start:min(start+perPage, len(names))] {
		p.Files = append(p.Files, s.galleryFile(f.files[name].asset))
	}
	return p, true
}

func (s *Server) galleryFile(a *asset) galleryFile {
	v := a.current()
	g := galleryFile{
		Name: a.Name, FileID: a.FileID, Size: sizeText(v.Content.Size), Kind: v.Content.MIME,
		Image: v.Content.isImage(), Private: v.IsPrivate, Draft: v.IsDraft, Versions: len(a.Versions),
	}
	if g.Private || g.Draft {
		g.Source = "/_emulator/object/" + a.FileID
	} else {
		g.Source = s.mount + escapePath(a.path())
	}
	return g
}

// trail links the folders above a folder, and itself.
func trail(folder string) []link {
	links := []link{{"Library", galleryURL("/", 1)}}
	path := ""
	for name := range strings.SplitSeq(strings.Trim(folder, "/"), "/") {
		if name != "" {
			path += "/" + name
			links = append(links, link{name, galleryURL(path, 1)})
		}
	}
	return links
}

func galleryURL(folder string, page int) string {
	q := url.Values{}
	if folder != "/" {
		q.Set("folder", folder)
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	return "/?" + q.Encode()
}

func sizeText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}
