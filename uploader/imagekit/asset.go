package imagekit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Asset is what ImageKit says of a stored file. Name and FilePath are the truth
// of where it is, whatever was asked for.
type Asset struct {
	FileID       string
	VersionID    string
	Name         string
	FilePath     string
	URL          string
	ThumbnailURL string // images only
	FileType     string // "image" or "non-image"
	Size         int64  // bytes
	Width        int64  // pixels; 0 when not given
	Height       int64
	Private      bool   // its URL must be signed; see [Client.DownloadSigned]
	Raw          []byte // the whole answer
	// Age is how long ago it was changed last, by ImageKit's clock; 0 when it does
	// not say. Find alone gives it.
	Age time.Duration
}

// assetJSON is decoded leniently: ImageKit's numbers are JSON numbers of any
// form, and nulls are real.
type assetJSON struct {
	FileID       string `json:"fileId"`
	Name         string `json:"name"`
	FilePath     string `json:"filePath"`
	URL          string `json:"url"`
	ThumbnailURL string `json:"thumbnailUrl"`
	Thumbnail    string `json:"thumbnail"` // in listings and details
	FileType     string `json:"fileType"`
	Size         number `json:"size"`
	Width        number `json:"width"`
	Height       number `json:"height"`
	IsPrivate    bool   `json:"isPrivateFile"`
	UpdatedAt    text   `json:"updatedAt"`
	VersionInfo  struct {
		ID string `json:"id"`
	} `json:"versionInfo"`
}

// number is a whole number of zero or more. Anything else counts as not given.
type number struct {
	value int64
	given bool
}

// text is a string. Anything else counts as not given.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = text(s)
	}
	return nil
}

func (n *number) UnmarshalJSON(text []byte) error {
	const most = 1 << 53 // up to here a float64 holds every whole number
	f, err := strconv.ParseFloat(string(text), 64)
	if err == nil && f >= 0 && f <= most {
		*n = number{int64(f), true}
	}
	return nil
}

func (a *assetJSON) asset(raw []byte) *Asset {
	thumbnail := a.ThumbnailURL
	if thumbnail == "" {
		thumbnail = a.Thumbnail
	}
	return &Asset{
		FileID: a.FileID, VersionID: a.VersionInfo.ID, Name: a.Name, FilePath: a.FilePath, URL: a.URL,
		ThumbnailURL: thumbnail, FileType: a.FileType, Size: a.Size.value, Width: a.Width.value, Height: a.Height.value, Private: a.IsPrivate, Raw: raw,
	}
}

// decodeAsset reads the answer to an upload. An answer of 202 names no file
// yet: the Asset then has an empty FileID.
func decodeAsset(ans *answer) (*Asset, error) {
	var a assetJSON
	if err := decode(ans.body, &a); err != nil {
		return nil, ans.broken("upload", err)
	}
	if ans.status == statusAccepted {
		return &Asset{Raw: ans.body}, nil
	}
	if err := a.check(); err != nil {
		return nil, ans.broken("upload", err)
	}
	return a.asset(ans.body), nil
}

// check reports what an answer lacks to tell where a file is and what it holds.
func (a *assetJSON) check() error {
	switch {
	case a.FileID == "":
		return errors.New("it has no fileId")
	case !isID(a.FileID):
		return fmt.Errorf("its fileId is %.100q", a.FileID)
	case !isPath(a.FilePath):
		return fmt.Errorf("its filePath is %.1000q", a.FilePath)
	case !a.Size.given:
		return errors.New("it has no size")
	}
	return nil
}

// isID reports whether an id can be one: it must stand in a URL to be of use.
// ImageKit's have 24 letters and digits.
func isID(id string) bool {
	const most = 200
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	return id != "" && id != "." && id != ".." && len(id) <= most && !strings.ContainsFunc(id, odd)
}

// isPath reports whether a path can be that of a file. JSON that is not UTF-8 is
// read with U+FFFD for what it has there, and so says nothing of where it is.
func isPath(p string) bool {
	const most = 64 << 10 // several times the longest local path, as escapes may lengthen it
	odd := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	return strings.HasPrefix(p, "/") && len(p) <= most && !strings.ContainsFunc(p, odd)
}

// decode is json.Unmarshal, except that a field of an unforeseen type counts as
// not given: a fileId must not be lost over the width of a thumbnail.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && mistyped.Field != "" {
		return nil
	}
	return err
}
