package emulator

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"
)

// headSize is how much of a content is looked at while it passes by. The rest
// of it is needed only for images with very long headers.
const headSize = 64 << 10

// errTooLarge ends the reception of a content above the limit of its kind.
var errTooLarge = errors.New("emulator: content above its size limit")

// receiver takes contents in with a fixed amount of memory.
type receiver struct {
	objects   objects
	behaviour Behaviour
	buffers   sync.Pool // of *[headSize]byte
	hashers   sync.Pool // of *xxh3.Hasher
}

func newReceiver(o objects, b Behaviour) *receiver {
	return &receiver{
		objects:   o,
		behaviour: b,
		buffers:   sync.Pool{New: func() any { return new([headSize]byte) }},
		hashers:   sync.Pool{New: func() any { return xxh3.New() }},
	}
}

// received is a content that arrived whole but has no name yet.
type received struct {
	sink    sink
	content content
	isText  bool
	short   bool // the head held the beginning of a picture, but not its size
}

// receive reads src to its end, or with EarlyReject to its limit. The error is
// errTooLarge, one of src, or one of the disk (a storeError).
func (rc *receiver) receive(src io.Reader) (*received, error) {
	out, err := rc.objects.create()
	if err != nil {
		return nil, storeError{err}
	}
	got, err := rc.copy(out, src)
	if err != nil {
		out.abort()
		return nil, err
	}
	got.sink = out
	return got, nil
}

func (rc *receiver) copy(out sink, src io.Reader) (*received, error) {
	buf := rc.buffers.Get().(*[headSize]byte)
	defer rc.buffers.Put(buf)
	hasher := rc.hashers.Get().(*xxh3.Hasher)
	defer rc.hashers.Put(hasher)
	hasher.Reset()

	// The first block is filled: it decides the kind of the content, and with
	// it the limit.
	n, whole, err := fill(src, buf[:])
	if err != nil {
		return nil, err
	}
	got := inspect(buf[:n])
	got.short = got.short && !whole
	limit := rc.behaviour.MaxImageSize
	if strings.HasPrefix(got.content.MIME, "video/") {
		limit = rc.behaviour.MaxVideoSize
	}

	over := false
	for block := buf[:n]; ; {
		got.content.Size += int64(len(block))
		over = limit > 0 && got.content.Size > limit
		if over && rc.behaviour.EarlyReject {
			return nil, errTooLarge
		}
		if !over {
			hasher.Write(block)
			if _, err := out.Write(block); err != nil {
				return nil, storeError{err}
			}
		}
		if whole {
			break
		}
		n, err := src.Read(buf[:])
		block = buf[:n]
		if err == io.EOF {
			whole = true
		} else if err != nil {
			return nil, err
		}
	}
	if over {
		return nil, errTooLarge
	}
	got.content.Hash = hasher.Sum128().Bytes()
	return &got, nil
}

// fill reads until buf is full or src at its end. io.ReadFull will not do: it
// says ErrUnexpectedEOF for a short content, and so does a body that was cut.
func fill(src io.Reader, buf []byte) (n int, whole bool, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = src.Read(buf[n:])
		n += m
	}
	if err == io.EOF {
		return n, true, nil
	}
	return n, false, err
}

// storeError is a failure of the server's own disk, not of the request.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }
