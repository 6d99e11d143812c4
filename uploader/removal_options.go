package uploader

import (
	"time"

	"iksync/state"
)

// Policy says what becomes of the library's copy of a file that is no longer to
// be there.
type Policy int

const (
	// Keep leaves the copy where it is.
	Keep Policy = iota
	// Trash moves it to the trash folder.
	Trash
	// Delete deletes it, for good.
	Delete
)

// String names the policy as the configuration does.
func (p Policy) String() string {
	switch p {
	case Keep:
		return "keep"
	case Trash:
		return "trash"
	case Delete:
		return "delete"
	}
	return "unknown"
}

// Removal says what becomes of a root's copies in the library, and bounds it.
type Removal struct {
	Gone     Policy // of files that are gone locally
	Filtered Policy // of files that the filters leave out by now
	// After is how long a copy stays: until then the file's return cancels the removal.
	After time.Duration
	// MaxFiles is how many copies may be removed in one hour; 0 is no such bound.
	MaxFiles int64
	// MaxShare is the same as a share of the root's files, 0.10 for 10 %; 0 is no
	// such bound. With both the smaller counts.
	MaxShare float64
	// EmptyFolders says what becomes of folders that deletes have emptied.
	EmptyFolders EmptyFolders
	// TrashFolder is the remote folder for Trash, "/iksync-trash"; each day has a
	// subfolder.
	TrashFolder string
}

// RemovesFolders reports whether folders that deletes have emptied are removed.
func (r *Removal) RemovesFolders() bool { return r.EmptyFolders == RemoveEmpty && r.does(Delete) }

// Policy is that for records of files that are absent for a reason.
func (r *Removal) Policy(why state.Absence) Policy {
	if why == state.Filtered {
		return r.Filtered
	}
	return r.Gone
}

// does reports whether a policy is that for any reason.
func (r *Removal) does(p Policy) bool { return r.Gone == p || r.Filtered == p }

// removes reports whether anything is removed.
func (r *Removal) removes() bool { return r.Gone != Keep || r.Filtered != Keep }

// EmptyFolders says what becomes of a folder of the library that iksync made and that
// its deletes have emptied.
type EmptyFolders int

const (
	// KeepEmpty leaves it.
	KeepEmpty EmptyFolders = iota
	// RemoveEmpty removes it some minutes after the last change below it. ImageKit
	// removes a folder with all that is in it by then: what somebody else has uploaded
	// and no listing shows yet is lost.
	RemoveEmpty
)

// String names the choice as the configuration does.
func (e EmptyFolders) String() string {
	switch e {
	case KeepEmpty:
		return "keep"
	case RemoveEmpty:
		return "remove"
	}
	return "unknown"
}

// Duplicates says what is done with a file whose content is in the library already.
type Duplicates int

const (
	// UploadDuplicates uploads it like any other.
	UploadDuplicates Duplicates = iota
	// CopyDuplicates lets ImageKit copy what it has.
	CopyDuplicates
	// SkipDuplicates leaves it out.
	SkipDuplicates
)

// String names the choice as the configuration does.
func (d Duplicates) String() string {
	switch d {
	case UploadDuplicates:
		return "upload"
	case CopyDuplicates:
		return "copy"
	case SkipDuplicates:
		return "skip"
	}
	return "unknown"
}
