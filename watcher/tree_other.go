//go:build !linux

package watcher

import (
	"io/fs"
	"os"
	"strings"

	"iksync/state"
)

const direntBuffer = 0

// dir is an open directory; entries are looked at through an os.Root, which
// no symlink leads out of.
type dir struct {
	root *os.Root
}

// openRootDir opens the root of a tree.
func openRootDir(path string) (*dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &dir{root: root}, nil
}

// open opens a directory below d.
func (d *dir) open(name string) (*dir, error) {
	root, err := d.root.OpenRoot(strings.TrimSuffix(name, "/"))
	if err != nil {
		return nil, err
	}
	return &dir{root: root}, nil
}

// openLinked opens a directory that was reached through a symlink inside the root.
func openLinked(f *os.File) (*dir, error) { return openRootDir(f.Name()) }

// trust tells what is proven of the files in the directory.
func (d *dir) trust(m *state.Mounts) (state.Trust, error) { return m.At(d.root.Name()) }

func (d *dir) close() { _ = d.root.Close() }

// stat looks at an entry without following it.
func (d *dir) stat(name string) (fileInfo, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return fileInfo{}, err
	}
	return infoOf(info), nil
}

// self looks at the directory itself.
func (d *dir) self() (fileInfo, error) { return d.stat(".") }

func infoOf(info fs.FileInfo) fileInfo {
	out := fileInfo{kind: kindOfMode(info.Mode()), stat: state.StatOf(info)}
	return out
}

// entries lists the directory, unsorted.
func (d *dir) entries([]byte) ([]entry, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	list := make([]entry, 0, len(found))
	for _, e := range found {
		k := kindOfMode(e.Type())
		name := e.Name()
		if k == directory {
			name += "/"
		}
		list = append(list, entry{name: name, kind: k})
	}
	return list, nil
}

func kindOfMode(m fs.FileMode) kind {
	switch {
	case m.IsRegular():
		return regular
	case m.IsDir():
		return directory
	case m&fs.ModeSymlink != 0:
		return symlink
	}
	return special
}
