package imagekit

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Raw          []byte // the whole answer
}

// assetJSON is decoded leniently: ImageKit's numbers are JSON numbers of any
// form, and nulls are real.
type assetJSON struct {
	FileID       string   `json:"fileId"`
	Name         string   `json:"name"`
	FilePath     string   `json:"filePath"`
	URL          string   `json:"url"`
	ThumbnailURL string   `json:"thumbnailUrl"`
	Thumbnail    string   `json:"thumbnail"` // in listings and details
	FileType     string   `json:"fileType"`
	Size         *float64 `json:"size"`
	Width        *float64 `json:"width"`
	Height       *float64 `json:"height"`
	VersionInfo  struct {
		ID string `json:"id"`
	} `json:"versionInfo"`
}

// mostWhole is up to where a float64 holds every whole number.
const mostWhole = 1 << 53

func (a *assetJSON) asset(raw []byte) *Asset {
	whole := func(f *float64) int64 {
		if f == nil || *f < 0 || *f > mostWhole {
			return 0
		}
		return int64(*f)
	}
	thumbnail := a.ThumbnailURL
	if thumbnail == "" {
		thumbnail = a.Thumbnail
	}
	return &Asset{
		FileID: a.FileID, VersionID: a.VersionInfo.ID, Name: a.Name, FilePath: a.FilePath, URL: a.URL,
		ThumbnailURL: thumbnail, FileType: a.FileType, Size: whole(a.Size), Width: whole(a.Width), Height: whole(a.Height), Raw: raw,
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
	switch {
	case a.FileID == "":
		return nil, ans.broken("upload", fmt.Errorf("it has no fileId"))
	case a.FilePath == "" || a.FilePath[0] != '/':
		return nil, ans.broken("upload", fmt.Errorf("its filePath is %q", a.FilePath))
	case a.Size == nil || *a.Size < 0 || *a.Size > mostWhole:
		return nil, ans.broken("upload", fmt.Errorf("it has no size"))
	}
	return a.asset(ans.body), nil
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
