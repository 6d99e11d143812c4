package emulator

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// versionInfo names a version in answers.
type versionInfo struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (v *version) info() versionInfo {
	return versionInfo{ID: v.ID, Name: "Version " + strconv.Itoa(v.Number)}
}

// uploadAnswer is the body of a successful upload.
type uploadAnswer struct {
	FileID       string      `json:"fileId"`
	Name         string      `json:"name"`
	Size         int64       `json:"size"`
	VersionInfo  versionInfo `json:"versionInfo"`
	FilePath     string      `json:"filePath"`
	URL          string      `json:"url"`
	FileType     string      `json:"fileType"`
	Height       int         `json:"height,omitempty"`
	Width        int         `json:"width,omitempty"`
	Orientation  int         `json:"orientation,omitempty"`
	ThumbnailURL string      `json:"thumbnailUrl,omitempty"`
	AITags       []aiTag     `json:"AITags"`
	Description  string      `json:"description,omitempty"`

	ExtensionStatus map[string]string `json:"extensionStatus,omitempty"`

	// Only when responseFields asks. A null is sent as such.
	Tags                 any `json:"tags,omitempty"`
	CustomCoordinates    any `json:"customCoordinates,omitempty"`
	IsPrivateFile        any `json:"isPrivateFile,omitempty"`
	IsPublished          any `json:"isPublished,omitempty"`
	CustomMetadata       any `json:"customMetadata,omitempty"`
	EmbeddedMetadata     any `json:"embeddedMetadata,omitempty"`
	Metadata             any `json:"metadata,omitempty"`
	SelectedFieldsSchema any `json:"selectedFieldsSchema,omitempty"`
}

// uploaded describes the asset as an upload's answer does.
func (s *Server) uploaded(c *call, a *asset, p *params) *uploadAnswer {
	v := a.current()
	endpoint := s.endpoint(c.Host)
	u := &uploadAnswer{
		FileID: a.FileID, Name: a.Name, Size: v.Content.Size, VersionInfo: v.info(),
		FilePath: a.path(), URL: endpoint + escapePath(a.path()), FileType: v.Content.fileType(),
		Height: v.Content.Height, Width: v.Content.Width, Orientation: v.Content.Orientation,
		AITags: v.AITags, Description: v.Description, ExtensionStatus: p.extensions,
	}
	if v.Content.isImage() {
		u.ThumbnailURL = endpoint + "/tr:n-media_library_thumbnail" + escapePath(a.path())
	}
	for field := range p.respond {
		switch field {
		case "tags":
			u.Tags = nullable(v.Tags)
		case "customCoordinates":
			u.CustomCoordinates = orNull(v.CustomCoordinates)
		case "isPrivateFile":
			u.IsPrivateFile = v.IsPrivate
		case "isPublished":
			u.IsPublished = !v.IsDraft
		case "customMetadata":
			u.CustomMetadata = orEmpty(v.CustomMetadata)
		case "embeddedMetadata":
			u.EmbeddedMetadata = struct{}{}
		case "metadata":
			u.Metadata = s.describeMetadata(v)
		case "selectedFieldsSchema":
			u.SelectedFieldsSchema = struct{}{}
		}
	}
	return u
}

// details is a file or a version of one as the management API shows it.
type details struct {
	Type              string         `json:"type"` // "file" or "file-version"
	Name              string         `json:"name"`
	FilePath          string         `json:"filePath"`
	FileID            string         `json:"fileId"`
	CreatedAt         string         `json:"createdAt"`
	UpdatedAt         string         `json:"updatedAt"`
	Tags              []string       `json:"tags"`
	AITags            []aiTag        `json:"AITags"`
	VersionInfo       versionInfo    `json:"versionInfo"`
	EmbeddedMetadata  struct{}       `json:"embeddedMetadata"`
	CustomCoordinates *string        `json:"customCoordinates"`
	CustomMetadata    map[string]any `json:"customMetadata"`
	Description       string         `json:"description,omitempty"`
	IsPrivateFile     bool           `json:"isPrivateFile"`
	IsPublished       bool           `json:"isPublished"`
	URL               string         `json:"url"`
	Thumbnail         string         `json:"thumbnail,omitempty"`
	FileType          string         `json:"fileType"`
	MIME              string         `json:"mime"`
	Height            int            `json:"height,omitempty"`
	Width             int            `json:"width,omitempty"`
	Size              int64          `json:"size"`
	HasAlpha          bool           `json:"hasAlpha"`

	ExtensionStatus map[string]string `json:"extensionStatus,omitempty"`
}

// describe gives the details of a version of a. Its URL has the time of the
// last change, which ImageKit adds so that caches are passed by.
func (s *Server) describe(endpoint string, a *asset, v *version) *details {
	d := &details{
		Type: "file", Name: a.Name, FilePath: a.path(), FileID: a.FileID,
		CreatedAt: timestamp(v.Created), UpdatedAt: timestamp(v.Updated),
		Tags: v.Tags, AITags: v.AITags, VersionInfo: v.info(),
		CustomMetadata: orEmpty(v.CustomMetadata), Description: v.Description,
		IsPrivateFile: v.IsPrivate, IsPublished: !v.IsDraft,
		FileType: v.Content.fileType(), MIME: v.Content.MIME,
		Height: v.Content.Height, Width: v.Content.Width,
		Size: v.Content.Size, HasAlpha: v.Content.HasAlpha,
	}
	if v == a.current() {
		// A file is as old as its first version.
		d.CreatedAt = timestamp(a.Created)
	} else {
		d.Type = "file-version"
	}
	if v.CustomCoordinates != "" {
		d.CustomCoordinates = &v.CustomCoordinates
	}
	d.URL = endpoint + escapePath(a.path()) + "?"
	if d.Type == "file-version" {
		d.URL += "ik-obj-version=" + v.ID + "&"
	}
	d.URL += "updatedAt=" + strconv.FormatInt(v.Updated.UnixMilli(), 10)
	if v.Content.isImage() {
		d.Thumbnail = d.URL + "&tr=n-ik_ml_thumbnail"
	}
	return d
}

// folderDetails is a folder in a listing.
type folderDetails struct {
	Type           string         `json:"type"`
	FolderID       string         `json:"folderId"`
	Name           string         `json:"name"`
	FolderPath     string         `json:"folderPath"`
	CustomMetadata map[string]any `json:"customMetadata"`
	CreatedAt      string         `json:"createdAt"`
	UpdatedAt      string         `json:"updatedAt"`
}

func describeFolder(f *folder) *folderDetails {
	return &folderDetails{
		Type: "folder", FolderID: f.id, Name: f.name(), FolderPath: f.path,
		CustomMetadata: map[string]any{}, CreatedAt: timestamp(f.created), UpdatedAt: timestamp(f.created),
	}
}

// mediaMetadata is the answer of the metadata endpoints, as far as the
// emulator reads it off a file.
type mediaMetadata struct {
	Height          int      `json:"height,omitempty"`
	Width           int      `json:"width,omitempty"`
	Size            int64    `json:"size"`
	Format          string   `json:"format"`
	HasTransparency bool     `json:"hasTransparency"`
	EXIF            struct{} `json:"exif"`
}

func (s *Server) describeMetadata(v *version) mediaMetadata {
	return mediaMetadata{
		Height: v.Content.Height, Width: v.Content.Width, Size: v.Content.Size,
		Format: v.format(), HasTransparency: v.Content.HasAlpha,
	}
}

// format is a version's format as searches call it: "jpg", "png", "mp4".
func (v *version) format() string {
	switch _, kind, _ := strings.Cut(v.Content.MIME, "/"); kind {
	case "jpeg":
		return "jpg"
	case "svg+xml":
		return "svg"
	case "octet-stream", "plain":
		return strings.TrimPrefix(path.Ext(v.Blob), ".")
	case "quicktime":
		return "mov"
	default:
		return kind
	}
}

// endpoint gives the prefix of asset URLs for a request to host.
func (s *Server) endpoint(host string) string {
	if s.options.Endpoint != "" {
		return strings.TrimRight(s.options.Endpoint, "/")
	}
	return "http://" + host + s.mount
}

func escapePath(path string) string { return (&url.URL{Path: path}).EscapedPath() }

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// null is a JSON null that omitempty does not leave out.
type null struct{}

func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func orNull(text string) any {
	if text == "" {
		return null{}
	}
	return text
}

func nullable(tags []string) any {
	if len(tags) == 0 {
		return null{}
	}
	return slices.Clone(tags)
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
