package faultfs

import "time"

// Inodes is how a mount numbers its files.
type Inodes int

const (
	// Stable keeps the inode numbers of the backing, on each mount.
	Stable Inodes = iota
	// InOrder numbers files from 2 on in the order in which they are first looked up
	// after a mount, as vfat, exfat and sshfs do. The root is 1.
	InOrder
	// Random draws the numbers, from a small range so that files often get a number
	// that another file had. Options.Seed and the count of mounts decide them.
	Random
)

// Options is how a file system behaves. The zero value behaves as its backing does.
type Options struct {
	// Backing is the directory that is shown; "" makes one.
	Backing string
	// Dir is the mount point, an existing directory; "" makes one.
	Dir string
	// Inodes is how files are numbered.
	Inodes Inodes
	// Seed decides the numbers of Random.
	Seed uint64
	// RootInode is the number of the root; 0 leaves it to Inodes. XFS has 128 on every disk.
	RootInode uint64
	// ReuseInodes gives a new file the number of a file that was removed, if there is one:
	// the lowest number. Each new file costs a walk of the backing.
	ReuseInodes bool
	// CtimeIsMtime reports the modification time as the change time.
	CtimeIsMtime bool
	// Grain is what all times are rounded down to; 0 is a nanosecond, vfat has 2 s.
	Grain time.Duration
	// FoldCase finds a name whatever its case is. A new name keeps its case.
	FoldCase bool
}

// Op is a kind of calls.
type Op string

// The kinds of calls. The way to a file consists of Stat calls: a failing Stat fails all others.
const (
	Any    Op = ""       // all of them
	Stat   Op = "stat"   // lookup, stat, readlink
	Open   Op = "open"   // open of a file that exists
	Read   Op = "read"   // read
	List   Op = "list"   // open and read of a directory
	Write  Op = "write"  // every call that changes something, and fsync
	Statfs Op = "statfs" // statfs
)
