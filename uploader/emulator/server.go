package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is the emulated ImageKit. It is an http.Handler, safe for concurrent
// use; New makes it and Close ends it.
type Server struct {
	options   Options
	behaviour Behaviour
	names     names
	mount     string // path below which assets are served
	now       func() time.Time
	handler   http.Handler
	receiver  *receiver
	objects   objects
	fetcher   *fetcher
	lock      *os.File
	stats     *counters
	faults    *faultPlan
	page      *gallery
	keys      seenKeys
	buffers   sync.Pool // of *bytes.Buffer, for answers
	jsonType  []string

	mu      sync.RWMutex // guards what follows; contents are received without it
	lib     *library
	journal *journal
	jobs    map[string]job
	purges  map[string]bool
	tokens  map[string]time.Time // used for uploads, with the end of their validity
	closed  bool
}

// errClosed answers changes after Close.
var errClosed = errors.New("emulator: the server is closed")

// New opens the library in o.Dir, or makes an empty one, and gives its server.
// It fails when another server has the directory, or when its journal cannot be
// read.
func New(o Options) (*Server, error) {
	mount, err := o.mount()
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:   o,
		behaviour: o.Behaviour.withDefaults(),
		names:     names{strict: o.Behaviour.StrictNames},
		mount:     mount,
		now:       o.Now,
		fetcher:   newFetcher(o.Download),
		stats:     newCounters(),
		faults:    &faultPlan{},
		buffers:   sync.Pool{New: func() any { return new(bytes.Buffer) }},
		jsonType:  []string{"application/json; charset=utf-8"},
		lib:       newLibrary(),
		jobs:      make(map[string]job),
		purges:    make(map[string]bool),
		tokens:    make(map[string]time.Time),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.page, err = newGallery(); err != nil {
		return nil, err
	}
	switch {
	case o.Discard:
		s.objects = discarded{}
	case o.Dir == "":
		s.objects = newMemoryObjects()
	default:
		if err := s.load(o.Dir); err != nil {
			return nil, err
		}
	}
	s.receiver = newReceiver(s.objects, s.behaviour)
	s.handler = s.routes()
	return s, nil
}

// load takes the directory and replays its journal.
func (s *Server) load(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	s.lock = lock
	store, err := openDirObjects(dir)
	if err == nil {
		s.objects = store
		s.journal, err = openJournal(filepath.Join(dir, "journal.jsonl"), func(records []record) {
			for _, r := range records {
				s.lib.apply(r, 0)
			}
		})
	}
	if err == nil {
		err = store.sweep(s.lib.blobs)
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// commit makes a change: the journal first, then the index, then the blobs that
// nothing holds any more. The caller has s.mu.
func (s *Server) commit(records ...record) error {
	if s.closed {
		return errClosed
	}
	if len(records) == 0 {
		return nil
	}
	if s.journal != nil {
		if err := s.journal.append(records); err != nil {
			return err
		}
	}
	for _, r := range records {
		for _, blob := range s.lib.apply(r, s.behaviour.ListingLag) {
			// A record later in the same change may take the blob up again, and
			// what cannot be removed now is swept at the next start.
			defer s.release(blob)
		}
	}
	return nil
}

func (s *Server) release(blob string) {
	if s.lib.blobs[blob] == 0 {
		s.objects.remove(blob)
	}
}

// ServeHTTP answers the API, the asset URLs, the gallery at "/" and the
// /_emulator endpoints.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Asset is a file as Assets gives it: its current version, and how many there
// are.
type Asset struct {
	FileID            string
	VersionID         string
	FilePath          string // with a leading slash
	Name              string
	Size              int64    // bytes
	Hash              [16]byte // xxh3-128, big endian
	MIME              string
	Tags              []string
	CustomMetadata    map[string]any
	CustomCoordinates string
	Description       string
	IsPrivate         bool
	IsPublished       bool
	Created           time.Time // of the file
	Updated           time.Time // of its current version
	Versions          int       // one for a file that was never overwritten
}

// Assets gives a snapshot of all files, sorted by FilePath. Its slices and maps
// are the server's own: they must not be changed.
func (s *Server) Assets() []Asset {
	s.mu.RLock()
	all := make([]Asset, 0, len(s.lib.byID))
	for _, e := range s.lib.byID {
		a, v := e.asset, e.asset.current()
		all = append(all, Asset{
			FileID: a.FileID, VersionID: v.ID, FilePath: a.path(), Name: a.Name,
			Size: v.Content.Size, Hash: v.Content.Hash, MIME: v.Content.MIME,
			Tags: v.Tags, CustomMetadata: v.CustomMetadata, CustomCoordinates: v.CustomCoordinates,
			Description: v.Description, IsPrivate: v.IsPrivate, IsPublished: !v.IsDraft,
			Created: a.Created, Updated: v.Updated, Versions: len(a.Versions),
		})
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b Asset) int { return strings.Compare(a.FilePath, b.FilePath) })
	return all
}

// Open gives the current content of the file at filePath. The error is
// fs.ErrNotExist when there is no such file.
func (s *Server) Open(filePath string) (io.ReadCloser, error) {
	a := s.lookup(filePath)
	if a == nil {
		return nil, &fs.PathError{Op: "open", Path: filePath, Err: fs.ErrNotExist}
	}
	return s.objects.open(a.current().Blob)
}

// lookup finds an asset by its path; nil when there is none.
func (s *Server) lookup(filePath string) *asset {
	folder, name, ok := splitPath(filePath)
	if !ok {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.lib.file(folder, name); e != nil {
		return e.asset
	}
	return nil
}

// byID finds an asset by its fileId; nil when there is none.
func (s *Server) byID(fileID string) *asset {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.lib.byID[fileID]; e != nil {
		return e.asset
	}
	return nil
}

// Close ends the server and gives its directory back. Requests that come later,
// or are still under way, can change nothing any more.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.fetcher.close()
	var errs []error
	if s.journal != nil {
		errs = append(errs, s.journal.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
