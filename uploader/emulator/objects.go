package emulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// objects is where the bytes of contents are: in a directory, in memory, or
// nowhere. Names are those of version.Blob.
type objects interface {
	create() (sink, error)
	open(name string) (io.ReadSeekCloser, error)
	remove(name string) error
}

// sink takes one content. Exactly one of commit and abort ends it.
type sink interface {
	io.Writer
	commit(name string) error
	abort()
}

// errDiscarded answers reads of contents that Options.Discard did not keep.
var errDiscarded = errors.New("emulator: contents are discarded, there is nothing to read")

// dirObjects keeps every content as a file. What is being received is in a
// directory of its own, which is emptied when the server starts.
type dirObjects struct{ kept, incoming string }

func openDirObjects(dir string) (*dirObjects, error) {
	d := &dirObjects{kept: filepath.Join(dir, "objects"), incoming: filepath.Join(dir, "incoming")}
	if err := os.RemoveAll(d.incoming); err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	for _, path := range []string{d.kept, d.incoming} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("emulator: %w", err)
		}
	}
	return d, nil
}

// sweep removes the files that no version holds: contents whose journal line
// was never written, or whose removal was not finished.
func (d *dirObjects) sweep(held map[string]int) error {
	files, err := os.ReadDir(d.kept)
	if err != nil {
		return fmt.Errorf("emulator: %w", err)
	}
	for _, f := range files {
		if held[f.Name()] == 0 && f.Type().IsRegular() {
			if err := d.remove(f.Name()); err != nil {
				return fmt.Errorf("emulator: removing an object that no version holds: %w", err)
			}
		}
	}
	return nil
}

func (d *dirObjects) create() (sink, error) {
	f, err := os.CreateTemp(d.incoming, "")
	if err != nil {
		return nil, err
	}
	return &fileSink{File: f, dir: d}, nil
}

func (d *dirObjects) open(name string) (io.ReadSeekCloser, error) {
	return os.Open(filepath.Join(d.kept, name))
}

func (d *dirObjects) remove(name string) error {
	err := os.Remove(filepath.Join(d.kept, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

type fileSink struct {
	*os.File
	dir *dirObjects
}

func (s *fileSink) commit(name string) error {
	if err := s.Close(); err != nil {
		os.Remove(s.Name())
		return err
	}
	if err := os.Rename(s.Name(), filepath.Join(s.dir.kept, name)); err != nil {
		os.Remove(s.Name())
		return err
	}
	return nil
}

func (s *fileSink) abort() {
	s.Close()
	os.Remove(s.Name())
}

// memoryObjects keeps contents in memory.
type memoryObjects struct {
	mu    sync.RWMutex
	bytes map[string][]byte
}

func newMemoryObjects() *memoryObjects { return &memoryObjects{bytes: make(map[string][]byte)} }

func (m *memoryObjects) create() (sink, error) { return &memorySink{objects: m}, nil }

func (m *memoryObjects) open(name string) (io.ReadSeekCloser, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.bytes[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return nopCloser{bytes.NewReader(b)}, nil
}

func (m *memoryObjects) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bytes, name)
	return nil
}

type memorySink struct {
	bytes.Buffer
	objects *memoryObjects
}

func (s *memorySink) commit(name string) error {
	s.objects.mu.Lock()
	defer s.objects.mu.Unlock()
	s.objects.bytes[name] = s.Bytes()
	return nil
}

func (s *memorySink) abort() {}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// discarded keeps nothing.
type discarded struct{}

func (discarded) create() (sink, error)                  { return discardSink{}, nil }
func (discarded) open(string) (io.ReadSeekCloser, error) { return nil, errDiscarded }
func (discarded) remove(string) error                    { return nil }

type discardSink struct{}

func (discardSink) Write(p []byte) (int, error) { return len(p), nil }
func (discardSink) commit(string) error         { return nil }
func (discardSink) abort()                      {}
