package imagekit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// call is one call of the management API.
type call struct {
	method string
	path   string     // "/files/{id}/details"; with the method, the endpoint that ImageKit's limits are of
	id     string     // what stands for {id}
	query  url.Values // nil for none
	body   any        // sent as JSON; nil for none
}

var errLate = errors.New("it took longer than a minute")

// manage makes a call. It waits for its turn first, then has a minute.
func (c *Client) manage(ctx context.Context, m call) (*answer, error) {
	path, err := m.target()
	if err != nil {
		return nil, err
	}
	u := c.apiURL.JoinPath(path)
	u.RawQuery = m.query.Encode()
	endpoint := m.method + " " + m.path
	if err := c.limits.wait(ctx, m.method, endpoint); err != nil {
		return nil, fmt.Errorf("%s %s: %w", m.method, u.Path, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errLate)
	defer cancel()
	req := c.request(ctx, m.method, u, nil, 0)
	if m.body != nil {
		if err := setJSON(req, m.body); err != nil {
			return nil, fmt.Errorf("%s %s: %w", m.method, u.Path, err)
		}
	}
	ans, err := c.do(req, endpoint)
	var refused *Error
	if errors.As(err, &refused) && refused.Class == Throttled {
		c.limits.close(endpoint, refused.RetryAfter)
	}
	return ans, err
}

// target gives the path with its id. One that would make it another path is
// refused, since that could be another call.
func (m call) target() (string, error) {
	if !strings.Contains(m.path, "{id}") {
		return m.path, nil
	}
	if m.id == "" || m.id == "." || m.id == ".." {
		return "", unsendable(m.method+" "+m.path, fmt.Sprintf("%q is no id", m.id))
	}
	return strings.Replace(m.path, "{id}", url.PathEscape(m.id), 1), nil
}

// unsendable is the error for a call that is not made since it can only be
// wrong.
func unsendable(op, message string) *Error {
	return &Error{Class: File, Op: op, Message: clip(message)}
}

func setJSON(req *http.Request, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// net/http repeats a request of its own only where GetBody is set and not a
	// byte of it was written: an idle connection that had been closed meanwhile.
	// (Calls by GET, which change nothing, it repeats in more cases.)
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, err = req.GetBody()
	req.ContentLength = int64(len(body))
	req.Header["Content-Type"] = []string{"application/json"}
	return err
}

// change makes a call whose answer says no more than that it was done.
func (c *Client) change(ctx context.Context, m call) error {
	ans, err := c.manage(ctx, m)
	if err != nil {
		return err
	}
	if ans.status == http.StatusNoContent || ans.status == http.StatusCreated && len(ans.body) == 0 {
		return nil
	}
	// A proxy's page is no sign that anything was done.
	_, err = ans.object(m)
	return err
}

// object reads an answer that must be a JSON object.
func (a *answer) object(m call) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	err := decode(a.body, &fields)
	if err == nil && fields == nil {
		err = errors.New("it is no JSON object")
	}
	if err != nil {
		return nil, a.broken(m.method+" "+m.path, err)
	}
	return fields, nil
}

// gone reports whether err says that what was addressed is not there.
func gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Missing()
}

// folderPath gives the form in which ImageKit names a folder: "/" or "/a/b".
func folderPath(folder string) string {
	names := strings.FieldsFunc(folder, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(names, "/")
}

// splitPath parts a path into the folder that holds it and its name.
func splitPath(p string) (folder, name string) {
	i := strings.LastIndexByte(p, '/')
	return folderPath(p[:i+1]), p[i+1:]
}
