package emulator

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
)

// Bounds of the form around the file: a field, all fields, how many.
const (
	maxField  = 1 << 20
	maxFields = 4 << 20
	maxParts  = 200
	maxURL    = 8 << 10
)

// form is an upload's form: its fields, and its file as it was received. One of
// file and source is set when there was a file.
type form struct {
	fields map[string]string
	file   *received
	source string // URL to download the file from
	size   int    // of all fields
}

// discard gives up the file, if it was not stored.
func (f *form) discard() {
	if f.file != nil {
		f.file.sink.abort()
		f.file = nil
	}
}

// field gives a field and whether it was sent with a value.
func (f *form) field(name string) (string, bool) {
	v := f.fields[name]
	return v, v != ""
}

// The answers to a form that cannot be read. ImageKit's own texts for them are
// not documented, except for the missing file.
const (
	missingFile = "Your request is missing file parameter."
	badFile     = "Your request contains invalid file parameter."
	tooLarge    = "Your request contains invalid file parameter. The file size exceeds limits."
	badForm     = "Your request could not be parsed. Send it as multipart/form-data."
)

// readForm streams an upload's form. With refused set it could not be read
// whole, and what there is of it is given up. The form's fields and its file
// may come in any order.
func (s *Server) readForm(c *call) (f *form, refused *answer) {
	parts, err := c.MultipartReader()
	if err != nil {
		return nil, pointer(badRequest(badForm))
	}
	f = &form{fields: make(map[string]string, 12)}
	for range maxParts {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err == nil {
			err = s.readPart(c, f, part)
		}
		if err != nil {
			f.discard()
			return nil, s.formError(err)
		}
	}
	f.discard()
	return nil, pointer(badRequest("Too many parts."))
}

func (s *Server) readPart(c *call, f *form, part *multipart.Part) error {
	name := part.FormName()
	if name != "file" {
		value, err := s.readField(f, part)
		f.fields[name] = value
		return err
	}
	if f.file != nil || f.source != "" {
		return badPart("Your request contains more than one file parameter.")
	}
	if f.fields["fileName"] != "" {
		// Faults by path act as early as they can, so that a cut falls within
		// the file.
		s.meetPath(c, f)
	}
	if part.FileName() != "" {
		return s.take(f, part)
	}
	return s.readText(f, part)
}

// readField gives a field's text. Nearly all fit into a buffer that the server
// has already.
func (s *Server) readField(f *form, r io.Reader) (string, error) {
	buf := s.receiver.buffers.Get().(*[headSize]byte)
	defer s.receiver.buffers.Put(buf)
	n, whole, err := fill(r, buf[:])
	text := string(buf[:n])
	if err == nil && !whole {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(r, maxField+1-headSize))
		text += string(rest)
	}
	f.size += len(text)
	if err == nil && (len(text) > maxField || f.size > maxFields) {
		err = badPart("Your request contains a field that is too long.")
	}
	return text, err
}

// take receives the file's bytes.
func (s *Server) take(f *form, src io.Reader) error {
	got, err := s.receiver.receive(src)
	if err != nil {
		return err
	}
	f.file = got
	return nil
}

// badPart is a message that refuses a form.
type badPart string

func (b badPart) Error() string { return string(b) }

// formError answers for a form that ended with an error: a refusal, or silence
// when the client or a fault broke it off.
func (s *Server) formError(err error) *answer {
	var bad badPart
	var store storeError
	switch {
	case errors.Is(err, errTooLarge):
		a := badRequest(tooLarge)
		a.close = s.behaviour.EarlyReject
		return &a
	case errors.As(err, &bad):
		return pointer(badRequest(bad.Error()))
	case errors.As(err, &store):
		return pointer(failed(store))
	case errors.Is(err, errCut), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrBodyReadAfterClose):
		return &answer{silent: true}
	}
	return pointer(badRequest(badForm))
}

// meetPath asks the rules that want the path of an upload, once.
func (s *Server) meetPath(c *call, f *form) {
	if c.pathAsked {
		return
	}
	c.pathAsked = true
	s.meet(c, strings.TrimSuffix(f.fields["folder"], "/")+"/"+f.fields["fileName"], rulesWithPath)
}

func pointer[T any](v T) *T { return &v }
