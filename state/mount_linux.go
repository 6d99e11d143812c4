package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// provingTypes are the file systems that keep inode numbers over mounts and set change
// times by themselves. All others prove nothing: vfat and exfat number files as they meet
// them and have no change time; so do most that are made in user space (sshfs); what a
// file server or a stack of layers (NFS, SMB, overlay) passes on depends on what is
// below it.
var provingTypes = map[int64]string{
	unix.EXT4_SUPER_MAGIC:     "ext4", // ext2 and ext3 as well
	unix.XFS_SUPER_MAGIC:      "XFS",
	unix.BTRFS_SUPER_MAGIC:    "btrfs",
	unix.F2FS_SUPER_MAGIC:     "f2fs",
	unix.NILFS_SUPER_MAGIC:    "nilfs2",
	unix.REISERFS_SUPER_MAGIC: "reiserfs",
	unix.TMPFS_MAGIC:          "tmpfs",
	0x2fc12fc1:                "ZFS",
	0xca451a4e:                "bcachefs",
	0x3153464a:                "JFS",
}

// otherTypes names some that prove nothing.
var otherTypes = map[int64]string{
	unix.MSDOS_SUPER_MAGIC: "vfat", unix.EXFAT_SUPER_MAGIC: "exfat", unix.FUSE_SUPER_MAGIC: "FUSE", unix.NFS_SUPER_MAGIC: "NFS",
	unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB", unix.V9FS_MAGIC: "9p",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.CEPH_SUPER_MAGIC: "Ceph", unix.ISOFS_SUPER_MAGIC: "ISO 9660", unix.UDF_SUPER_MAGIC: "UDF",
	0x5346544e: "NTFS", 0x7366746e: "NTFS", 0x482b: "HFS+",
}

// Of tells what the file system proves that an open file or directory is on.
func (m *Mounts) Of(fd int) (Trust, error) {
	t, err := trustOf(fd)
	if err != nil {
		return t, err
	}
	if t.Proven() {
		disproved, err := m.isDisproved(fd)
		if err != nil || !disproved {
			return t, err
		}
		t.Why = "inode numbers on this " + t.Kind + " changed although nothing else did"
	}
	key, err := m.key(fd)
	if err == nil {
		t.Mount, err = m.number(key)
	}
	return t, err
}

// trustOf is Mounts.Of without the number of the mount.
func trustOf(fd int) (Trust, error) {
	var fs unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return Trust{}, os.NewSyscallError("fstatfs", err)
	}
	magic := int64(fs.Type) & 0xffffffff
	if kind, ok := provingTypes[magic]; ok {
		if givesHandles(fd) {
			return Trust{Kind: kind, Why: "a file on " + kind + " keeps its inode number, and programs can't set its change time"}, nil
		}
		return Trust{Mount: unnumbered, Kind: kind, Why: "the file system gives no lasting file handles"}, nil
	}
	kind := otherTypes[magic]
	if kind == "" {
		kind = fmt.Sprintf("type 0x%x", magic)
	}
	return Trust{Mount: unnumbered, Kind: kind, Why: "inode numbers and change times on " + kind + " do not prove which file it is"}, nil
}

// Disprove notes that a scan has seen the inode numbers of a file system change although
// nothing else did: it proves no identity from now on. path is on it.
func (m *Mounts) Disprove(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	key, err := disprovedKey(fd)
	if err != nil {
		return err
	}
	_, err = m.number(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disproved[string(key)] = true
	return err
}

func (m *Mounts) isDisproved(fd int) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disproved == nil {
		keys, err := m.keys([]byte(disprovedPrefix))
		if err != nil {
			return false, err
		}
		m.disproved = keys
	}
	if len(m.disproved) == 0 {
		return false, nil
	}
	key, err := disprovedKey(fd)
	return m.disproved[string(key)], err
}

const disprovedPrefix = "disproved "

// disprovedKey names a file system by its own id.
func disprovedKey(fd int) ([]byte, error) {
	var fs unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	return fmt.Appendf([]byte(disprovedPrefix), "%x %x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1])), nil
}

// At is Of for what is at a path.
func (m *Mounts) At(path string) (Trust, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return Trust{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return m.Of(fd)
}

// TrustAt is [Mounts.At] without a state file: Trust.Mount tells no mount from another.
func TrustAt(path string) (Trust, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return Trust{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return trustOf(fd)
}

// givesHandles reports whether the file system has handles for its files that outlast a
// mount, without which it can't be asked for a file by its number.
func givesHandles(fd int) bool {
	_, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	return !errors.Is(err, unix.EOPNOTSUPP) // what forbids the call says nothing about the file system
}

// key tells the mount that a file is on from all others.
func (m *Mounts) key(fd int) ([]byte, error) {
	var stx unix.Statx_t
	err := ignoringEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE, &stx)
	})
	if err != nil {
		return nil, os.NewSyscallError("statx", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	key := bytes.TrimSpace(boot)
	if err != nil || stx.Mask&unix.STATX_MNT_ID_UNIQUE == 0 { // the number of an ended mount may be given to a later one
		key = m.process
	}
	key = append(bytes.Clone(key), ' ')
	key = binary.BigEndian.AppendUint64(key, stx.Mnt_id)
	return binary.BigEndian.AppendUint64(key, uint64(stx.Dev_major)<<32|uint64(stx.Dev_minor)), nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
