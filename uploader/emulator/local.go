package emulator

import (
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
)

// local lets a handler answer only under a loopback name, so that no web page
// can reach it through a name that it points here (DNS rebinding).
func (s *Server) local(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			http.Error(w, "This page is only for this machine: open it under 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	switch host {
	case "127.0.0.1", "localhost", "::1", "[::1]":
		return true
	}
	return false
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }

// serveStats answers GET /_emulator/stats.
func (s *Server) serveStats(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = s.jsonType
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(s.Stats())
}

// postFaults answers POST /_emulator/faults with 204, or with 400 and what is
// wrong with the plan. The content type has to be JSON: a web page of another
// origin cannot send that without being asked first.
func (s *Server) postFaults(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "Send the plan as application/json", http.StatusUnsupportedMediaType)
		return
	}
	plan, err := ReadFaults(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.SetFaults(plan)
	w.WriteHeader(http.StatusNoContent)
}

// serveObject answers GET /_emulator/object/{fileId} with the file's content,
// private or not, for the gallery.
func (s *Server) serveObject(w http.ResponseWriter, r *http.Request) {
	a := s.byID(r.PathValue("fileId"))
	if a == nil {
		s.plain(w, http.StatusNotFound, "Not found")
		return
	}
	s.serveContent(w, r, a.current())
}
