package emulator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// help is what ImageKit puts beside every message.
const help = "For support kindly contact us at support@imagekit.io."

// answer is what an API call comes to.
type answer struct {
	status int
	body   any  // nil: no body
	silent bool // the connection is closed instead
	close  bool // the rest of the request's body is not waited for
}

// refusal is the body of an answer that is not a success.
type refusal struct {
	Message        string            `json:"message"`
	Help           string            `json:"help"`
	Reason         string            `json:"reason,omitempty"`
	MissingFileIDs []string          `json:"missingFileIds,omitempty"`
	Errors         map[string]string `json:"errors,omitempty"`
}

func refuse(status int, message string) answer {
	return answer{status: status, body: refusal{Message: message, Help: help}}
}

func badRequest(message string) answer { return refuse(http.StatusBadRequest, message) }

// because is a refusal with the machine-readable reason that some endpoints
// add.
func because(status int, reason, message string) answer {
	return answer{status: status, body: refusal{Message: message, Help: help, Reason: reason}}
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func noContent() answer { return answer{status: http.StatusNoContent} }

// failed answers for a failure of the server's own, such as a full disk.
func failed(err error) answer {
	return refuse(http.StatusInternalServerError, err.Error())
}

// encode gives the bytes of an answer's body in a pooled buffer, which the
// caller puts back.
func (s *Server) encode(body any) (*bytes.Buffer, error) {
	buf := s.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	if body == nil {
		return buf, nil
	}
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(body)
	return buf, err
}

// send writes an answer as it is.
func (s *Server) send(w http.ResponseWriter, a answer) {
	buf, err := s.encode(a.body)
	defer s.buffers.Put(buf)
	if err != nil {
		a.status = http.StatusInternalServerError
	}
	h := w.Header()
	if a.close {
		h.Set("Connection", "close")
	}
	if a.body != nil {
		h["Content-Type"] = s.jsonType
		h.Set("Content-Length", strconv.Itoa(buf.Len()))
	}
	w.WriteHeader(a.status)
	w.Write(buf.Bytes())
	s.stats.answered(a.status)
}
