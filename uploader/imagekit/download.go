package imagekit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Download gives the content behind a file's URL. The caller closes it. The URL
// must be https, or http to this machine. The private key is not sent, so a
// private file needs [Client.DownloadSigned]; and no redirect is followed. What comes may
// be old, from a cache, and ImageKit optimises pictures on delivery unless the
// URL has the transformation orig-true.
//
// Reading fails when no byte comes for Options.Stall. Errors, of reading too,
// are an [*Error]: of class File when there is no such file or it is not shown
// to everybody, never of Credentials or Account.
func (c *Client) Download(ctx context.Context, rawURL string) (io.ReadCloser, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.User != nil || !private(u) {
		// The URL is left out: a signature may be in it.
		return nil, unsendable("download", "the file's URL is not an https URL without a user name")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req := c.request(ctx, http.MethodGet, u, nil, 0)
	req.Header.Del("Authorization")
	d := &download{ctx: ctx, cancel: cancel, stall: c.stall, hide: c.hideError}
	late := d.watch()
	res, err := c.send(req, "download")
	late.Stop()
	if err != nil {
		cancel(nil)
		var e *Error
		if errors.As(err, &e) {
			e.Op, e.Ambiguous = "download", false
		}
		return nil, err
	}
	d.body = res.Body
	if res.StatusCode != http.StatusOK {
		d.Close()
		return nil, c.notServed(res)
	}
	return d, nil
}

// notServed classifies an answer that is not the file. It comes from where files
// are served, and says nothing of the key or of what may be uploaded.
func (c *Client) notServed(res *http.Response) *Error {
	a := &answer{status: res.StatusCode, header: res.Header, requestID: c.requestID(res)}
	e := refusal("download", a, time.Now())
	e.Ambiguous = false
	if e.Class == Credentials || e.Class == Account {
		e.Class = File
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		e.Message = "a redirect, which is not followed"
	}
	return e
}

// download is the content of a file. The time limit is on every Read, so that a
// caller may take its time between them.
type download struct {
	ctx    context.Context // tells why a Read failed
	cancel context.CancelCauseFunc
	stall  time.Duration
	hide   func(error) error // the client's
	body   io.ReadCloser
}

func (d *download) watch() *time.Timer {
	return time.AfterFunc(d.stall, func() { d.cancel(fmt.Errorf("%w for %s", errStalled, d.stall)) })
}

// Read reads on in the content.
func (d *download) Read(p []byte) (int, error) {
	late := d.watch()
	defer late.Stop()
	n, err := d.body.Read(p)
	if err != nil && err != io.EOF {
		err = d.failure(err)
	}
	return n, err
}

func (d *download) failure(err error) error {
	cause := context.Cause(d.ctx)
	switch {
	case errors.Is(cause, errStalled):
		err = cause
	case cause != nil:
		return fmt.Errorf("download: %w", d.ctx.Err())
	}
	err = d.hide(err)
	return &Error{Class: Transient, Op: "download", Message: clip(fmt.Sprintf("it broke off: %v", err)), Err: err}
}

// Close ends the download, wherever it is.
func (d *download) Close() error {
	d.cancel(nil)
	return d.body.Close()
}
