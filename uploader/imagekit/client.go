package imagekit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
}

// Client calls ImageKit. It may be used by several goroutines.
type Client struct {
	http          *http.Client
	transport     *http.Transport
	key           Key
	uploadURL     string
	apiURL        string
	userAgent     string
	stall         time.Duration
	answerTimeout time.Duration
}

// New returns a client. Close it to end its idle connections.
func New(o Options) (*Client, error) {
	if o.Key.IsZero() {
		return nil, errors.New("there is no private key")
	}
	c := &Client{
		key:           o.Key,
		uploadURL:     orDefault(o.UploadURL, DefaultUploadURL),
		apiURL:        strings.TrimRight(orDefault(o.APIURL, DefaultAPIURL), "/"),
		userAgent:     orDefault(o.UserAgent, "iksync"),
		stall:         orDefault(o.Stall, time.Minute),
		answerTimeout: orDefault(o.AnswerTimeout, 5*time.Minute),
	}
	for _, raw := range []string{c.uploadURL, c.apiURL} {
		if err := CheckURL(raw); err != nil {
			return nil, err
		}
	}
	conns := orDefault(o.MaxConns, 16)
	c.transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   20 * time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConns:          2 * conns,
		MaxIdleConnsPerHost:   conns,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        8 << 10,
		DisableCompression:    true,
		// One connection a worker: HTTP/2 would send all uploads through one, under one
		// flow-control window, and breaks on it (imagekit-java issue 28).
		Protocols: http1(),
	}
	c.http = &http.Client{
		Transport: c.transport,
		// A redirect is never followed: the key goes to the configured hosts alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
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
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("bad URL: %w", err)
	}
	host := u.Hostname()
	if host == "" || u.User != nil {
		return fmt.Errorf("%s is not a URL of the form https://host/path", u.Redacted())
	}
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return fmt.Errorf("%s must be https (http is taken for this machine alone): the private key is sent to it", raw)
	}
	return nil
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

// do sends the request and reads the answer. Anything but 2xx is an [*Error].
func (c *Client) do(req *http.Request) (*answer, error) {
	req.SetBasicAuth(c.key.secret, "")
	req.Header["User-Agent"] = []string{c.userAgent}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, networkError(req, err)
	}
	defer res.Body.Close()
	ans := &answer{status: res.StatusCode, header: res.Header, requestID: res.Header.Get("x-ik-requestId")}
	ans.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, ans.broken(operation(req), fmt.Errorf("it broke off: %w", err))
	case len(ans.body) > maxAnswer:
		return nil, ans.broken(operation(req), fmt.Errorf("it is larger than %d bytes", maxAnswer))
	case res.StatusCode < 200 || res.StatusCode > 299:
		return nil, refusal(operation(req), ans, time.Now())
	}
	return ans, nil
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

// get calls the management API.
func (c *Client) get(ctx context.Context, path string, query url.Values) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.apiURL+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	return c.do(req)
}
