package imagekit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Upload is one file to upload.
type Upload struct {
	FileName string // wanted name
	Folder   string // "/photos/2026"; "" is the root
	Source   Source
	Params   Params
	// Sent, when not nil, counts the bytes of the source as they are sent.
	Sent *atomic.Int64
}

// Source is what to upload: bytes, base64 text, or a URL that ImageKit fetches.
type Source struct {
	reader io.Reader
	size   int64
	text   string
}

// FromReader uploads exactly size bytes of r. An r that ends earlier or fails
// breaks the upload off before ImageKit can take it for whole; nothing is read
// beyond size.
func FromReader(r io.Reader, size int64) Source { return Source{reader: r, size: size} }

// FromText uploads what a text stands for: base64, a data URI, or a URL that
// ImageKit downloads from.
func FromText(text string) Source { return Source{text: text} }

// ErrShortSource says that a source gave fewer bytes than it was said to have.
var ErrShortSource = errors.New("the source ended early")

// Upload sends one file in one request and returns what ImageKit made of it.
// The body is streamed with an exact Content-Length; small fields go first and
// the file last. An answer that refuses, or that can't be right, is an
// [*Error]; a failing source is returned as it is.
func (c *Client) Upload(ctx context.Context, u *Upload) (*Asset, error) {
	if u.Source.size < 0 {
		return nil, fmt.Errorf("upload %s: its size is %d", u.FileName, u.Source.size)
	}
	boundary := newBoundary()
	head, tail := frame(boundary, u)
	length := int64(len(head)) + u.Source.size + int64(len(tail))
	if length <= maxBuffered {
		return c.uploadSmall(ctx, u, head, tail, boundary)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := &uploadBody{ctx: ctx, stall: c.stall, answer: c.answerTimeout, sent: u.Sent,
		head: head, source: u.Source.reader, left: u.Source.size, tail: tail}
	body.watch(cancel)

	ans, err := c.do(c.uploadRequest(ctx, body, length, boundary), "upload")
	whole, sourceErr := body.end()
	var unanswered *Error
	if errors.As(err, &unanswered) && unanswered.Status == 0 {
		unanswered.Ambiguous = unanswered.Ambiguous && whole
	}
	switch {
	case err != nil && sourceErr != nil:
		return nil, fmt.Errorf("read the source of %s: %w", u.FileName, sourceErr)
	case err != nil && errors.Is(context.Cause(ctx), errStalled):
		cause := context.Cause(ctx)
		return nil, &Error{Class: Transient, Op: "upload", Message: cause.Error(), Ambiguous: whole, Err: cause}
	case err != nil:
		return nil, err
	case !whole:
		return nil, ans.broken("upload", errors.New("it came before the whole file was sent"))
	}
	return decodeAsset(ans)
}

// maxBuffered is up to which length (bytes) a body is put together before it is
// sent: then headers and body leave in one packet and not in four.
const maxBuffered = 32 << 10

// uploadSmall sends a body that is put together first, so that a failing source
// is known before anything is sent.
func (c *Client) uploadSmall(ctx context.Context, u *Upload, head, tail []byte, boundary string) (*Asset, error) {
	buf := make([]byte, len(head)+int(u.Source.size)+len(tail))
	copy(buf, head)
	copy(buf[len(buf)-len(tail):], tail)
	if u.Source.reader != nil {
		n, err := io.ReadFull(u.Source.reader, buf[len(head):len(buf)-len(tail)])
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil, fmt.Errorf("read the source of %s: %w: %d bytes are missing", u.FileName, ErrShortSource, u.Source.size-int64(n))
		case err != nil:
			return nil, fmt.Errorf("read the source of %s: %w", u.FileName, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.stall+c.answerTimeout, errNoAnswer)
	defer cancel()
	// net/http sends a body in memory together with the headers. NopCloser keeps
	// the request from being repeatable: nothing is sent twice unseen.
	req := c.uploadRequest(ctx, io.NopCloser(bytes.NewReader(buf)), int64(len(buf)), boundary)
	if u.Sent != nil {
		u.Sent.Add(u.Source.size)
	}
	ans, err := c.do(req, "upload")
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return nil, &Error{Class: Transient, Op: "upload", Message: errNoAnswer.Error(), Ambiguous: true, Err: errNoAnswer}
	}
	if err != nil {
		return nil, err
	}
	return decodeAsset(ans)
}

func (c *Client) uploadRequest(ctx context.Context, body io.ReadCloser, length int64, boundary string) *http.Request {
	req := c.request(ctx, http.MethodPost, c.uploadURL, body, length)
	req.Header["Content-Type"] = []string{"multipart/form-data; boundary=" + boundary}
	return req
}

// frame returns what comes before and after the source in the body. A text
// source is wholly in what comes before.
func frame(boundary string, u *Upload) (head, tail []byte) {
	var b bytes.Buffer
	b.Grow(1024)
	part := func(name, value string) {
		b.WriteString("--")
		b.WriteString(boundary)
		b.WriteString("\r\nContent-Disposition: form-data; name=\"")
		b.WriteString(name)
		b.WriteString("\"\r\n\r\n")
		b.WriteString(value)
		b.WriteString("\r\n")
	}
	part("fileName", u.FileName)
	if u.Folder != "" {
		part("folder", u.Folder)
	}
	for _, f := range u.Params.fields() {
		part(f.name, f.value)
	}
	if u.Source.reader == nil {
		part("file", u.Source.text)
	} else {
		b.WriteString("--")
		b.WriteString(boundary)
		// With a filename the content is never read as a URL or base64 (imagekit-python issue 37).
		b.WriteString("\r\nContent-Disposition: form-data; name=\"file\"; filename=\"")
		b.WriteString(quoteFilename(u.FileName))
		b.WriteString("\"\r\nContent-Type: application/octet-stream\r\n\r\n")
		head = b.Bytes()
		return head, []byte("\r\n--" + boundary + "--\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.Bytes(), nil
}

// quoteFilename escapes as browsers do (WHATWG HTML, multipart/form-data), and
// the backslash as well: many parsers take it with the quote behind it. Other
// control characters, which some refuse in a header, become "_": the name that
// counts is in a field of its own.
func quoteFilename(name string) string {
	if !strings.ContainsFunc(name, special) {
		return name
	}
	escaped := []byte(filenameEscapes.Replace(name)) // bytes: a name need not be UTF-8
	for i, c := range escaped {
		if c < ' ' || c == 0x7f {
			escaped[i] = '_'
		}
	}
	return string(escaped)
}

func special(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }

var filenameEscapes = strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22", `\`, "%5C")

// newBoundary makes a boundary that no file's author can foresee: the generator
// is seeded by the system.
func newBoundary() string {
	return fmt.Sprintf("iksync%016x%016x", rand.Uint64(), rand.Uint64())
}

var (
	errStalled  = errors.New("no byte moved")
	errNoAnswer = fmt.Errorf("%w: the file was sent and no answer came", errStalled)
)

// uploadBody is the body of an upload. Its watch cancels the request when no
// byte was taken for stall, or no answer came in time after the last one.
//
// The transport may go on reading it after the request has returned (an answer
// that came early): end keeps it from the source from then on.
type uploadBody struct {
	ctx    context.Context // the transport waits for its last Read, so Read must end with it
	stall  time.Duration
	answer time.Duration
	sent   *atomic.Int64

	mu     sync.Mutex
	head   []byte
	source io.Reader
	left   int64 // of the source
	tail   []byte
	timer  *time.Timer
	err    error // of the source
	ended  bool
}

func (b *uploadBody) watch(cancel context.CancelCauseFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(b.stall, func() {
		b.mu.Lock()
		whole := b.whole()
		b.mu.Unlock()
		if whole {
			cancel(fmt.Errorf("%w within %s after the last byte", errNoAnswer, b.answer))
		} else {
			cancel(fmt.Errorf("%w for %s", errStalled, b.stall))
		}
	})
}

// end stops the watch and returns whether the body was wholly taken, and the
// source's error.
func (b *uploadBody) end() (whole bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.timer.Stop()
	return b.whole(), b.err
}

func (b *uploadBody) whole() bool { return len(b.head) == 0 && b.left == 0 && len(b.tail) == 0 }

var errEnded = errors.New("the request has ended")

// Read gives the body's bytes. It is called by one goroutine of the transport.
func (b *uploadBody) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended || b.ctx.Err() != nil:
		return 0, errEnded
	case len(b.head) > 0:
		n = copy(p, b.head)
		b.head = b.head[n:]
	case b.left > 0:
		n, err = b.readSource(p)
	case len(b.tail) > 0:
		n = copy(p, b.tail)
		b.tail = b.tail[n:]
	default:
		return 0, io.EOF
	}
	switch {
	case b.whole():
		b.timer.Reset(b.answer)
	case n > 0:
		b.timer.Reset(b.stall)
	}
	return n, err
}

func (b *uploadBody) readSource(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.source.Read(p)
	b.left -= int64(n)
	if b.sent != nil {
		b.sent.Add(int64(n))
	}
	if err == io.EOF {
		err = nil
		if b.left > 0 {
			err = fmt.Errorf("%w: %d bytes are missing", ErrShortSource, b.left)
		}
	}
	b.err = err
	return n, err
}

// Close ends the body; the source stays open for its owner.
func (b *uploadBody) Close() error { return nil }
