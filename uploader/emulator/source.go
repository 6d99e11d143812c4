package emulator

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of an upload by URL. The 8 seconds are ImageKit's (upload API); the
// size is that of its largest plan.
const (
	headerTimeout = 8 * time.Second
	maxDownload   = 2 << 30
	maxRedirects  = 5
)

// readText takes a file parameter that is text: a URL, a data URI or base64.
func (s *Server) readText(f *form, part io.Reader) error {
	text := bufio.NewReader(part)
	start, err := text.Peek(8)
	switch {
	case len(start) == 0 && err == io.EOF:
		return nil // as good as no file
	case err != nil && err != io.EOF:
		return err
	case hasPrefixFold(start, "http://"), hasPrefixFold(start, "https://"):
		var b strings.Builder
		n, err := io.Copy(&b, io.LimitReader(text, maxURL+1))
		if err == nil && n > maxURL {
			err = badPart(badFile)
		}
		f.source = strings.TrimSpace(b.String())
		return err
	case hasPrefixFold(start, "data:"):
		head, err := text.ReadSlice(',') // no longer than the buffer
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if err != nil || !bytes.Contains(bytes.ToLower(head), []byte(";base64")) {
			return badPart(badFile)
		}
	}
	err = s.take(f, base64.NewDecoder(base64.RawStdEncoding, &unpadded{src: text}))
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) {
		return badPart(badFile)
	}
	return err
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}

// unpadded makes the raw standard alphabet of what clients send as base64: it
// leaves out white space and padding, and takes the URL alphabet as well.
type unpadded struct{ src io.Reader }

func (u *unpadded) Read(p []byte) (int, error) {
	for {
		n, err := u.src.Read(p)
		kept := 0
		for _, c := range p[:n] {
			switch c {
			case ' ', '\t', '\r', '\n', '=':
				continue
			case '-':
				c = '+'
			case '_':
				c = '/'
			}
			p[kept] = c
			kept++
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

// fetcher downloads the sources of uploads by URL.
type fetcher struct {
	client *http.Client
	own    *http.Transport // nil: the transport is the caller's
}

func newFetcher(via http.RoundTripper) *fetcher {
	f := &fetcher{}
	if via == nil {
		f.own = &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 10 * time.Second}
		via = f.own
	}
	f.client = &http.Client{Transport: via, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects || !isWeb(r.URL) {
			return errors.New("too many redirects, or one to something that is not http")
		}
		return nil
	}}
	return f
}

func (f *fetcher) close() {
	if f.own != nil {
		f.own.CloseIdleConnections()
	}
}

func isWeb(u *url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" }

// download receives the file at the form's source. Any failure of it is a bad
// file parameter.
func (s *Server) download(ctx context.Context, f *form) error {
	u, err := url.Parse(f.source)
	if err != nil || !isWeb(u) {
		return badPart(badFile)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(headerTimeout, cancel)
	defer late.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.source, nil)
	if err != nil {
		return badPart(badFile)
	}
	resp, err := s.fetcher.client.Do(r)
	if err != nil {
		return badPart(badFile + " The URL could not be downloaded: no answer.")
	}
	defer resp.Body.Close()
	late.Stop()
	if resp.StatusCode != http.StatusOK {
		return badPart(fmt.Sprintf("%s The URL could not be downloaded: its server answered %d.", badFile, resp.StatusCode))
	}
	body := &io.LimitedReader{R: resp.Body, N: maxDownload + 1}
	err = s.take(f, body)
	var store storeError
	switch {
	case err == nil && body.N == 0:
		return errTooLarge
	case err == nil, errors.Is(err, errTooLarge), errors.As(err, &store):
		return err
	}
	return badPart(badFile + " The URL could not be downloaded: its answer broke off.")
}
