package watcher

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"iksync/queue"
	"iksync/state"
)

// unseen deals with a record that the walk did not meet. Its absence is looked
// at: not being met proves nothing.
func (s *Scanner) unseen(ctx context.Context, k *queue.Known) error {
	if k.Absent != state.Present {
		s.tally.gone.Add(1)
		return nil
	}
	why := s.o.Absence(s.links, k.Path, s.start)
	if why == state.Present {
		return nil
	}
	s.tally.gone.Add(1)
	a := queue.Absent{Path: k.Path, Why: why}
	if why == state.Gone {
		a.Device = s.vacancy.device(s.links, parent(k.Path))
	}
	s.absent = append(s.absent, a)
	if len(s.absent) >= maxBatch {
		return s.flush(ctx)
	}
	return nil
}

// Absence looks below root, which is opened at the root of o, why the file of a
// record is not among the wanted; Present when it is, and when that can't be said.
func (o *Options) Absence(root *os.Root, path string, now time.Time) state.Absence {
	info, err := root.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return state.Gone
	case err != nil:
		return state.Present
	case info.Mode()&fs.ModeSymlink != 0:
		if o.Symlinks == FollowInside {
			return state.Present
		}
		return state.Filtered
	case !info.Mode().IsRegular():
		return state.Gone
	}
	// One that is too young is wanted again soon; one that is wanted has come since.
	if d := o.Filter.Path(path, info.Size(), info.ModTime(), now); d.Excluded && d.Retry.IsZero() {
		return state.Filtered
	}
	return state.Present
}

// vacancy remembers of the last directory that was asked about what is left of
// it. The zero value remembers none.
type vacancy struct {
	dir    string
	asked  bool
	answer uint64
}

// device returns the device of the empty directory that is all that is left of a
// directory and those above it, where that is so: perhaps a disk is not mounted
// there. Else it is 0.
func (v *vacancy) device(root *os.Root, dir string) uint64 {
	if v.knows(dir) {
		return v.answer
	}
	v.dir, v.asked, v.answer = dir, true, 0
	for ; dir != ""; dir = parent(dir) {
		f, err := root.Open(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err == nil {
			v.answer = emptyOn(f)
			_ = f.Close() // opened for reading only
		}
		break
	}
	return v.answer
}

func (v *vacancy) knows(dir string) bool { return v.asked && v.dir == dir }

// emptyOn returns the device of an empty directory, 0 of any other.
func emptyOn(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil || !info.IsDir() {
		return 0
	}
	if names, _ := f.Readdirnames(1); len(names) > 0 {
		return 0
	}
	return state.StatOf(info).Dev
}
