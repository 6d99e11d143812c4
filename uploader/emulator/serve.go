package emulator

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// serveAsset answers asset URLs, which need no key: those of private files need a
// signature, and a signature that is there must be good. Transformations in them
// are passed over: the original is what comes.
func (s *Server) serveAsset(w http.ResponseWriter, r *http.Request) {
	s.stats.asked(fileEndpoint)
	path := "/" + r.PathValue("path")
	c := &call{Request: r, endpoint: fileEndpoint, meter: &meter{body: r.Body, limit: -1, total: &s.stats.received}}
	s.meet(c, path, anyRule)
	if f := c.fault.fault; f != nil {
		s.faultyAsset(w, c, f)
		return
	}
	a := s.lookup(untransformed(path))
	if a == nil {
		s.plain(w, http.StatusNotFound, "Not found")
		return
	}
	v := a.current()
	if id := r.URL.Query().Get("ik-obj-version"); id != "" {
		v = a.version(id)
	}
	switch {
	case v == nil || v.IsDraft:
		s.plain(w, http.StatusNotFound, "Not found")
	case v.IsPrivate && r.URL.Query().Get("ik-s") == "":
		s.plain(w, http.StatusUnauthorized, "This file is private: its URL must be signed")
	case r.URL.Query().Get("ik-s") != "" && !s.signedURL(r.URL):
		s.plain(w, http.StatusUnauthorized, "The URL's signature is wrong or has expired")
	default:
		s.serveContent(w, r, v)
	}
}

// untransformed gives the path of the file whose transformation is at path.
func untransformed(path string) string {
	rest, found := strings.CutPrefix(path, "/tr:")
	if !found {
		return path
	}
	_, rest, _ = strings.Cut(rest, "/")
	return "/" + rest
}

// faultyAsset lets a fault act on an asset URL: those that need JSON come to a
// closed connection.
func (s *Server) faultyAsset(w http.ResponseWriter, c *call, f *Fault) {
	switch f.Action {
	case ActionStatus, ActionHTML, ActionRedirect:
		s.sendFaulty(w, c, f, answer{})
	default:
		s.abort()
	}
}

// signedURL checks the signature of a URL: HMAC-SHA1, keyed with the private key,
// of what stands behind the endpoint's slash, as it was sent and without ik-t and
// ik-s, and of the expiry (9999999999 without one). Without Options.PrivateKey the
// key is any that a call has brought.
func (s *Server) signedURL(u *url.URL) bool {
	query := u.Query()
	expiry := query.Get("ik-t")
	if expiry == "" {
		expiry = "9999999999"
	}
	until, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || s.now().Unix() > until {
		return false
	}
	text := strings.TrimPrefix(u.EscapedPath(), s.mount+"/")
	kept := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(parameter string) bool {
		return strings.HasPrefix(parameter, "ik-t=") || strings.HasPrefix(parameter, "ik-s=")
	})
	if len(kept) > 0 {
		text += "?" + strings.Join(kept, "&")
	}
	keys := s.keys.all()
	if s.options.PrivateKey != "" {
		keys = []string{s.options.PrivateKey}
	}
	return slices.ContainsFunc(keys, func(key string) bool {
		return equal(query.Get("ik-s"), sign(key, text+expiry))
	})
}

// serveContent gives the bytes of a version, with ranges and conditions. Files
// are of the same origin as the gallery, so a script in one must not run.
func (s *Server) serveContent(w http.ResponseWriter, r *http.Request, v *version) {
	blob, err := s.objects.open(v.Blob)
	if err != nil {
		text := "Not found"
		if errors.Is(err, errDiscarded) {
			text = err.Error()
		}
		s.plain(w, http.StatusNotFound, text)
		return
	}
	defer blob.Close()
	h := w.Header()
	h.Set("Content-Type", v.Content.MIME)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'")
	h.Set("ETag", `"`+v.ID+`"`)
	h.Set("Cache-Control", "no-cache")
	rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	http.ServeContent(rec, r, "", v.Updated, blob)
	s.stats.answered(rec.status)
}

func (s *Server) plain(w http.ResponseWriter, status int, text string) {
	s.stats.answered(status)
	http.Error(w, text, status)
}

// statusRecorder remembers the status for the counts.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
