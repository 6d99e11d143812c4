package imagekit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Class says what an error means for the work, and so what to do.
type Class int

// The classes of errors.
const (
	// File: this file or these parameters are refused, for good.
	File Class = iota
	// Transient: may succeed when tried again (5xx, broken answers and connections).
	Transient
	// FileThrottled: this file was updated too often lately; others go on.
	FileThrottled
	// Throttled: the account sends too fast; all wait [Error.RetryAfter].
	Throttled
	// Account: nothing can be uploaded until the account is mended (limits).
	Account
	// Credentials: the key is refused (401, 403).
	Credentials
	// Offline: no connection could be made; nothing was sent.
	Offline
)

// String names the class as logs, listings and metrics do.
func (c Class) String() string {
	switch c {
	case File:
		return "file"
	case Transient:
		return "transient"
	case FileThrottled:
		return "file_throttled"
	case Throttled:
		return "throttled"
	case Account:
		return "account"
	case Credentials:
		return "credentials"
	case Offline:
		return "offline"
	}
	return "unknown"
}

// Error is a call that ImageKit refused, or whose answer is missing or wrong.
type Error struct {
	Class      Class
	Op         string // "upload", "GET /v1/files"
	Status     int    // HTTP; 0 when there was no answer
	Message    string // ImageKit's, or ours when it gave none
	Help       string
	Reason     string        // machine-readable, on some endpoints; one of the Reason constants or another
	RequestID  string        // x-ik-requestId, for ImageKit's support
	RetryAfter time.Duration // how long ImageKit asks to wait; 0 when it did not say
	Ambiguous  bool          // the request may have been carried out
	Err        error         // what lies beneath, when there was no usable answer

	missingIDs []string // of a call on several files, those that are not there
}

// Error gives ImageKit's message with status and request id.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": ImageKit answered %d", e.Status)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	return b.String()
}

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// broken is the error for an answer that can't be used. What was asked for may
// have been done.
func (a *answer) broken(op string, err error) *Error {
	return &Error{
		Class: Transient, Op: op, Status: a.status, RequestID: a.requestID, Ambiguous: true, Err: err,
		Message: clip(fmt.Sprintf("the answer can't be used: %v", err)),
	}
}

// refusal classifies an answer other than 2xx. ImageKit gives no code for most
// refusals, so the message decides (imagekit-api facts: upload errors).
func refusal(op string, a *answer, now time.Time) *Error {
	e := &Error{Op: op, Status: a.status, RequestID: a.requestID, Class: File}
	var body struct {
		Message string   `json:"message"`
		Help    string   `json:"help"`
		Reason  string   `json:"reason"`
		Missing []string `json:"missingFileIds"`
	}
	if decode(a.body, &body) == nil {
		e.Message, e.Help, e.Reason = clip(body.Message), clip(body.Help), clip(body.Reason)
		e.missingIDs = body.Missing
	}
	if e.Message == "" {
		e.Message = http.StatusText(a.status)
		if e.Message == "" {
			e.Message = "no message"
		}
	}
	message := strings.ToLower(e.Message)
	switch s := a.status; {
	case s == http.StatusUnauthorized:
		e.Class = Credentials
	case s == http.StatusForbidden:
		e.Class = Credentials
		if strings.Contains(message, "limit") || strings.Contains(message, "quota") || strings.Contains(message, "storage") {
			e.Class = Account
		}
	case op == "upload" && (s == http.StatusNotFound || s == http.StatusMethodNotAllowed):
		// No file causes this: nothing is served at the URL.
		e.Class = Account
		e.Message = "nothing is served at the configured upload URL: " + e.Message
	case s == http.StatusTooManyRequests:
		e.Class = Throttled
		e.RetryAfter = retryAfter(a.header, now)
	case s == http.StatusRequestTimeout, s == http.StatusLocked, s >= 500, s < 200:
		e.Class, e.Ambiguous = Transient, s != http.StatusLocked
		e.RetryAfter = retryAfter(a.header, now)
	case s >= 300 && s < 400:
		e.Message = "a redirect, which is not followed because the private key would go with it; check the configured URL"
		e.Class = Account
	case s == http.StatusBadRequest && strings.Contains(message, "too many requests to update the file"):
		e.Class = FileThrottled
	case s == http.StatusBadRequest && (strings.Contains(message, "upload limit exceeded") || strings.Contains(message, "quota exceeded")):
		e.Class = Account
	}
	return e
}

// retryAfter reads how long to wait: X-RateLimit-Reset in milliseconds from
// now, as ImageKit documents it, or the standard Retry-After that proxies send.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const most = time.Hour
	if ms, err := strconv.ParseFloat(h.Get("X-RateLimit-Reset"), 64); err == nil && ms > 0 {
		return min(time.Duration(min(ms, 1e9))*time.Millisecond, most)
	}
	value := h.Get("Retry-After")
	if s, err := strconv.Atoi(value); err == nil && s > 0 {
		return min(time.Duration(min(s, 1e6))*time.Second, most)
	}
	if t, err := http.ParseTime(value); err == nil && t.After(now) {
		return min(t.Sub(now), most)
	}
	return 0
}

// networkError classifies a request that got no answer. The URL is left out of
// the text on purpose: the caller names what was attempted.
func networkError(req *http.Request, err error, connected bool) error {
	if callerGone(req) {
		return fmt.Errorf("%s: %w", operation(req), req.Context().Err())
	}
	e := &Error{Class: Transient, Op: operation(req), Err: err, Ambiguous: true}
	var dial *net.OpError
	var dns *net.DNSError
	if !connected || errors.As(err, &dns) || errors.As(err, &dial) && dial.Op == "dial" {
		e.Class, e.Ambiguous = Offline, false
	}
	e.Message = clip(fmt.Sprintf("no answer from %s: %v", req.URL.Host, err))
	return e
}

// callerGone reports whether the caller gave the request up, with whatever
// cause, and not one of the client's own time limits.
func callerGone(req *http.Request) bool {
	ctx := req.Context()
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, errStalled) && !errors.Is(cause, errLate)
}

// clip bounds a text that comes from outside, and takes from it what would act
// on a terminal.
func clip(s string) string {
	const most = 1000
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
