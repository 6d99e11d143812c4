package watcher

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rootIdentity tells one directory from another in its place. The file system's
// own id is taken where it has one, since a device's number may change when it
// is plugged in again.
type rootIdentity struct {
	fs  [2]int32
	dev uint64
	ino uint64
	// mount is that of the directory; a mount that is made again has another, and
	// is the same root. 0 where the kernel does not tell.
	mount uint64
}

// same reports whether both are the same directory.
func (r rootIdentity) same(o rootIdentity) bool {
	r.mount = o.mount
	return r == o
}

// bytes is the identity as it is kept, without the mount.
func (r rootIdentity) bytes() []byte {
	return fmt.Appendf(nil, "%x:%x:%x:%x", uint32(r.fs[0]), uint32(r.fs[1]), r.dev, r.ino)
}

func identify(path string) (rootIdentity, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return rootIdentity{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return rootIdentity{}, &os.PathError{Op: "stat", Path: path, Err: unix.ENOTDIR}
	}
	id := rootIdentity{ino: st.Ino}
	var stx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &stx); err == nil && stx.Mask&unix.STATX_MNT_ID != 0 {
		id.mount = stx.Mnt_id
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err == nil && fs.Fsid.Val != [2]int32{} {
		id.fs = fs.Fsid.Val
		return id, nil
	}
	id.dev = uint64(st.Dev)
	return id, nil
}

// NetworkFileSystem names the type of a file system whose changes inotify does
// not see when others make them, so that a root there is polled; "" for any other.
func NetworkFileSystem(path string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return ""
	}
	kinds := map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.FUSE_SUPER_MAGIC: "FUSE",
		unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda", unix.NCP_SUPER_MAGIC: "NCP",
	}
	if kind, ok := kinds[int64(fs.Type)&0xffffffff]; ok {
		return kind
	}
	return ""
}
