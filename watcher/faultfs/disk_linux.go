package faultfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// disk answers the kernel's requests of one mount. A node is a file that the kernel
// knows, by a descriptor with O_PATH, so that it stays the same file wherever it is
// moved, through the mount or behind it.
type disk struct {
	fuse.RawFileSystem // answers ENOSYS to all that is not here
	f                  *FS
	base               string
	root               key
	dead               chan struct{}

	mu      sync.Mutex
	nodes   map[uint64]*node
	byKey   map[key]uint64
	handles map[uint64]*handle
	last    uint64 // node or handle
}

type node struct {
	fd      int
	key     key
	lookups uint64
}

type handle struct {
	fd      int
	path    string
	entries []fuse.DirEntry
}

func openDisk(f *FS, backing string) (*disk, error) {
	fd, err := unix.Open(backing, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: backing, Err: err}
	}
	k, err := keyOf(fd, "")
	if err != nil {
		return nil, err
	}
	d := &disk{RawFileSystem: fuse.NewDefaultRawFileSystem(), f: f, root: k, dead: make(chan struct{}),
		nodes: make(map[uint64]*node), byKey: make(map[key]uint64), handles: make(map[uint64]*handle), last: fuse.FUSE_ROOT_ID}
	d.nodes[fuse.FUSE_ROOT_ID] = &node{fd: fd, key: k}
	d.byKey[k] = fuse.FUSE_ROOT_ID
	d.base, err = os.Readlink(proc(fd))
	return d, err
}

func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nodes {
		_ = unix.Close(n.fd)
	}
	for _, h := range d.handles {
		_ = unix.Close(h.fd)
	}
	clear(d.nodes)
	clear(d.handles)
}

// alive lists the files of the backing.
func (d *disk) alive() map[key]bool {
	all := make(map[key]bool)
	_ = filepath.WalkDir(d.base, func(at string, _ fs.DirEntry, err error) error {
		if err == nil {
			if k, err := keyOf(unix.AT_FDCWD, at); err == nil { // otherwise it has just gone
				all[k] = true
			}
		}
		return nil
	})
	return all
}

func keyOf(fd int, name string) (key, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return key{}, os.NewSyscallError("statx", err)
	}
	k := key{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		k.born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return k, nil
}

func proc(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// status is what a call of the backing ended with.
func status(err error) fuse.Status { return fuse.ToStatus(err) }

func (d *disk) node(id uint64) *node {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[id]
}

func (d *disk) handle(id uint64) *handle {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handles[id]
}

func (d *disk) open(h *handle) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	d.handles[d.last] = h
	return d.last
}

// path is where a file is, relative to the root.
func (d *disk) path(n *node, name ...string) string {
	at, _ := os.Readlink(proc(n.fd)) // never fails for a descriptor that is open
	at = strings.TrimSuffix(strings.TrimPrefix(at, d.base), " (deleted)")
	return clean(path.Join(append([]string{at}, name...)...))
}

func (d *disk) meet(op Op, n *node, name ...string) fuse.Status {
	return d.f.faults.meet(op, func() string { return d.path(n, name...) }, d.dead)
}

// at gives a directory and the name that an entry has in it, which differs with folded case.
func (d *disk) at(op Op, id uint64, name string) (*node, string, fuse.Status) {
	n := d.node(id)
	if s := d.meet(op, n, name); !s.Ok() {
		return nil, "", s
	}
	d.f.mu.Lock()
	folds := d.f.o.FoldCase
	d.f.mu.Unlock()
	if !folds || unix.Faccessat(n.fd, name, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return n, name, fuse.OK
	}
	entries, err := os.ReadDir(proc(n.fd))
	if err != nil {
		return nil, "", status(err)
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return n, e.Name(), fuse.OK
		}
	}
	return n, name, fuse.OK
}

// entry looks up a name of a directory for the kernel.
func (d *disk) entry(dir *node, name string, out *fuse.EntryOut) fuse.Status {
	fd, err := unix.Openat(dir.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return status(err)
	}
	k, err := keyOf(fd, "")
	if err != nil {
		_ = unix.Close(fd)
		return status(err)
	}
	d.mu.Lock()
	id, known := d.byKey[k]
	if known {
		_ = unix.Close(fd)
	} else {
		d.last++
		id = d.last
		d.nodes[id], d.byKey[k] = &node{fd: fd, key: k}, id
	}
	n := d.nodes[id]
	n.lookups++
	d.mu.Unlock()
	out.NodeId, out.Generation = id, 1
	return d.attr(n, &out.Attr)
}

// Forget drops what the kernel does not know any more.
func (d *disk) Forget(id, lookups uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[id]
	if n == nil || id == fuse.FUSE_ROOT_ID {
		return
	}
	if n.lookups -= min(lookups, n.lookups); n.lookups == 0 {
		_ = unix.Close(n.fd)
		delete(d.nodes, id)
		delete(d.byKey, n.key)
	}
}

// attr is what stat reports.
func (d *disk) attr(n *node, out *fuse.Attr) fuse.Status {
	var st syscall.Stat_t
	if err := syscall.Fstat(n.fd, &st); err != nil {
		return status(err)
	}
	out.FromStat(&st)
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	o := &d.f.o
	isRoot := n.key == d.root
	switch {
	case isRoot && o.RootInode != 0:
		out.Ino = o.RootInode
	case isRoot && o.Inodes != Stable:
		out.Ino = 1
	default:
		out.Ino = d.f.numbers.number(n.key, o, d.alive)
	}
	if o.Grain > 0 {
		for _, t := range []struct {
			sec  *uint64
			nsec *uint32
		}{{&out.Atime, &out.Atimensec}, {&out.Mtime, &out.Mtimensec}, {&out.Ctime, &out.Ctimensec}} {
			*t.sec, *t.nsec = coarse(*t.sec, *t.nsec, o.Grain)
		}
	}
	if o.CtimeIsMtime {
		out.Ctime, out.Ctimensec = out.Mtime, out.Mtimensec
	}
	return fuse.OK
}

// coarse rounds a time down to the grain, also one before 1970.
func coarse(sec uint64, nsec uint32, grain time.Duration) (uint64, uint32) {
	if whole := int64(grain / time.Second); whole > 0 {
		s := int64(sec)
		return uint64(s - (s%whole+whole)%whole), 0
	}
	return sec, nsec - nsec%uint32(grain)
}

// Lookup finds a name.
func (d *disk) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, name, s := d.at(Stat, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return d.entry(dir, name, out)
}

// GetAttr is stat.
func (d *disk) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := d.node(in.NodeId)
	if s := d.meet(Stat, n); !s.Ok() {
		return s
	}
	return d.attr(n, &out.Attr)
}

// SetAttr is chmod, chown, truncate and utimes.
func (d *disk) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := d.node(in.NodeId)
	if s := d.meet(Write, n); !s.Ok() {
		return s
	}
	if mode, ok := in.GetMode(); ok {
		if err := unix.Chmod(proc(n.fd), mode); err != nil {
			return status(err)
		}
	}
	uid, isUID := in.GetUID()
	gid, isGID := in.GetGID()
	if isUID || isGID {
		owner, group := -1, -1
		if isUID {
			owner = int(uid)
		}
		if isGID {
			group = int(gid)
		}
		if err := unix.Fchownat(n.fd, "", owner, group, unix.AT_EMPTY_PATH); err != nil {
			return status(err)
		}
	}
	if size, ok := in.GetSize(); ok {
		if err := unix.Truncate(proc(n.fd), int64(size)); err != nil {
			return status(err)
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	for i, bits := range []struct {
		is, now uint32
		sec     uint64
		nsec    uint32
	}{{fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec}, {fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec}} {
		switch {
		case in.Valid&bits.now != 0:
			times[i].Nsec = unix.UTIME_NOW
		case in.Valid&bits.is != 0:
			times[i] = unix.Timespec{Sec: int64(bits.sec), Nsec: int64(bits.nsec)}
		}
	}
	if times[0].Nsec != unix.UTIME_OMIT || times[1].Nsec != unix.UTIME_OMIT {
		if err := unix.UtimesNanoAt(n.fd, "", times, unix.AT_EMPTY_PATH); err != nil {
			return status(err)
		}
	}
	return d.attr(n, &out.Attr)
}

// Readlink reads a symlink.
func (d *disk) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n := d.node(in.NodeId)
	if s := d.meet(Stat, n); !s.Ok() {
		return nil, s
	}
	target := make([]byte, unix.PathMax)
	size, err := unix.Readlinkat(n.fd, "", target)
	return target[:max(size, 0)], status(err)
}

// StatFs is statfs.
func (d *disk) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	n := d.node(in.NodeId)
	if s := d.meet(Statfs, n); !s.Ok() {
		return s
	}
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(n.fd, &st); err != nil {
		return status(err)
	}
	out.FromStatfsT(&st)
	return fuse.OK
}

// made gives what was made to who made it, and looks it up.
func (d *disk) made(err error, dir *node, name string, by fuse.Caller, out *fuse.EntryOut) fuse.Status {
	if err != nil {
		return status(err)
	}
	if os.Geteuid() == 0 && by.Uid != 0 {
		if err := unix.Fchownat(dir.fd, name, int(by.Uid), int(by.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return status(err)
		}
	}
	return d.entry(dir, name, out)
}

// Mknod makes a file without content, a pipe or a socket.
func (d *disk) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return d.made(unix.Mknodat(dir.fd, name, in.Mode, int(in.Rdev)), dir, name, in.Caller, out)
}

// Mkdir makes a directory.
func (d *disk) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return d.made(unix.Mkdirat(dir.fd, name, in.Mode), dir, name, in.Caller, out)
}

// Symlink makes a symlink.
func (d *disk) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return d.made(unix.Symlinkat(target, dir.fd, name), dir, name, in.Caller, out)
}

// Link makes a hard link.
func (d *disk) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	if err := unix.Linkat(unix.AT_FDCWD, proc(d.node(in.Oldnodeid).fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return status(err)
	}
	return d.entry(dir, name, out)
}

// Unlink removes a file.
func (d *disk) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return status(unix.Unlinkat(dir.fd, name, 0))
}

// Rmdir removes a directory.
func (d *disk) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	return status(unix.Unlinkat(dir.fd, name, unix.AT_REMOVEDIR))
}

// Rename moves a file or a directory.
func (d *disk) Rename(_ <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	dir, from, s := d.at(Write, in.NodeId, from)
	if !s.Ok() {
		return s
	}
	target, to, s := d.at(Write, in.Newdir, to)
	if !s.Ok() {
		return s
	}
	return status(unix.Renameat2(dir.fd, from, target.fd, to, uint(in.Flags)))
}

// opening are the flags of an open that are passed on. The kernel gives offsets for
// O_APPEND, and buffers of any address for O_DIRECT.
func opening(flags uint32) int {
	return int(flags)&(unix.O_ACCMODE|unix.O_TRUNC|unix.O_EXCL|unix.O_SYNC|unix.O_DSYNC) | unix.O_CLOEXEC
}

// Create makes a file and opens it.
func (d *disk) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	dir, name, s := d.at(Write, in.NodeId, name)
	if !s.Ok() {
		return s
	}
	fd, err := unix.Openat(dir.fd, name, opening(in.Flags)|unix.O_CREAT|unix.O_NOFOLLOW, in.Mode&0o7777)
	if s := d.made(err, dir, name, in.Caller, &out.EntryOut); !s.Ok() {
		if err == nil {
			_ = unix.Close(fd)
		}
		return s
	}
	out.Fh, out.OpenFlags = d.open(&handle{fd: fd, path: d.path(dir, name)}), fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

// Open opens a file.
func (d *disk) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := d.node(in.NodeId)
	if s := d.meet(Open, n); !s.Ok() {
		return s
	}
	fd, err := unix.Open(proc(n.fd), opening(in.Flags)&^unix.O_EXCL|unix.O_NONBLOCK, 0)
	if err != nil {
		return status(err)
	}
	out.Fh, out.OpenFlags = d.open(&handle{fd: fd, path: d.path(n)}), fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

// Read reads.
func (d *disk) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := d.handle(in.Fh)
	if s := d.meet(Read, d.node(in.NodeId)); !s.Ok() {
		return nil, s
	}
	n, err := unix.Pread(h.fd, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil {
		return nil, status(err)
	}
	if n > 0 {
		d.f.faults.count(h.path, n)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Write writes.
func (d *disk) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if s := d.meet(Write, d.node(in.NodeId)); !s.Ok() {
		return 0, s
	}
	n, err := unix.Pwrite(d.handle(in.Fh).fd, data, int64(in.Offset))
	return uint32(max(n, 0)), status(err)
}

// Fsync is fsync.
func (d *disk) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if s := d.meet(Write, d.node(in.NodeId)); !s.Ok() {
		return s
	}
	return status(unix.Fsync(d.handle(in.Fh).fd))
}

// Release closes a file.
func (d *disk) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { d.ReleaseDir(in) }

// ReleaseDir closes a directory.
func (d *disk) ReleaseDir(in *fuse.ReleaseIn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.handles[in.Fh]; h != nil {
		_ = unix.Close(h.fd)
		delete(d.handles, in.Fh)
	}
}

// OpenDir opens a directory.
func (d *disk) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := d.node(in.NodeId)
	if s := d.meet(List, n); !s.Ok() {
		return s
	}
	fd, err := unix.Openat(n.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return status(err)
	}
	out.Fh = d.open(&handle{fd: fd})
	return fuse.OK
}

// ReadDir lists a directory, in the order of names. Its beginning takes the list;
// the kernel asks for one part of a handle at a time.
func (d *disk) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	n, h := d.node(in.NodeId), d.handle(in.Fh)
	if s := d.meet(List, n); !s.Ok() {
		return s
	}
	if in.Offset == 0 {
		list, err := os.ReadDir(proc(h.fd))
		if err != nil {
			return status(err)
		}
		list = slices.DeleteFunc(list, func(e os.DirEntry) bool { return d.f.faults.hides(d.path(n, e.Name())) })
		h.entries = []fuse.DirEntry{{Name: ".", Mode: unix.S_IFDIR}, {Name: "..", Mode: unix.S_IFDIR}}
		for _, e := range list {
			h.entries = append(h.entries, fuse.DirEntry{Name: e.Name(), Mode: modeOf(e.Type())})
		}
	}
	for i := int(in.Offset); i < len(h.entries); i++ {
		if !out.AddDirEntry(h.entries[i]) {
			break
		}
	}
	return fuse.OK
}

func modeOf(t fs.FileMode) uint32 {
	switch t {
	case 0:
		return unix.S_IFREG
	case fs.ModeDir:
		return unix.S_IFDIR
	case fs.ModeSymlink:
		return unix.S_IFLNK
	case fs.ModeNamedPipe:
		return unix.S_IFIFO
	case fs.ModeSocket:
		return unix.S_IFSOCK
	}
	return 0 // unknown: whoever lists looks
}
