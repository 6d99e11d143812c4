package watcher

import (
	"cmp"
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
	why := s.o.Absence(s.links, k.Path, s.start)
	if why != state.Present || k.Absent != state.Present {
		s.tally.gone.Add(1)
	}
	if why == state.Present || why == k.Absent {
		return nil
	}
	a := queue.Absent{Path: k.Path, Why: why}
	if why == state.Gone {
		a.Device, a.Empty = s.vacancy.device(s.links, parent(k.Path))
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

// vacancy remembers of the last directory that was asked about on which device it
// is, or what is left of it. The zero value remembers none.
type vacancy struct {
	dir    string
	asked  bool
	answer uint64
	empty  bool
}

// device returns the device of a directory, or of the nearest above it that is
// there, and whether that is empty; 0 when that can't be told. A disk may have been
// mounted there.
func (v *vacancy) device(root *os.Root, dir string) (device uint64, empty bool) {
	if v.knows(dir) {
		return v.answer, v.empty
	}
	v.dir, v.asked, v.answer, v.empty = dir, true, 0, false
	for {
		info, err := root.Stat(cmp.Or(dir, "."))
		if err == nil && info.IsDir() {
			v.answer = state.StatOf(info).Dev
			if f, err := root.Open(cmp.Or(dir, ".")); err == nil {
				names, _ := f.Readdirnames(1) // one that can't be read has none
				v.empty = len(names) == 0
				_ = f.Close() // opened for reading only
			}
		}
		if err == nil || dir == "" || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return v.answer, v.empty
		}
		dir = parent(dir)
	}
}

func (v *vacancy) knows(dir string) bool { return v.asked && v.dir == dir }

// Identity tells one directory from another in its place, as [queue.Removal] has it.
func Identity(path string) ([]byte, error) {
	id, err := Identify(path)
	return id.ID, err
}

// Identify tells one directory from another in its place.
func Identify(path string) (queue.Identity, error) {
	id, err := identify(path)
	if err != nil {
		return queue.Identity{}, err
	}
	return id.recorded(), nil
}
