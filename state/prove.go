package state

// Stat is what iksync compares of a local file to see that it changed.
type Stat struct {
	Size    int64 // bytes
	MtimeNs int64 // as [EncodeTime] gives it: most often nanoseconds since 1970
	CtimeNs int64
	Dev     uint64 // not compared for one path, since device numbers change at a reboot
	Ino     uint64
	// Mount is 0 on a file system that proves identity: a file keeps its inode number
	// over mounts, and no program can set its change time. On any other file system
	// Mount numbers the mount in which the file was seen; see [Mounts].
	Mount int64
}

// Same reports whether two looks at one path show a file that was not changed between
// them, as far as metadata can tell. A file system that proves no identity may give a
// path another inode number at any time, so the number is ignored within one mount.
func (s Stat) Same(o Stat) bool {
	return s.Size == o.Size && s.MtimeNs == o.MtimeNs && s.CtimeNs == o.CtimeNs &&
		(s.Ino == o.Ino || s.Mount != 0 && s.Mount == o.Mount)
}

// Alike reports whether two looks differ in nothing that a copy or a move keeps.
func (s Stat) Alike(o Stat) bool { return s.Size == o.Size && s.MtimeNs == o.MtimeNs }

// identical reports whether a file is, by a proven identity, the one that another path
// had: the same inode of the same device, and not written since.
func (s Stat) identical(o Stat) bool {
	return s.Mount == 0 && o.Mount == 0 && s.Dev == o.Dev && s.Ino == o.Ino && s.CtimeNs == o.CtimeNs && s.Alike(o)
}

// Content is what is known of the content of a file or of a record.
type Content struct {
	Stat     Stat
	Read     bool // somebody has read it: Hash is known
	Hash     Hash
	Unproven bool // of a record: the asset was never compared with the file
}

// Content returns what the record tells of the content of its asset.
func (f *File) Content() Content {
	return Content{Stat: f.Stat, Read: !f.Hash.IsZero(), Hash: f.Hash, Unproven: f.Unproven}
}

// Relation says how a file stands to a record.
type Relation int

// The relations.
const (
	SamePath  Relation = iota // the file is at the record's path
	OtherPath                 // the file is at another path: a move or a copy
)

// Proof is what is proven about the content of a file and a record.
type Proof int

// The proofs.
const (
	Different   Proof = iota // nothing shows that the contents are equal: the file is sent
	NotCompared              // they may be equal: reading the file decides
	Equal                    // the contents are known to be equal
)

// String names the proof as listings do.
func (p Proof) String() string {
	switch p {
	case Equal:
		return "equal"
	case NotCompared:
		return "not compared"
	}
	return "different"
}

// Prove decides what is proven about the content of an observed file and of a record.
// It is the only place that decides when bytes need not be sent. The statements of
// package queue that compare records with files in SQL follow it.
func Prove(record, observed Content, r Relation) Proof {
	if r == OtherPath && (record.Unproven || !record.Read) {
		return Different // such a record is no source
	}
	if observed.Read {
		if record.Read && observed.Hash == record.Hash && observed.Stat.Size == record.Stat.Size {
			return Equal
		}
		return Different
	}
	switch {
	case r == SamePath && record.Stat.Same(observed.Stat) && record.Stat.Ino == observed.Stat.Ino, r == OtherPath && record.Stat.identical(observed.Stat):
		return Equal
	case record.Stat.Alike(observed.Stat):
		if !record.Read {
			return Different // reading the file would compare it with nothing
		}
		return NotCompared
	}
	return Different
}
