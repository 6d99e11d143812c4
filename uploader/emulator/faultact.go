package emulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// htmlPage is what a proxy or a captive portal answers in an API's place.
const htmlPage = "<!DOCTYPE html>\n<html><head><title>%d %s</title></head><body><h1>%s</h1></body></html>\n"

// meet decides on the faults of a call and waits for their latency.
func (s *Server) meet(c *call, subject string, ask func(Fault) bool) {
	e := s.faults.pick(c.endpoint, subject, ask)
	if !e.met {
		return
	}
	if !c.fault.met {
		s.stats.faults.Add(1)
	}
	c.fault.met = true
	if c.fault.fault == nil {
		c.fault.fault = e.fault
	}
	if f := c.fault.fault; f != nil && f.Action == ActionCut {
		c.meter.limit = f.Bytes
	}
	if e.latency > 0 {
		wait := time.NewTimer(e.latency)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-c.Context().Done():
		}
	}
}

// conclude sends a call's answer, the way its fault wants it.
func (s *Server) conclude(w http.ResponseWriter, c *call, a answer) {
	if c.form && !a.close && !a.silent {
		if err := c.meter.drain(); err == errCut {
			a.silent = true
		}
	}
	f := c.fault.fault
	if a.silent || f != nil && (f.Action == ActionCut || f.Action == ActionLose) {
		s.abort()
	}
	if f == nil {
		if s.behaviour.RateLimitHeadersAlways && !c.form {
			setRateLimit(w.Header())
		}
		s.send(w, a)
		return
	}
	s.sendFaulty(w, c, f, a)
}

// abort closes the connection without an answer; net/http documents this panic
// as the way to do it, and it works for HTTP/1 and HTTP/2 alike.
func (s *Server) abort() {
	s.stats.aborted.Add(1)
	panic(http.ErrAbortHandler)
}

func setRateLimit(h http.Header) {
	h.Set("X-RateLimit-Limit", "1000")
	h.Set("X-RateLimit-Reset", "0")
	h.Set("X-RateLimit-Interval", "1000")
}

// sendFaulty sends the answer of a fault, or what a fault makes of a's.
func (s *Server) sendFaulty(w http.ResponseWriter, c *call, f *Fault, a answer) {
	for name, value := range f.Headers {
		w.Header().Set(name, value)
	}
	switch f.Action {
	case ActionStatus:
		s.sendStatus(w, f)
		return
	case ActionHTML:
		s.sendHTML(w, http.StatusOK)
		return
	case ActionRedirect:
		w.Header().Set("Location", f.URL)
		status := f.Status
		if status == 0 {
			status = http.StatusTemporaryRedirect
		}
		s.send(w, answer{status: status})
		return
	}
	buf, err := s.encode(a.body)
	defer s.buffers.Put(buf)
	if err != nil {
		s.abort()
	}
	body := bytes.TrimSpace(buf.Bytes())
	w.Header()["Content-Type"] = s.jsonType
	s.stats.answered(a.status)
	switch f.Action {
	case ActionTruncated:
		w.WriteHeader(a.status)
		w.Write(body[:len(body)/2])
	case ActionTrailing:
		w.WriteHeader(a.status)
		fmt.Fprintf(w, "%s\n<!-- served by proxy 3 -->", body)
	case ActionLength:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+64))
		w.WriteHeader(a.status)
		w.Write(body)
		http.NewResponseController(w).Flush()
		s.abort()
	case ActionWrongPath, ActionWrongSize:
		w.WriteHeader(a.status)
		w.Write(mangle(body, f.Action))
	case ActionEndless:
		w.WriteHeader(a.status)
		sendEndless(w, f.Bytes)
	case ActionSlow:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(a.status)
		drip(w, c.Request, body, f)
	default:
		w.WriteHeader(a.status)
		w.Write(body)
	}
}

func (s *Server) sendStatus(w http.ResponseWriter, f *Fault) {
	if f.HTML {
		s.sendHTML(w, f.Status)
		return
	}
	body := refusal{Message: f.Message, Help: f.Help, Reason: f.Reason}
	if body.Message == "" {
		body.Message = http.StatusText(f.Status)
	}
	if body.Help == "" {
		body.Help = help
	}
	a := answer{status: f.Status, body: body}
	if f.Status == http.StatusNoContent || f.Status == http.StatusNotModified {
		a.body = nil
	}
	s.send(w, a)
}

func (s *Server) sendHTML(w http.ResponseWriter, status int) {
	s.stats.answered(status)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	text := http.StatusText(status)
	fmt.Fprintf(w, htmlPage, status, text, text)
}

// mangle changes what an answer says about its file. Answers that are not one
// object stay as they are.
func mangle(body []byte, action Action) []byte {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil {
		return body
	}
	if action == ActionWrongSize {
		if size, ok := object["size"].(float64); ok {
			object["size"] = size + 1
		}
	} else {
		for _, key := range []string{"name", "filePath", "url"} {
			if text, ok := object[key].(string); ok {
				object[key] = text + ".other"
			}
		}
	}
	changed, err := json.Marshal(object)
	if err != nil {
		return body
	}
	return changed
}

// sendEndless writes one object whose only value is a very long string.
func sendEndless(w io.Writer, size int64) {
	const head, tail = `{"fileId":"`, `"}`
	io.WriteString(w, head)
	block := bytes.Repeat([]byte("a"), 32<<10)
	for left := size - int64(len(head)+len(tail)); left > 0; {
		n, err := w.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
	io.WriteString(w, tail)
}

// drip writes body in pieces with pauses, until the client has enough of it.
func drip(w http.ResponseWriter, r *http.Request, body []byte, f *Fault) {
	piece := max(int(f.Bytes), 1)
	tick := time.NewTicker(max(time.Duration(f.Every), time.Nanosecond))
	defer tick.Stop()
	flush := http.NewResponseController(w)
	for len(body) > 0 {
		n := min(piece, len(body))
		if _, err := w.Write(body[:n]); err != nil || flush.Flush() != nil {
			return
		}
		body = body[n:]
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
