// Package faultfs is a file system for tests: it shows a directory, its backing,
// at a mount point the way that the file systems of users do.
//
// It imitates inode numbers that a mount assigns anew, inode numbers that a new file
// takes over from a removed one, a change time that is the modification time, coarse
// times, folded case, another disk at the same mount point, I/O errors, listings that
// lack entries, and calls without an answer. It counts the bytes that are read.
//
//	f := faultfs.New(t, faultfs.Options{Inodes: faultfs.InOrder, CtimeIsMtime: true, Grain: 2 * time.Second})
//	write(f.Dir("a.jpg"))     // through the mount, with inotify events
//	write(f.Backing("b.jpg")) // behind it, without events; visible at once
//	f.Remount()               // every inode number is assigned anew
//	f.Fail("2024", faultfs.List, unix.EIO)
//
// Only tests import this package, so no program contains it. It works on Linux, where
// FUSE is; on other systems, and where nothing can be mounted, New skips the test. With
// IKSYNC_TEST_FUSE=required New fails the test instead.
//
// The kernel caches nothing: each call on the mount is a call of this package, each
// byte that is read is counted, and a change of the backing is seen by the next call.
//
// What differs from a disk:
//   - statfs reports the type FUSE, and no file system id. The device number of a mount
//     that was made again may be the previous one.
//   - With FoldCase, a rename that changes only the case of a name does nothing, as on
//     vfat under Linux. Rename the file in the backing.
//   - A process that is killed while one of its calls hangs ends after Release or Close,
//     not before.
package faultfs

// Required is the environment variable that, set to "required", lets tests fail where
// they would skip because FUSE is missing.
const Required = "IKSYNC_TEST_FUSE"
