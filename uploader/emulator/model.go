package emulator

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// asset is a file of the library with its versions, the current one last.
// Assets and versions never change once they are in the library: a change puts
// a new asset in the old one's place, so that an answer can be written from a
// snapshot, without the lock.
type asset struct {
	FileID   string     `json:"fileId"`
	Folder   string     `json:"folder"` // "/" or "/a/b", without a slash at its end
	Name     string     `json:"name"`
	Created  time.Time  `json:"created"`
	Versions []*version `json:"versions"`
}

// version is one content of an asset and what was said about it.
type version struct {
	ID      string    `json:"id"`
	Number  int       `json:"number"`
	Blob    string    `json:"blob"` // name in the object store; copies share one
	Content content   `json:"content"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`

	Tags              []string       `json:"tags,omitempty"`
	AITags            []aiTag        `json:"aiTags,omitempty"`
	CustomCoordinates string         `json:"customCoordinates,omitempty"`
	CustomMetadata    map[string]any `json:"customMetadata,omitempty"`
	Description       string         `json:"description,omitempty"`
	IsPrivate         bool           `json:"isPrivate,omitempty"`
	IsDraft           bool           `json:"isDraft,omitempty"`
}

// content is what can be read off the bytes of a version.
type content struct {
	Size        int64  `json:"size"`
	Hash        digest `json:"hash"`
	MIME        string `json:"mime"`
	Width       int    `json:"width,omitempty"`
	Height      int    `json:"height,omitempty"`
	Orientation int    `json:"orientation,omitempty"`
	HasAlpha    bool   `json:"hasAlpha,omitempty"`
}

// aiTag is a tag that an extension would have found.
type aiTag struct {
	Name       string  `json:"name"`
	Confidence float64 `json:"confidence"`
	Source     string  `json:"source"`
}

// digest is the xxh3-128 of a content, in the canonical (big endian) order.
type digest [16]byte

// MarshalText gives the digest in hex, as it stands in the journal.
func (d digest) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, d[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (d *digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("digest of %d characters, want %d", len(text), 2*len(d))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

func (a *asset) current() *version { return a.Versions[len(a.Versions)-1] }

func (a *asset) path() string { return join(a.Folder, a.Name) }

// version finds a version by its id; nil when there is none.
func (a *asset) version(id string) *version {
	for _, v := range a.Versions {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// with gives a copy of a with other versions.
func (a *asset) with(versions []*version) *asset {
	b := *a
	b.Versions = versions
	return &b
}

// edited gives a copy of a whose current version was changed by edit.
func (a *asset) edited(edit func(*version)) *asset {
	v := *a.current()
	edit(&v)
	versions := slices.Clone(a.Versions)
	versions[len(versions)-1] = &v
	return a.with(versions)
}

// append gives a copy of a with more versions, numbered on from its last.
func (a *asset) append(more []*version) *asset {
	next := a.nextNumber()
	versions := slices.Clone(a.Versions)
	for i, v := range more {
		c := *v
		c.Number = next + i
		versions = append(versions, &c)
	}
	return a.with(versions)
}

// nextNumber is the number of the version to come. The last version need not
// have the highest: an old one may have been restored.
func (a *asset) nextNumber() int {
	highest := 0
	for _, v := range a.Versions {
		highest = max(highest, v.Number)
	}
	return highest + 1
}

// join puts a name into a folder.
func join(folder, name string) string {
	if folder == "/" {
		return "/" + name
	}
	return folder + "/" + name
}
