package imagekit

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultUploadURL is ImageKit's endpoint for uploads, V1.
	DefaultUploadURL = "https://upload.imagekit.io/api/v1/files/upload"
	// DefaultAPIURL is the base of ImageKit's management API.
	DefaultAPIURL = "https://api.imagekit.io/v1"

	statusAccepted = http.StatusAccepted

	// maxAnswer bounds what is read of an answer, bytes. The largest honest one,
	// with all metadata of a picture, is some 100 kB.
	maxAnswer = 8 << 20
	// maxHeaders bounds the headers of an answer, bytes.
	maxHeaders = 128 << 10
)

// Options configure a [Client]. Zero values mean the defaults given.
type Options struct {
	Key           Key           // required
	UploadURL     string        // DefaultUploadURL
	APIURL        string        // DefaultAPIURL
	UserAgent     string        // "iksync"
	MaxConns      int           // connections kept open to each host; 16
	Stall         time.Duration // an upload that moves no byte for so long is cut; 60 s
	AnswerTimeout time.Duration // wait for the answer once all is sent; 5 min

	// How often the management API is called; uploads have no limit. ImageKit
	// gives no numbers; these are those it is said to allow in the long run.
	ReadsPerSecond  float64 // GET calls; 20 when 0; negative is no limit
	WritesPerSecond float64 // all others; 5 when 0; negative is no limit

	Meter *Meter // counts the requests; nil counts nothing
}

// Client calls ImageKit. It may be used by several goroutines.
type Client struct {
	transport     *http.Transport
	header        func() http.Header  // of every request; a closure keeps the key in it from being printed
	hide          func([]byte) []byte // takes the key out of what a server says
	sign          func(string) string // gives the signature of a text
	uploadURL     *url.URL
	apiURL        *url.URL
	stall         time.Duration
	answerTimeout time.Duration
	limits        *limits // of the management API
	meter         *Meter
}

// New returns a client. Close it to end its idle connections.
func New(o Options) (*Client, error) {
	if o.Key.IsZero() {
		return nil, errors.New("there is no private key")
	}
	header := http.Header{
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(o.Key.secret()+":"))},
		"User-Agent":    {orDefault(o.UserAgent, "iksync")},
	}
	c := &Client{
		header:        func() http.Header { return header },
		hide:          hider(o.Key.secret()),
		sign:          signer(o.Key),
		stall:         orDefault(o.Stall, time.Minute),
		answerTimeout: orDefault(o.AnswerTimeout, 5*time.Minute),
		meter:         o.Meter,
		limits:        newLimits(orDefault(o.ReadsPerSecond, 20), orDefault(o.WritesPerSecond, 5)),
	}
	var err error
	if c.uploadURL, err = parseURL(orDefault(o.UploadURL, DefaultUploadURL)); err != nil {
		return nil, err
	}
	if c.apiURL, err = parseURL(strings.TrimRight(orDefault(o.APIURL, DefaultAPIURL), "/")); err != nil {
		return nil, err
	}
	conns := orDefault(o.MaxConns, 16)
	c.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer(),
		TLSHandshakeTimeout: 20 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:        2 * conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     90 * time.Second,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      8 << 10,
		DisableCompression:  true,
		// Honest ones are some 2 kB, and in memory headers are many times as large.
		MaxResponseHeaderBytes: maxHeaders,
		// One connection a worker: HTTP/2 would send all uploads through one, under one
		// flow-control window, and breaks on it (imagekit-java issue 28).
		Protocols: http1(),
	}
	return c, nil
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// CheckURL reports why raw can't be an endpoint: it must be https, or http to
// this machine, since the key is sent with every request.
func CheckURL(raw string) error {
	_, err := parseURL(raw)
	return err
}

func parseURL(raw string) (*url.URL, error) {
	if strings.Contains(raw, "private_") {
		// Without a colon behind it a key with a slash in it is read as host and path.
		return nil, errors.New("a URL with what looks like the private key in it is not taken: the private key is set apart from the URLs")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The URL is left out: the private key may have been put into it.
		var bad *url.Error
		if errors.As(err, &bad) {
			err = bad.Err
		}
		return nil, fmt.Errorf("bad URL: %w", err)
	}
	if u.User != nil {
		// ImageKit's key is a user name, which URL.Redacted shows.
		return nil, errors.New("a URL with a user name or password in it is not taken: the private key is set apart from the URLs")
	}
	host := u.Hostname()
	if host == "" {
		return nil, fmt.Errorf("%q is not a URL of the form https://host/path", raw)
	}
	if !private(u) {
		return nil, fmt.Errorf("%s must be https (http is taken for this machine alone): the private key is sent to it", raw)
	}
	return u, nil
}

// private reports whether nobody can listen in on what is sent to u.
func private(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	return host != "" && (u.Scheme == "https" || u.Scheme == "http" && local)
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// answer is a whole HTTP answer.
type answer struct {
	status    int
	header    http.Header
	body      []byte
	requestID string
}

// send sends the request. It uses the transport itself, so no redirect is
// followed and no cookie kept: the key goes to the configured hosts alone.
func (c *Client) send(req *http.Request, endpoint string) (*http.Response, error) {
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
	res, err := c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		c.meter.note(endpoint, 0)
		return nil, networkError(req, c.hideError(err), connected)
	}
	c.meter.note(endpoint, res.StatusCode)
	return res, nil
}

// do sends the request and reads the answer. Anything but 2xx is an [*Error].
func (c *Client) do(req *http.Request, endpoint string) (*answer, error) {
	res, err := c.send(req, endpoint)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	ans := &answer{status: res.StatusCode, header: res.Header, requestID: c.requestID(res)}
	ans.body, err = readAnswer(res)
	ans.body, err = c.hide(ans.body), c.hideError(err)
	switch {
	case err != nil && callerGone(req):
		return nil, fmt.Errorf("%s: %w", operation(req), req.Context().Err())
	case err != nil:
		return nil, ans.broken(operation(req), fmt.Errorf("it broke off: %w", err))
	case len(ans.body) > maxAnswer:
		return nil, ans.broken(operation(req), fmt.Errorf("it is larger than %d bytes", maxAnswer))
	case res.StatusCode < 200 || res.StatusCode > 299:
		return nil, refusal(operation(req), ans, time.Now())
	}
	return ans, nil
}

// readAnswer reads one byte more than the most that is taken.
func readAnswer(res *http.Response) ([]byte, error) {
	if n := res.ContentLength; n >= 0 && n <= 64<<10 {
		body := make([]byte, n)
		_, err := io.ReadFull(res.Body, body)
		return body, err
	}
	return io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
}

// request makes a request with the key. Its header is the request's own.
func (c *Client) request(ctx context.Context, method string, u *url.URL, body io.ReadCloser, length int64) *http.Request {
	common := c.header()
	header := make(http.Header, len(common)+1)
	maps.Copy(header, common)
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: header, Body: body, ContentLength: length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	return req.WithContext(ctx)
}

func operation(req *http.Request) string {
	if strings.HasSuffix(req.URL.Path, "/upload") {
		return "upload"
	}
	return req.Method + " " + req.URL.Path
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
