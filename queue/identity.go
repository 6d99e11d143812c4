package queue

import "bytes"

// ByFiles is the recorded identity of a directory on a file system without an id that
// belongs to the disk: its files alone tell whether it is the recorded directory.
const ByFiles = "files"

// Identity tells one directory from another in its place.
type Identity struct {
	ID []byte // [ByFiles] where the file system has no id that belongs to the disk
	// Earlier is the form in which earlier versions recorded the identity of this
	// directory. Where it was made of a device's number it is Weak: another disk may have it.
	Earlier []byte
	Weak    bool
}

// Is reports whether a recorded identity is that of the directory, and whether an id that
// belongs to the disk tells so. Where it does not, the files decide. Clones and snapshots
// share the ids of disks.
func (id *Identity) Is(recorded []byte) (same, proven bool) {
	switch {
	case string(id.ID) == ByFiles, string(recorded) == ByFiles:
		return true, false
	case bytes.Equal(recorded, id.ID):
		return true, true
	case len(id.Earlier) > 0 && bytes.Equal(recorded, id.Earlier):
		return true, !id.Weak
	}
	return false, false
}

// sighted is what a complete scan tells of a root's directory, compared with the last
// complete scan that was accepted.
type sighted struct {
	same     bool // it is that of the directory
	proven   bool // and belongs to its disk
	any      bool // whatever directory comes next is to be accepted
	stranger bool // another directory was found in its place before

	records int64 // of files that are there, or that no scan has found absent before
	missing int64 // of them, those whose files are absent, and were not moved
	found   int64 // of them, those whose files have the recorded size and mtime
	inStep  int64 // files that are as recorded, down to inode and ctime
	all     int64 // records
}

// manyMissing is how many files must be missing for a directory of the recorded identity, in
// which no file is as recorded, to be doubted. The deletion guard limits fewer.
const manyMissing = 10

// replaced reports whether the directory is not the recorded one as far as is known, so that
// nothing is inferred from what is absent in it.
func (s *sighted) replaced() bool {
	switch {
	case s.any:
		return false
	case s.same && s.proven: // or a clone of the disk, or a snapshot
		return s.missing >= manyMissing && s.found <= 0
	case s.same: // the files are the evidence
		return 2*s.found < s.records
	}
	// Another directory is accepted if its files are the recorded ones, and not copies:
	// a backup lacks what was made after it. Files that were uploaded from it tell nothing.
	return s.stranger || 2*s.inStep < s.all
}
