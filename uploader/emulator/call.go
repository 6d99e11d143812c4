package emulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// maxJSON bounds the body of a management call, in bytes.
const maxJSON = 1 << 20

// call is one request to the API.
type call struct {
	*http.Request
	endpoint string
	form     bool // the body is streamed by the endpoint itself
	json     []byte
	meter    *meter
	fault    effect

	pathAsked bool // the faults that want an upload's path have been asked
}

// apiFunc answers a call.
type apiFunc func(*call) answer

// api wraps an endpoint of the API: counts, faults, authentication, the
// answer's headers.
func (s *Server) api(endpoint string, answerTo apiFunc) http.HandlerFunc {
	return s.wrap(endpoint, false, answerTo)
}

func (s *Server) wrap(endpoint string, form bool, answerTo apiFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.stats.asked(endpoint)
		c := &call{Request: r, endpoint: endpoint, form: form}
		c.meter = &meter{body: r.Body, limit: -1, total: &s.stats.received}
		r.Body = c.meter
		w.Header()["X-Ik-Requestid"] = []string{newRequestID()}
		s.conclude(w, c, s.perform(c, answerTo))
	}
}

// perform decides on the call's fault and, unless that stands in for it, runs
// the endpoint.
func (s *Server) perform(c *call, answerTo apiFunc) answer {
	if !c.form {
		body, err := io.ReadAll(io.LimitReader(c.Body, maxJSON+1))
		if err != nil {
			return answer{silent: true}
		}
		if len(body) > maxJSON {
			return refuse(http.StatusRequestEntityTooLarge, "request entity too large")
		}
		c.json = body
		s.meet(c, s.subject(c), anyRule)
	} else {
		s.meet(c, "", rulesWithoutPath)
	}
	if c.fault.preempts() {
		return answer{}
	}
	if refused, bad := s.unauthorized(c); bad {
		return refused
	}
	return answerTo(c)
}

// subject is what the Path of a fault is searched in: the path and query of the
// request, its JSON body, and the path of the file it names by fileId.
func (s *Server) subject(c *call) string {
	if !s.faults.active() {
		return ""
	}
	parts := []string{c.URL.Path, string(c.json)}
	for _, values := range c.URL.Query() {
		parts = append(parts, values...)
	}
	if a := s.byID(c.PathValue("fileId")); a != nil {
		parts = append(parts, a.path())
	}
	return strings.Join(parts, "\n")
}

// decode reads the JSON body into v; false means it was none.
func (c *call) decode(v any) bool { return json.Unmarshal(c.json, v) == nil }

// errCut is the end of a request body that a fault cuts.
var errCut = errors.New("emulator: body cut by a fault")

// meter counts the bytes of a request's body, and ends it where a fault says.
type meter struct {
	body  io.ReadCloser
	total *atomic.Int64
	read  int64
	limit int64 // bytes; negative: none
}

func (m *meter) Read(p []byte) (int, error) {
	if m.limit >= 0 {
		if m.read >= m.limit {
			return 0, errCut
		}
		p = p[:min(int64(len(p)), m.limit-m.read)]
	}
	n, err := m.body.Read(p)
	m.read += int64(n)
	m.total.Add(int64(n))
	return n, err
}

func (m *meter) Close() error { return m.body.Close() }

// drain reads the body to its end, so that the client has sent everything when
// the answer comes: a server that closes early resets the connection, and the
// answer can get lost.
func (m *meter) drain() error {
	_, err := io.Copy(io.Discard, m)
	return err
}
