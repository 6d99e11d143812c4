// Package thumbnail makes small pictures of files, in bounded memory and time.
//
// Cameras put a small picture into the metadata of a JPEG, HEIC or raw file: where
// there is one, nothing else is read. Other files are decoded when they are small.
package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // decoders that [image.Decode] knows
	"image/jpeg"
	_ "image/png"
	"io"
	"path"
	"strings"

	"github.com/bep/imagemeta"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

const (
	// Edge is the longer side of a thumbnail at most, pixels.
	Edge = 256
	// quality is that of the JPEGs made.
	quality = 78
	// maxPixels and maxBytes bound what is decoded as a whole: a decoder may need some
	// 12 bytes a pixel.
	maxPixels = 12_000_000
	maxBytes  = 32 << 20
	// maxEmbedded bounds a picture within the metadata, bytes.
	maxEmbedded = 1 << 20
)

// ErrNone says that a file has no thumbnail: it is no picture, or a large one without a
// small one inside.
var ErrNone = errors.New("no thumbnail can be made of it")

// Maker makes thumbnails, one at a time. Its methods may be called from several
// goroutines; the zero value is not usable.
type Maker struct{ turn chan struct{} }

// NewMaker returns a Maker.
func NewMaker() *Maker { return &Maker{turn: make(chan struct{}, 1)} }

// JPEG makes the thumbnail of a file: name decides how it is read, size is its bytes.
// What has none is [ErrNone]. It waits for its turn until ctx ends.
func (m *Maker) JPEG(ctx context.Context, name string, file io.ReadSeeker, size int64) ([]byte, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return draws(name, file, size)
}

// draws also survives what the decoders stumble over.
func draws(name string, file io.ReadSeeker, size int64) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, fmt.Errorf("%w: decoding it failed: %v", ErrNone, p)
		}
	}()
	small, turn := embedded(name, file)
	if small == nil {
		if small, err = whole(file, size); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, upright(shrunk(small), turn), &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return out.Bytes(), nil
}

// formats are those whose metadata can be read, by extension.
var formats = map[string]imagemeta.ImageFormat{
	".jpg": imagemeta.JPEG, ".jpeg": imagemeta.JPEG, ".jpe": imagemeta.JPEG, ".heic": imagemeta.HEIF, ".heif": imagemeta.HEIF, ".avif": imagemeta.AVIF,
	".webp": imagemeta.WebP, ".png": imagemeta.PNG, ".dng": imagemeta.DNG, ".cr2": imagemeta.CR2, ".nef": imagemeta.NEF, ".arw": imagemeta.ARW, ".pef": imagemeta.PEF,
}

// embedded is the picture inside the metadata, nil when there is none, and how the
// file's pictures are turned (EXIF's orientation, 0 when that is not said).
func embedded(name string, file io.ReadSeeker) (image.Image, int) {
	format, ok := formats[strings.ToLower(path.Ext(name))]
	if !ok {
		return nil, 0
	}
	tags := make(map[string]int64)
	_, err := imagemeta.Decode(imagemeta.Options{
		R: file, ImageFormat: format, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool {
			return t.Tag == "ThumbnailOffset" || t.Tag == "ThumbnailLength" || t.Tag == "Orientation" && strings.HasPrefix(t.Namespace, "IFD0")
		},
		HandleTag: func(t imagemeta.TagInfo) error {
			if n, ok := number(t.Value); ok {
				tags[t.Tag] = n
			}
			return nil
		},
	})
	turn := int(tags["Orientation"])
	at, length := tags["ThumbnailOffset"], tags["ThumbnailLength"]
	if err != nil || at <= 0 || length <= 0 || length > maxEmbedded {
		return nil, turn
	}
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return nil, turn
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, turn
	}
	small, err := decode(bytes.NewReader(b))
	if err != nil {
		return nil, turn
	}
	return small, turn
}

func number(v any) (int64, bool) {
	switch n := v.(type) {
	case uint32:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int:
		return int64(n), true
	}
	return 0, false
}

// whole decodes the file itself, when that is cheap.
func whole(file io.ReadSeeker, size int64) (image.Image, error) {
	if size > maxBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", ErrNone, size, maxBytes)
	}
	return decode(file)
}

func decode(r io.ReadSeeker) (image.Image, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	c, _, err := image.DecodeConfig(io.LimitReader(r, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if c.Width <= 0 || c.Height <= 0 || c.Width > maxPixels || c.Height > maxPixels || c.Width*c.Height > maxPixels {
		return nil, fmt.Errorf("%w: it has %d x %d pixels", ErrNone, c.Width, c.Height)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, _, err := image.Decode(io.LimitReader(r, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return m, nil
}

// shrunk is a picture within [Edge], on white where one sees through it.
func shrunk(m image.Image) *image.RGBA {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	if longer := max(w, h); longer > Edge {
		w, h = max(1, w*Edge/longer), max(1, h*Edge/longer)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(small, small.Bounds(), image.White, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(small, small.Bounds(), m, m.Bounds(), draw.Over, nil)
	return small
}

// upright turns a picture as EXIF's orientation (1 to 8) says.
func upright(m *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 || orientation > 8 {
		return m
	}
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	turned := image.NewRGBA(image.Rect(0, 0, w, h))
	if orientation >= 5 { // the sides change places
		turned = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch orientation {
			case 2:
				tx = w - 1 - x
			case 3:
				tx, ty = w-1-x, h-1-y
			case 4:
				ty = h - 1 - y
			case 5:
				tx, ty = y, x
			case 6:
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8:
				tx, ty = y, w-1-x
			}
			turned.SetRGBA(tx, ty, m.RGBAAt(x, y))
		}
	}
	return turned
}
