package emulator

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// uploadV1 answers POST /api/v1/files/upload.
func (s *Server) uploadV1(c *call) answer {
	return s.upload(c, func(f *form, basic bool) (answer, bool) {
		_, signed := f.field("signature")
		switch {
		case basic && signed:
			return badRequest("Your request contains both signature and basic auth parameter. Use only one method, you might be exposing your private API key."), true
		case basic:
			return answer{}, false
		case signed:
			return s.checkSignature(f, s.now())
		}
		return refuse(http.StatusUnauthorized, noPrivateKey), true
	})
}

// uploadV2 answers POST /api/v2/files/upload, which differs from V1 only in how
// a client without the private key is authenticated.
func (s *Server) uploadV2(c *call) answer {
	return s.upload(c, func(f *form, basic bool) (answer, bool) {
		token, has := f.field("token")
		switch {
		case basic && has:
			return badRequest("Your request contains both token and basic auth parameter. Use only one method, you might be exposing your private API key."), true
		case basic:
			return answer{}, false
		case !has:
			return badRequest("Your request is missing token parameter."), true
		}
		if message := s.checkToken(token, f, s.now()); message != "" {
			return badRequest(message), true
		}
		return answer{}, false
	})
}

// upload receives a form and its file, judges it, and stores it.
func (s *Server) upload(c *call, authenticate func(f *form, basic bool) (answer, bool)) answer {
	if s.tooLong(c.ContentLength) {
		a := badRequest(tooLarge)
		a.close = true
		return a
	}
	f, refused := s.readForm(c)
	if refused != nil {
		return *refused
	}
	defer f.discard()
	if a, bad := authenticate(f, c.Header.Get("Authorization") != ""); bad {
		return a
	}
	s.meetPath(c, f)
	if c.fault.preempts() {
		return answer{}
	}
	if f.source != "" {
		if err := s.download(c.Context(), f); err != nil {
			return *s.formError(err)
		}
	}
	p, refused := s.params(f)
	if refused != nil {
		return *refused
	}
	stored := s.store(c, f, p)
	if p.queued && stored.status == http.StatusOK {
		// Here it is there at once; the answer names it as little as ImageKit's does.
		return answer{status: http.StatusAccepted, body: map[string]string{"message": "The pre-transformation has been queued successfully."}}
	}
	return stored
}

// tooLong says whether a form of that length holds a file above every limit. A
// form is a little longer than its file; a megabyte is more than any.
func (s *Server) tooLong(length int64) bool {
	b := s.behaviour
	return b.EarlyReject && b.MaxImageSize > 0 && b.MaxVideoSize > 0 &&
		length > max(b.MaxImageSize, b.MaxVideoSize)+1<<20
}

// store gives the received file its place: first the blob its name, then, under
// the lock, the library its asset.
func (s *Server) store(c *call, f *form, p *params) answer {
	now := s.now()
	v := p.version
	v.ID, v.Created, v.Updated = newID(now), now, now
	v.Content = f.file.content
	v.Blob = v.ID + blobExtension(p.name)
	out := f.file.sink
	pre := p.pre != "" && !s.behaviour.IgnorePre
	if pre {
		if err := pretransform(out, v, p.pre); err != nil {
			return failed(err) // the form still has the sink, and gives it up
		}
	}
	f.file = nil
	if err := out.commit(v.Blob); err != nil {
		return failed(err)
	}
	if pre {
		if err := s.rehash(v); err != nil {
			s.objects.remove(v.Blob)
			return failed(err)
		}
	}
	if p.remeasure {
		s.remeasure(v)
	}
	s.mu.Lock()
	a, stored, refused := s.place(p, v, now)
	s.mu.Unlock()
	if stored {
		s.stats.uploads.Add(1)
		if len(a.Versions) > 1 {
			s.stats.versions.Add(1)
		}
	} else {
		s.objects.remove(v.Blob)
	}
	if refused != nil {
		return *refused
	}
	return ok(s.uploaded(c, a, p))
}

// remeasure reads the dimensions of a picture whose header was longer than what
// was looked at on its way in.
func (s *Server) remeasure(v *version) {
	blob, err := s.objects.open(v.Blob)
	if err != nil {
		return // discarded: the picture has no dimensions then
	}
	defer blob.Close()
	v.Content.measure(blob)
}

// blobExtension gives the extension of a name as far as it is fit for a file's.
func blobExtension(name string) string {
	ext := strings.ToLower(path.Ext(name))
	plain := strings.Trim(ext, ".abcdefghijklmnopqrstuvwxyz0123456789") == ""
	if len(ext) < 2 || len(ext) > 10 || !plain {
		return ""
	}
	return ext
}

// The answers of an overwrite that is not to be.
const (
	alreadyExists = "A file with the same name already exists at the exact location. We could not overwrite it because both overwriteFile and useUniqueFileName are set to false."
	tooManyEdits  = "You have sent too many requests to update the file recently. Please try again later."
	versionsFull  = "Your request could not be completed. The file has reached the maximum number of versions allowed."
)

// place puts a version into the library: as a new asset, or on top of the one
// of that name. The caller has s.mu. With stored false the blob is not needed.
func (s *Server) place(p *params, v *version, now time.Time) (a *asset, stored bool, refused *answer) {
	name := p.name
	for p.unique {
		name = uniqueName(p.name)
		if s.lib.file(p.folder, name) == nil {
			break
		}
	}
	if e := s.lib.file(p.folder, name); e != nil {
		return s.overwrite(e, p, v, now)
	}
	v.Number = 1
	// The first version's id is the file's own (examples of the upload API).
	a = &asset{FileID: v.ID, Folder: p.folder, Name: name, Created: now, Versions: []*version{v}}
	records := s.lib.missing(p.folder, now, nil)
	if err := s.commit(append(records, record{Put: a})...); err != nil {
		return nil, false, pointer(failed(err))
	}
	return a, true, nil
}

func (s *Server) overwrite(e *entry, p *params, v *version, now time.Time) (*asset, bool, *answer) {
	old := e.asset
	last := old.current()
	if !p.overwriteFile {
		return nil, false, pointer(badRequest(alreadyExists))
	}
	if s.throttled(e, now) {
		return nil, false, pointer(badRequest(tooManyEdits))
	}
	if s.behaviour.SkipIdenticalVersion && last.Content.Size == v.Content.Size && last.Content.Hash == v.Content.Hash {
		return old, false, nil
	}
	full := len(old.Versions) >= s.behaviour.VersionLimit
	if full && !s.behaviour.VersionLimitDrops {
		return nil, false, pointer(badRequest(versionsFull))
	}
	p.inherit(v, last)
	v.Number = old.nextNumber()

	var change []record
	switch {
	case s.behaviour.NewFileIDOnOverwrite, full:
		keep := old.Versions
		if full {
			keep = keep[1:]
		}
		a := old.with(append(slices.Clone(keep), v))
		if s.behaviour.NewFileIDOnOverwrite {
			a.FileID = v.ID
			change = []record{{Drop: old.FileID}}
		}
		change = append(change, record{Put: a})
	default:
		change = []record{{Add: &addition{FileID: old.FileID, Version: v}}}
	}
	if err := s.commit(change...); err != nil {
		return nil, false, pointer(failed(err))
	}
	placed := s.lib.file(old.Folder, old.Name)
	if s.behaviour.UpdateThrottle > 0 {
		placed.updates = append(e.updates, now)
	}
	return placed.asset, true, nil
}

// throttled says whether a file was overwritten too often of late.
func (s *Server) throttled(e *entry, now time.Time) bool {
	limit := s.behaviour.UpdateThrottle
	if limit <= 0 {
		return false
	}
	e.updates = slices.DeleteFunc(e.updates, func(t time.Time) bool {
		return now.Sub(t) >= s.behaviour.UpdateWindow
	})
	return len(e.updates) >= limit
}
