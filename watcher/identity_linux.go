package watcher

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"iksync/queue"
)

// rootIdentity tells one directory from another in its place.
type rootIdentity struct {
	// disk is an id that belongs to the file system and not to the device or mount by which
	// it is reached; "" where there is none.
	disk string
	// dev is the device's number where there is no disk. It changes when a device is plugged
	// in again, and another device may have it then.
	dev uint64
	ino uint64
	// mount is that of the directory; a mount that is made again has another, and
	// is the same root. 0 where the kernel does not tell.
	mount uint64

	earlier string // as earlier versions have recorded it
	weak    bool   // and that was a device's number
}

// same reports whether both are the same directory, as far as can be told while iksync runs.
func (r rootIdentity) same(o rootIdentity) bool {
	return r.disk == o.disk && r.dev == o.dev && r.ino == o.ino
}

// recorded is the identity as it is kept: without what another mount changes.
func (r rootIdentity) recorded() queue.Identity {
	id := queue.Identity{ID: []byte(queue.ByFiles), Earlier: []byte(r.earlier), Weak: r.weak}
	if r.disk != "" {
		id.ID = fmt.Appendf(nil, "%s:%x", r.disk, r.ino)
	}
	return id
}

func identify(path string) (rootIdentity, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return rootIdentity{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return rootIdentity{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	id := rootIdentity{ino: st.Ino}
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stx); err == nil && stx.Mask&unix.STATX_MNT_ID != 0 {
		id.mount = stx.Mnt_id
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		id.dev, id.weak = uint64(st.Dev), true
		return id, nil
	}
	id.disk, id.weak = diskOf(fd, &fs)
	if id.disk == "" {
		id.dev = uint64(st.Dev)
	}
	fsid, dev := fs.Fsid.Val, uint64(0)
	if fsid == [2]int32{} {
		dev = uint64(st.Dev)
	}
	id.earlier = fmt.Sprintf("%x:%x:%x:%x", uint32(fsid[0]), uint32(fsid[1]), dev, st.Ino)
	return id, nil
}

// diskOf returns an id that belongs to the file system of an open directory, "" where it has
// none, and whether statfs gives something else as its id.
//
//   - ext2 to ext4, btrfs: the id of statfs is made of the UUID on the disk; that of btrfs, in
//     which all subvolumes have one UUID and the same inode of their root, also of the
//     subvolume. It is taken first because it is the same in every version of the kernel.
//   - ZFS, ntfs3: the id of statfs is on the disk as well. On tmpfs it is chosen at random for
//     each mount.
//   - XFS, f2fs, bcachefs and whatever else has a UUID for FS_IOC_GETFSUUID (Linux 6.9). In
//     statfs they have the number of the device. XFS answers an older request, too.
//   - All others have none: vfat, exfat (a number of the device), overlay (the id of the upper
//     layer), NFS, SMB, FUSE, 9p, Ceph (whatever the server or the program says).
func diskOf(fd int, fs *unix.Statfs_t) (disk string, weak bool) {
	kind := int64(fs.Type) & 0xffffffff
	switch kind {
	case unix.EXT4_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, zfsMagic, ntfs3Magic:
		if fs.Fsid.Val != [2]int32{} {
			return fmt.Sprintf("fsid:%x:%08x%08x", kind, uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1])), false
		}
		if kind == unix.BTRFS_SUPER_MAGIC {
			return "", true // its UUID would not tell subvolumes apart
		}
	case unix.OVERLAYFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return "", true
	}
	if networkKind(kind) != "" {
		return "", true
	}
	var answer fsUUID
	if ioctl(fd, getFSUUID, unsafe.Pointer(&answer)) == nil && 0 < answer.len && int(answer.len) <= len(answer.uuid) {
		return uuidOf(answer.uuid[:answer.len]), true
	}
	var geometry xfsGeometry
	if kind == unix.XFS_SUPER_MAGIC && ioctl(fd, getXFSGeometry, unsafe.Pointer(&geometry)) == nil {
		return uuidOf(geometry.uuid[:]), true
	}
	return "", true
}

func uuidOf(uuid []byte) string {
	if len(bytes.Trim(uuid, "\x00")) == 0 {
		return ""
	}
	return "uuid:" + hex.EncodeToString(uuid)
}

const (
	zfsMagic   = 0x2fc12fc1
	ntfs3Magic = 0x7366746e

	// As most architectures number requests. Where others do, they are refused, and the
	// files are the evidence.
	getFSUUID      = 0x80111500 // FS_IOC_GETFSUUID: _IOR(0x15, 0, struct fsuuid2)
	getXFSGeometry = 0x8070587c // XFS_IOC_FSGEOMETRY_V4: _IOR('X', 124, struct xfs_fsop_geom_v4)
)

// fsUUID is struct fsuuid2 of the kernel.
type fsUUID struct {
	len  uint8
	uuid [16]byte
}

// xfsGeometry is struct xfs_fsop_geom_v4 of the kernel.
type xfsGeometry struct {
	_    [64]byte
	uuid [16]byte
	_    [32]byte
}

func ioctl(fd int, request uintptr, answer unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(answer))
		if errno == 0 {
			return nil
		}
		if !errors.Is(errno, unix.EINTR) {
			return errno
		}
	}
}

// NetworkFileSystem names the type of a file system whose changes inotify does
// not see when others make them, so that a root there is polled; "" for any other.
func NetworkFileSystem(path string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return ""
	}
	return networkKind(int64(fs.Type) & 0xffffffff)
}

func networkKind(magic int64) string {
	kinds := map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.FUSE_SUPER_MAGIC: "FUSE",
		unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "Ceph", unix.AFS_SUPER_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda", unix.NCP_SUPER_MAGIC: "NCP",
	}
	return kinds[magic]
}
