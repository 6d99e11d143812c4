package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

// halves is a picture whose left half is of one colour and right half of another.
func halves(w, h int, left, right color.Color) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := left
			if x >= w/2 {
				c = right
			}
			m.Set(x, y, c)
		}
	}
	return m
}

var red, blue = color.RGBA{R: 255, A: 255}, color.RGBA{B: 255, A: 255}

func asJPEG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withEXIF puts an orientation and a small picture into a JPEG.
func withEXIF(big, small []byte, orientation uint16) []byte {
	le := binary.LittleEndian
	entry := func(b []byte, tag, kind uint16, value uint32) []byte {
		b = le.AppendUint16(le.AppendUint16(b, tag), kind)
		return le.AppendUint32(le.AppendUint32(b, 1), value)
	}
	const ifd1, after = 8 + 2 + 12 + 4, 8 + 2 + 12 + 4 + 2 + 24 + 4
	tiff := []byte{'I', 'I', 42, 0, 8, 0, 0, 0}
	tiff = entry(le.AppendUint16(tiff, 1), 0x112, 3, uint32(orientation))
	tiff = le.AppendUint32(tiff, ifd1)
	tiff = entry(le.AppendUint16(tiff, 2), 0x201, 4, after)
	tiff = le.AppendUint32(entry(tiff, 0x202, 4, uint32(len(small))), 0)
	body := append(append([]byte("Exif\x00\x00"), tiff...), small...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe1}, byte((len(body)+2)>>8), byte(len(body)+2))
	return append(append(out, body...), big[2:]...)
}

func made(t *testing.T, name string, file []byte) image.Image {
	t.Helper()
	b, err := NewMaker().JPEG(t.Context(), name, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

func isRed(m image.Image, x, y int) bool {
	r, _, b, _ := m.At(x, y).RGBA()
	return r > b
}

func TestPicturesAreShrunk(t *testing.T) {
	m := halves(1000, 500, red, blue)
	var asPNG, asGIF bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, m), gif.Encode(&asGIF, m, nil)); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"a.jpg": asJPEG(t, m), "a.PNG": asPNG.Bytes(), "a.gif": asGIF.Bytes(), "without extension": asJPEG(t, m)} {
		got := made(t, name, file)
		if s := got.Bounds().Size(); s != image.Pt(256, 128) || !isRed(got, 20, 60) || isRed(got, 230, 60) {
			t.Errorf("%s: %v, red on the left is %v", name, s, isRed(got, 20, 60))
		}
	}
	if s := made(t, "tiny.png", asJPEG(t, halves(3, 2, red, blue))).Bounds().Size(); s != image.Pt(3, 2) {
		t.Errorf("a tiny one becomes %v", s)
	}
	if s := made(t, "line.jpg", asJPEG(t, halves(4000, 2, red, blue))).Bounds().Size(); s != image.Pt(256, 1) {
		t.Errorf("a line becomes %v", s)
	}
}

// A camera turns its pictures by a note in the metadata.
func TestPicturesAreUpright(t *testing.T) {
	// Where the left half of the stored picture is, once it is upright.
	for orientation, at := range map[uint16]image.Point{1: {10, 30}, 2: {110, 30}, 3: {110, 30}, 4: {10, 30}, 5: {30, 10}, 6: {30, 10}, 7: {30, 110}, 8: {30, 110}} {
		got := made(t, "a.jpg", withEXIF(asJPEG(t, halves(120, 60, red, blue)), nil, orientation))
		size := got.Bounds().Size()
		if want := orientation >= 5; (size == image.Pt(60, 120)) != want {
			t.Errorf("orientation %d: %v", orientation, size)
		}
		other := image.Pt(size.X-1-at.X, size.Y-1-at.Y)
		if !isRed(got, at.X, at.Y) || isRed(got, other.X, other.Y) {
			t.Errorf("orientation %d: not upright", orientation)
		}
	}
}

// Of a photo too large to be decoded the camera's own small picture is taken.
func TestTheSmallPictureOfACamera(t *testing.T) {
	small := asJPEG(t, halves(160, 120, blue, red))
	photo := withEXIF(huge(asJPEG(t, halves(64, 64, red, blue))), small, 1)
	got := made(t, "IMG_1.JPG", photo)
	if s := got.Bounds().Size(); s != image.Pt(160, 120) || isRed(got, 20, 60) {
		t.Errorf("%v, red on the left is %v", s, isRed(got, 20, 60))
	}
	small[0] = 0 // what is no picture is passed over
	if got := made(t, "IMG_2.jpg", withEXIF(asJPEG(t, halves(64, 64, red, blue)), small, 1)); got.Bounds().Size() != image.Pt(64, 64) {
		t.Errorf("%v", got.Bounds())
	}
}

// huge makes a JPEG say that it has 60,000 x 60,000 pixels.
func huge(b []byte) []byte {
	at := bytes.Index(b, []byte{0xff, 0xc0})
	copy(b[at+5:], []byte{0xea, 0x60, 0xea, 0x60})
	return b
}

func TestWhatHasNoThumbnail(t *testing.T) {
	jpg := asJPEG(t, halves(64, 64, red, blue))
	for name, file := range map[string][]byte{
		"empty.jpg": nil, "text.jpg": []byte("a text"), "huge.jpg": huge(bytes.Clone(jpg)), "cut.jpg": jpg[:len(jpg)/4],
		"clip.mp4": []byte("\x00\x00\x00\x18ftypmp42"), "cut.heic": []byte("\x00\x00\x00\x18ftypheic\xff\xff\xff\xff"),
		"loop.jpg": withEXIF(huge(bytes.Clone(jpg)), []byte{0xff, 0xd8}, 9),
	} {
		if _, err := NewMaker().JPEG(t.Context(), name, bytes.NewReader(file), int64(len(file))); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewMaker().JPEG(t.Context(), "a.jpg", bytes.NewReader(jpg), maxBytes+1); !errors.Is(err, ErrNone) {
		t.Errorf("a big file: %v", err)
	}
	m := NewMaker()
	m.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.JPEG(ctx, "a.jpg", bytes.NewReader(jpg), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone waits: %v", err)
	}
}

// Whatever a file holds: nothing panics, and what comes is a small picture.
func FuzzThumbnail(f *testing.F) {
	m := halves(32, 16, red, blue)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"a.jpg", "a.heic", "a.png", "a.nef", "a.webp", "a.tiff"} {
		f.Add(name, b.Bytes())
		f.Add(name, withEXIF(b.Bytes(), b.Bytes(), 6))
	}
	f.Fuzz(func(t *testing.T, name string, file []byte) {
		b, err := NewMaker().JPEG(t.Context(), name, bytes.NewReader(file), int64(len(file)))
		if err != nil {
			if !errors.Is(err, ErrNone) {
				t.Errorf("%v", err)
			}
			return
		}
		if c, err := jpeg.DecodeConfig(bytes.NewReader(b)); err != nil || c.Width > Edge || c.Height > Edge {
			t.Errorf("%v, %+v", err, c)
		}
	})
}
