package watcher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"iksync/state"
)

// direntBuffer holds some thousand entries of one getdents call.
const direntBuffer = 64 << 10

// dir is an open directory. Entries are looked at relative to it, so a path
// that is swapped meanwhile leads nowhere else, and the kernel resolves one
// name instead of a path.
type dir struct {
	fd int
}

// openRootDir opens the root of a tree.
func openRootDir(path string) (*dir, error) {
	return openAt(unix.AT_FDCWD, path, 0)
}

// open opens a directory below d. follow takes a symlink that a check against
// the root has allowed.
func (d *dir) open(name string) (*dir, error) {
	return openAt(d.fd, strings.TrimSuffix(name, "/"), unix.O_NOFOLLOW)
}

func openAt(at int, name string, flags int) (*dir, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK|flags, 0)
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return nil, &os.PathError{Op: "open", Path: name, Err: err}
			}
			return &dir{fd: fd}, nil
		}
	}
}

// openLinked opens a directory that was reached through a symlink inside the
// root; f is open by then and stays the caller's.
func openLinked(f *os.File) (*dir, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the descriptor of %s: %w", f.Name(), err)
	}
	return &dir{fd: fd}, nil
}

// trust tells what is proven of the files in the directory.
func (d *dir) trust(m *state.Mounts) (state.Trust, error) { return m.Of(d.fd) }

func (d *dir) close() { _ = unix.Close(d.fd) }

// stat looks at an entry without following it.
func (d *dir) stat(name string) (fileInfo, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			return infoOf(&st), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fileInfo{}, &os.PathError{Op: "stat", Path: name, Err: err}
		}
	}
}

// self looks at the directory itself.
func (d *dir) self() (fileInfo, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return fileInfo{}, os.NewSyscallError("fstat", err)
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) fileInfo {
	info := fileInfo{stat: state.Stat{
		Size:    st.Size,
		MtimeNs: state.EncodeTime(st.Mtim.Unix()),
		CtimeNs: state.EncodeTime(st.Ctim.Unix()),
		Dev:     uint64(st.Dev),
		Ino:     st.Ino,
	}}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		info.kind = regular
	case unix.S_IFDIR:
		info.kind = directory
	case unix.S_IFLNK:
		info.kind = symlink
	default:
		info.kind = special
	}
	return info
}

// entries lists the directory, unsorted. buf is scratch of direntBuffer bytes.
func (d *dir) entries(buf []byte) ([]entry, error) {
	type span struct {
		from, to int
		kind     kind
	}
	var names []byte // all of them in one piece: one allocation, not one a name
	var spans []span
	for {
		n, err := unix.ReadDirent(d.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("getdents", err)
		}
		if n == 0 {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name with NUL.
			const header = 19
			if len(rest) < header {
				return nil, errors.New("getdents: a short entry")
			}
			length := int(binary.NativeEndian.Uint16(rest[16:]))
			if length < header || length > len(rest) {
				return nil, errors.New("getdents: an entry of impossible length")
			}
			name := rest[header:length]
			for i, c := range name {
				if c == 0 {
					name = name[:i]
					break
				}
			}
			k := kindOfDirent(rest[18])
			rest = rest[length:]
			if string(name) == "." || string(name) == ".." {
				continue
			}
			from := len(names)
			names = append(names, name...)
			if k == unknown {
				info, err := d.stat(string(name))
				if errors.Is(err, unix.ENOENT) {
					names = names[:from]
					continue
				}
				k = info.kind
				if err != nil {
					k = regular // the next look at it tells the error
				}
			}
			if k == directory {
				names = append(names, '/')
			}
			spans = append(spans, span{from, len(names), k})
		}
	}
	all := string(names)
	list := make([]entry, len(spans))
	for i, s := range spans {
		list[i] = entry{name: all[s.from:s.to], kind: s.kind}
	}
	return list, nil
}

func kindOfDirent(t byte) kind {
	switch t {
	case unix.DT_REG:
		return regular
	case unix.DT_DIR:
		return directory
	case unix.DT_LNK:
		return symlink
	case unix.DT_UNKNOWN:
		return unknown
	}
	return special
}
