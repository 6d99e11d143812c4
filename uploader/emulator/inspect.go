package emulator

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

const octetStream = "application/octet-stream"

// inspect tells the kind of a content by its beginning, as ImageKit does: by
// magic number. Text has none; named settles it later, by the extension.
func inspect(head []byte) received {
	got := received{}
	c := &got.content
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		c.MIME = "image/jpeg"
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		c.MIME = "image/png"
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		c.MIME = "image/gif"
	default:
		kind := mimetype.Detect(head)
		c.MIME, _, _ = strings.Cut(kind.String(), ";")
		for k := kind; k != nil; k = k.Parent() {
			if k.Is("text/plain") {
				got.isText = true
			}
		}
	}
	got.short = !c.measure(bytes.NewReader(head))
	return got
}

// named settles what the head could not: the kind of a text, by the extension
// of its file's name.
func (r *received) named(name string) {
	if r.isText {
		r.content.MIME = textType(name)
	}
}

// textType is the type of a text file by its extension (documentation of the
// upload API: text without an extension is application/octet-stream).
func textType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".txt", ".log", ".text":
		return "text/plain"
	case ".htm", ".html":
		return "text/html"
	case ".css":
		return "text/css"
	case ".csv":
		return "text/csv"
	case ".md":
		return "text/markdown"
	case ".js", ".mjs":
		return "text/javascript"
	case ".json", ".map":
		return "application/json"
	case ".xml":
		return "application/xml"
	case ".xmp":
		return "application/rdf+xml"
	case ".svg":
		return "image/svg+xml"
	case ".yaml", ".yml":
		return "application/yaml"
	case ".vtt":
		return "text/vtt"
	case ".srt":
		return "application/x-subrip"
	case ".m3u8":
		return "application/vnd.apple.mpegurl"
	}
	return octetStream
}

// measure reads the dimensions of a JPEG, PNG or GIF. It is false when the
// picture's header did not come to its end in src.
func (c *content) measure(src io.Reader) bool {
	var config image.Config
	var err error
	switch c.MIME {
	case "image/jpeg":
		return c.measureJPEG(src)
	case "image/png":
		config, err = png.DecodeConfig(src)
	case "image/gif":
		config, err = gif.DecodeConfig(src)
	default:
		return true
	}
	if err != nil {
		return false
	}
	c.Width, c.Height = config.Width, config.Height
	c.HasAlpha = hasAlpha(config.ColorModel)
	return true
}

func (c *content) measureJPEG(src io.Reader) bool {
	var seen bytes.Buffer
	config, err := jpeg.DecodeConfig(io.TeeReader(src, &seen))
	if err != nil {
		return false
	}
	c.Width, c.Height = config.Width, config.Height
	c.Orientation = orientation(seen.Bytes())
	return true
}

func hasAlpha(m color.Model) bool {
	if palette, ok := m.(color.Palette); ok {
		for _, c := range palette {
			if _, _, _, a := c.RGBA(); a != 0xffff {
				return true
			}
		}
		return false
	}
	return m == color.NRGBAModel || m == color.NRGBA64Model
}

func (c *content) isImage() bool { return strings.HasPrefix(c.MIME, "image/") }

func (c *content) isVideo() bool { return strings.HasPrefix(c.MIME, "video/") }

// fileType is ImageKit's word for the kind: everything but pictures is
// "non-image", videos as well.
func (c *content) fileType() string {
	if c.isImage() {
		return "image"
	}
	return "non-image"
}
