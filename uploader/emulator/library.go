package emulator

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// library is the index of everything stored, without a lock of its own. It
// changes only by apply, which the journal's replay uses as well.
type library struct {
	root   *folder
	byID   map[string]*entry
	order  []*entry // by creation; the entries of dropped assets hold nil
	dead   int      // dropped entries in order
	blobs  map[string]int
	bytes  int64 // of all versions
	fields map[string]metadataField
	seq    int64
}

// entry is an asset's place in the library, which its changes do not move.
type entry struct {
	asset   *asset
	seq     int64
	listed  time.Time   // before it listings do not show the asset
	updates []time.Time // recent overwrites, for the throttle
}

// folder is a node of the folder tree.
type folder struct {
	id      string
	path    string
	created time.Time
	listed  time.Time
	files   map[string]*entry
	folders map[string]*folder
}

// record is one step of a change as it stands in the journal. One of its
// fields is set.
type record struct {
	Put    *asset         `json:"put,omitempty"`    // stands in for the asset of that fileId
	Add    *addition      `json:"add,omitempty"`    // a version more
	Drop   string         `json:"drop,omitempty"`   // the fileId that goes
	Folder *newFolder     `json:"folder,omitempty"` // a folder whose parent is there
	Remove string         `json:"remove,omitempty"` // a folder that goes with all in it
	Field  *metadataField `json:"field,omitempty"`  // stands in for the field of that id
}

type addition struct {
	FileID  string   `json:"fileId"`
	Version *version `json:"version"`
}

type newFolder struct {
	ID      string    `json:"id"`
	Path    string    `json:"path"`
	Created time.Time `json:"created"`
}

func newLibrary() *library {
	return &library{
		root:   &folder{path: "/"},
		byID:   make(map[string]*entry),
		blobs:  make(map[string]int),
		fields: make(map[string]metadataField),
	}
}

// apply makes a change and gives the blobs that no version holds any more. A
// record that fits nothing, which a valid journal never has, changes nothing.
func (l *library) apply(r record, lag time.Duration) (freed []string) {
	switch {
	case r.Put != nil:
		return l.put(r.Put, lag)
	case r.Add != nil:
		if e := l.byID[r.Add.FileID]; e != nil {
			// The append may share the old asset's array: nobody else appends
			// to it, and nobody reads beyond the old asset's length.
			e.asset = e.asset.with(append(e.asset.Versions, r.Add.Version))
			l.hold(r.Add.Version)
		}
	case r.Drop != "":
		if e := l.byID[r.Drop]; e != nil {
			freed = l.drop(e)
			l.compact()
		}
	case r.Folder != nil:
		if parent := l.folder(parentOf(r.Folder.Path)); parent != nil {
			parent.child(*r.Folder, lag)
		}
	case r.Remove != "":
		freed = l.remove(r.Remove)
	case r.Field != nil:
		l.fields[r.Field.ID] = *r.Field
	}
	return freed
}

func (l *library) put(a *asset, lag time.Duration) (freed []string) {
	for _, v := range a.Versions {
		l.hold(v)
	}
	parent := l.folder(a.Folder)
	if parent == nil || len(a.Versions) == 0 {
		return nil
	}
	e := l.byID[a.FileID]
	if e == nil {
		l.seq++
		e = &entry{seq: l.seq, listed: a.Created.Add(lag)}
		l.byID[a.FileID] = e
		l.order = append(l.order, e)
	} else {
		freed = l.release(e.asset)
		delete(l.folder(e.asset.Folder).files, e.asset.Name)
	}
	e.asset = a
	if parent.files == nil {
		parent.files = make(map[string]*entry)
	}
	parent.files[a.Name] = e
	return freed
}

func (l *library) drop(e *entry) []string {
	a := e.asset
	if f := l.folder(a.Folder); f != nil && f.files[a.Name] == e {
		delete(f.files, a.Name)
	}
	delete(l.byID, a.FileID)
	e.asset = nil
	l.dead++
	return l.release(a)
}

func (l *library) remove(path string) (freed []string) {
	f := l.folder(path)
	if f == nil || path == "/" {
		return nil
	}
	for e := range f.all() {
		freed = append(freed, l.drop(e)...)
	}
	delete(l.folder(parentOf(path)).folders, f.name())
	l.compact()
	return freed
}

// compact forgets dropped entries once they are the larger part, which keeps
// the cost of a drop constant on average.
func (l *library) compact() {
	if l.dead > 1024 && l.dead > len(l.order)/2 {
		l.order = slices.DeleteFunc(l.order, func(e *entry) bool { return e.asset == nil })
		l.dead = 0
	}
}

func (l *library) hold(v *version) {
	l.blobs[v.Blob]++
	l.bytes += v.Content.Size
}

func (l *library) release(a *asset) (freed []string) {
	for _, v := range a.Versions {
		l.bytes -= v.Content.Size
		if l.blobs[v.Blob]--; l.blobs[v.Blob] == 0 {
			delete(l.blobs, v.Blob)
			freed = append(freed, v.Blob)
		}
	}
	return freed
}

// folder finds a folder by its clean path; nil when there is none.
func (l *library) folder(path string) *folder {
	f := l.root
	for rest := path[1:]; rest != "" && f != nil; {
		name, after, _ := strings.Cut(rest, "/")
		f, rest = f.folders[name], after
	}
	return f
}

// file finds an asset by folder and name; nil when there is none.
func (l *library) file(folder, name string) *entry {
	if f := l.folder(folder); f != nil {
		return f.files[name]
	}
	return nil
}

// missing gives the records that make path and its parents, as far as they are
// not there, and none of those in planned, which a change makes already.
func (l *library) missing(path string, now time.Time, planned map[string]bool) (made []record) {
	for path != "/" && l.folder(path) == nil && !planned[path] {
		if planned != nil {
			planned[path] = true
		}
		made = append(made, record{Folder: &newFolder{ID: newID(now), Path: path, Created: now}})
		path = parentOf(path)
	}
	slices.Reverse(made) // parents first
	return made
}

func (f *folder) name() string { return f.path[strings.LastIndexByte(f.path, '/')+1:] }

func (f *folder) child(n newFolder, lag time.Duration) {
	name := n.Path[strings.LastIndexByte(n.Path, '/')+1:]
	if f.folders[name] != nil {
		return
	}
	if f.folders == nil {
		f.folders = make(map[string]*folder)
	}
	f.folders[name] = &folder{id: n.ID, path: n.Path, created: n.Created, listed: n.Created.Add(lag)}
}

// all ranges over the assets in f and below it.
func (f *folder) all() func(yield func(*entry) bool) {
	return func(yield func(*entry) bool) {
		for g := range f.tree() {
			for _, e := range g.files {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// tree ranges over f and the folders below it, parents first.
func (f *folder) tree() func(yield func(*folder) bool) {
	return func(yield func(*folder) bool) { f.walk(yield) }
}

func (f *folder) walk(yield func(*folder) bool) bool {
	if !yield(f) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(f.folders)) {
		if !f.folders[name].walk(yield) {
			return false
		}
	}
	return true
}

// objects counts the files, versions and folders below f, as far as a limit.
func (f *folder) objects(limit int) int {
	n := -1 // f itself
	for g := range f.tree() {
		n++
		for _, e := range g.files {
			n += len(e.asset.Versions)
		}
		if n > limit {
			break
		}
	}
	return n
}
