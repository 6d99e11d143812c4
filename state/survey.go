package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Place is what there is where a state file is, or is to be made.
type Place struct {
	Path   string       // absolute, symlinks resolved where they lead somewhere
	Exists bool         // the file is there
	Dir    string       // its directory, or the nearest above that is there
	Free   int64        // bytes that may still be written there; -1 where the system doesn't tell
	Holder *LockedError // the process that has the file open; nil for none
}

// Survey looks whether a state file can be opened or made at path, and makes and
// changes nothing. An error says why it can't be.
func Survey(path string) (Place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Place{}, fmt.Errorf("state file %s: %w", path, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	p := Place{Path: abs, Dir: filepath.Dir(abs), Free: -1}
	exists, err := inspect(abs)
	p.Exists = exists
	if err != nil {
		return p, err
	}
	if exists {
		if err := mayWrite(abs, false); err != nil {
			return p, fmt.Errorf("state file %s can't be written: %w", abs, err)
		}
	}
	for {
		info, err := os.Stat(p.Dir)
		if err == nil && !info.IsDir() {
			return p, fmt.Errorf("state file %s: %s is not a directory", abs, p.Dir)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || p.Dir == filepath.Dir(p.Dir) {
			return p, fmt.Errorf("look at the directory of the state file: %w", err)
		}
		p.Dir = filepath.Dir(p.Dir)
	}
	// The file alone is not enough: its log and its lock are made beside it.
	if err := mayWrite(p.Dir, true); err != nil {
		return p, fmt.Errorf("nothing can be written in %s, where the state file belongs: %w", p.Dir, err)
	}
	p.Free = freeSpace(p.Dir)
	p.Holder = holder(abs + ".lock")
	return p, nil
}
