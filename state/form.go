package state

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A form is what the answers for many files have in common: ImageKit's JSON with a
// token in place of each value that the record has in a column of its own, and what
// comes before the remote path in their URLs. With it a record takes a quarter of the
// room. It is used only where it gives back the answer to the byte.
type form struct {
	urlBase       string
	thumbnailBase string
	thumbnail     bool // there is one
	fileType      string
	body          string
}

// Tokens are control characters, which JSON has in no string, but for those that are
// white space. They are written out in the view iksync_files, too.
const (
	tokenFileID    = '\x01'
	tokenVersion   = '\x02'
	tokenName      = '\x03'
	tokenPath      = '\x04'
	tokenURL       = '\x05'
	tokenThumbnail = '\x06'
	tokenSize      = '\x0e'
	tokenWidth     = '\x0f'
	tokenHeight    = '\x10'
)

const (
	// maxForm is up to which length (bytes) a body is worth being a form: longer ones
	// hold metadata of their own.
	maxForm = 1 << 10
	// maxForms bounds the forms. Without room for one more the answer is stored whole.
	maxForms = 512
)

// unlike are keys whose values differ from file to file.
var unlike = [...]string{`"createdAt"`, `"updatedAt"`, `"duration"`, `"bitRate"`, `"metadata"`, `"embeddedMetadata"`, `"AITags":[`, `?updatedAt=`}

// formOf returns the form of a record's answer; false when it has none.
func formOf(f *File) (form, bool) {
	body := f.Response
	if len(body) == 0 || len(body) > maxForm || f.URL == "" || f.FileType == "" || f.RemotePath == "" {
		return form{}, false
	}
	for _, key := range unlike {
		if bytes.Contains(body, []byte(key)) {
			return form{}, false
		}
	}
	for _, c := range body {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return form{}, false
		}
	}
	m := form{thumbnail: f.ThumbnailURL != "", fileType: f.FileType}
	if base, ok := strings.CutSuffix(f.URL, f.RemotePath); ok {
		m.urlBase = base
	}
	if base, ok := strings.CutSuffix(f.ThumbnailURL, f.RemotePath); ok && m.thumbnail {
		m.thumbnailBase = base
	}
	body = bytes.Clone(body)
	body = tokenize(body, `"fileId"`, f.FileID, tokenFileID)
	body = tokenize(body, `"id"`, f.VersionID, tokenVersion)
	body = tokenize(body, `"name"`, f.Name, tokenName)
	body = tokenize(body, `"filePath"`, f.RemotePath, tokenPath)
	body = tokenize(body, `"url"`, f.URL, tokenURL)
	body = tokenize(body, `"thumbnailUrl"`, f.ThumbnailURL, tokenThumbnail)
	body = tokenizeNumber(body, `"size"`, f.LibrarySize(), tokenSize)
	body = tokenizeNumber(body, `"width"`, f.Width, tokenWidth)
	body = tokenizeNumber(body, `"height"`, f.Height, tokenHeight)
	m.body = string(body)
	return m, bytes.Equal(m.fill(nil, f), f.Response)
}

// tokenize puts a token in place of a key's value, if that is the given text. It changes
// body, as do the following.
func tokenize(body []byte, key, value string, token byte) []byte {
	if value == "" {
		return body
	}
	return replaceValue(body, key, `"`+value+`"`, string([]byte{'"', token, '"'}))
}

func tokenizeNumber(body []byte, key string, value int64, token byte) []byte {
	return replaceValue(body, key, strconv.FormatInt(value, 10), string([]byte{token}))
}

// replaceValue replaces the value of the first such key that has it by what is no
// longer.
func replaceValue(body []byte, key, value, by string) []byte {
	for from := 0; ; {
		i := bytes.Index(body[from:], []byte(key))
		if i < 0 {
			return body
		}
		from += i + len(key)
		rest, ok := bytes.CutPrefix(body[from:], []byte(":"))
		if !ok {
			continue
		}
		after, ok := bytes.CutPrefix(rest, []byte(value))
		if ok && len(after) > 0 && (after[0] == ',' || after[0] == '}') {
			return append(append(body[:from+1], by...), after...)
		}
	}
}

// fill appends the answer for a record.
func (m *form) fill(out []byte, f *File) []byte {
	out = slices.Grow(out, len(m.body)+len(f.URL)+len(f.ThumbnailURL)+2*len(f.RemotePath)+64)
	for i := range len(m.body) {
		switch c := m.body[i]; c {
		case tokenFileID:
			out = append(out, f.FileID...)
		case tokenVersion:
			out = append(out, f.VersionID...)
		case tokenName:
			out = append(out, f.Name...)
		case tokenPath:
			out = append(out, f.RemotePath...)
		case tokenURL:
			out = append(out, f.URL...)
		case tokenThumbnail:
			out = append(out, f.ThumbnailURL...)
		case tokenSize:
			out = strconv.AppendInt(out, f.LibrarySize(), 10)
		case tokenWidth:
			out = strconv.AppendInt(out, f.Width, 10)
		case tokenHeight:
			out = strconv.AppendInt(out, f.Height, 10)
		default:
			out = append(out, c)
		}
	}
	return out
}

// stored is what the columns of a record hold: with a form, nothing of what follows
// from it.
type stored struct {
	form                                      any // its id; nil without
	versionID, name, url, thumbnail, fileType string
}

// storedAs returns the columns of a record with a form's id; 0 is none. Values that do
// not follow from the form are in the columns all the same.
func storedAs(f *File, id int64, m *form) stored {
	s := stored{versionID: f.VersionID, name: f.Name, url: f.URL, thumbnail: f.ThumbnailURL, fileType: f.FileType}
	if id == 0 {
		return s
	}
	s.form = id
	if s.versionID == f.FileID {
		s.versionID = ""
	}
	if s.name == path.Base(f.RemotePath) {
		s.name = ""
	}
	if s.url == m.urlBase+f.RemotePath {
		s.url = ""
	}
	if m.thumbnail && s.thumbnail == m.thumbnailBase+f.RemotePath {
		s.thumbnail = ""
	}
	if s.fileType == m.fileType {
		s.fileType = ""
	}
	return s
}

// derive gives a record that was read with its form what follows from that.
func (m *form) derive(f *File) {
	if f.VersionID == "" {
		f.VersionID = f.FileID
	}
	if f.Name == "" {
		f.Name = path.Base(f.RemotePath)
	}
	if f.URL == "" {
		f.URL = m.urlBase + f.RemotePath
	}
	if f.ThumbnailURL == "" && m.thumbnail {
		f.ThumbnailURL = m.thumbnailBase + f.RemotePath
	}
	if f.FileType == "" {
		f.FileType = m.fileType
	}
}

// fits reports whether the record comes back from its columns as it is.
func (s *stored) fits(f *File, m *form) bool {
	g := File{FileID: f.FileID, RemotePath: f.RemotePath, VersionID: s.versionID, Name: s.name, URL: s.url, ThumbnailURL: s.thumbnail, FileType: s.fileType}
	m.derive(&g)
	return g.VersionID == f.VersionID && g.Name == f.Name && g.URL == f.URL && g.ThumbnailURL == f.ThumbnailURL && g.FileType == f.FileType
}

// knownForm is a form that is in the file.
type knownForm struct {
	form
	id int64
}

// store returns how the record of an answer is stored, and notes its form if it is a
// new one.
func (tx *Tx) store(f *File) (stored, error) {
	// Most answers have the form of the one before, of that type of file. To see so is
	// several times as fast as to find it.
	if m := tx.w.latest[f.FileType]; m != nil {
		tx.w.filled = m.fill(tx.w.filled[:0], f)
		if bytes.Equal(tx.w.filled, f.Response) {
			if s := storedAs(f, m.id, &m.form); s.url == "" && s.thumbnail == "" && s.fits(f, &m.form) {
				return s, nil
			}
		}
	}
	m, ok := formOf(f)
	if ok {
		s := storedAs(f, 1, &m)
		ok = s.fits(f, &m)
	}
	if !ok {
		return storedAs(f, 0, nil), nil
	}
	id, err := tx.formID(&m)
	if err != nil {
		return stored{}, fmt.Errorf("note the form of the answer for %q: %w", f.Path, err)
	}
	if id != 0 {
		tx.w.latest[f.FileType] = &knownForm{m, id}
	}
	return storedAs(f, id, &m), nil
}

// formID returns the id of a form; 0 when it is new and there is no room for it.
func (tx *Tx) formID(m *form) (int64, error) {
	if id, ok := tx.w.forms[*m]; ok {
		return id, nil
	}
	var thumbnail any
	if m.thumbnail {
		thumbnail = m.thumbnailBase
	}
	var id int64
	err := tx.QueryRow(`SELECT id FROM forms WHERE body = ? AND url_base = ? AND thumbnail_base IS ? AND file_type = ?`, m.body, m.urlBase, thumbnail, m.fileType).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var n int64
		if err := tx.QueryRow(`SELECT count(*) FROM forms`).Scan(&n); err != nil || n >= maxForms {
			return 0, err
		}
		err = tx.QueryRow(`INSERT INTO forms (url_base, thumbnail_base, file_type, body) VALUES (?, ?, ?, ?) RETURNING id`,
			m.urlBase, thumbnail, m.fileType, m.body).Scan(&id)
	}
	if err == nil {
		tx.w.forms[*m] = id
	}
	return id, err
}
