package page

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/thumbnail"
	"iksync/queue"
)

//go:embed assets
var assets embed.FS

const (
	// answerTimeout bounds one answer, and each piece of a stream.
	answerTimeout = 30 * time.Second
	// closing bounds the wait for answers under way.
	closing = 5 * time.Second
	// maxStreams is how many pages may be open at once.
	maxStreams = 64
	// maxBody bounds a request, bytes.
	maxBody = 64 << 10
)

// Options are what the page shows, and to whom.
type Options struct {
	Network string // "tcp" or "unix"
	Addr    string // "127.0.0.1:7711", or the path of a socket
	Token   string // must be shown to act; not empty
	Closed  bool   // it must be shown also to look

	Actions  control.Actions
	Points   func() []control.Point                                                     // the throughput, the oldest first
	Failures func(ctx context.Context, after queue.Cursor, n int) ([]queue.Item, error) // see [queue.Queue.FailingPage]
	Search   func(ctx context.Context, text string, n int) ([]queue.Hit, bool, error)   // see [queue.Queue.Search]
	// Display makes a path fit to be read.
	Display func(path string) string
	// Picture opens a recent upload by its fileId, and tells its path.
	Picture func(fileID string) (*os.File, string, error)
	// Others are served beside the page, by pattern, to those who may look.
	Others map[string]http.Handler
}

// Server is a page that is served.
type Server struct {
	o       Options
	http    *http.Server
	addr    string
	streams atomic.Int64
	maker   *thumbnail.Maker
	end     context.CancelFunc
	done    chan error
}

// Listen begins to serve the page. Close ends it.
func Listen(o Options) (*Server, error) {
	if o.Token == "" {
		return nil, errors.New("the page needs a token")
	}
	listener, err := listen(o.Network, o.Addr)
	if err != nil {
		return nil, fmt.Errorf("serve the page at %s: %w", o.Addr, err)
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Server{o: o, addr: listener.Addr().String(), maker: thumbnail.NewMaker(), end: end, done: make(chan error, 1)}
	s.http = &http.Server{
		Handler: s.handler(), ReadTimeout: answerTimeout, WriteTimeout: answerTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxBody,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		err := s.http.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.done <- err
	}()
	return s, nil
}

func listen(network, addr string) (net.Listener, error) {
	if network != "unix" {
		return net.Listen(network, addr)
	}
	if info, err := os.Lstat(addr); err == nil && info.Mode()&fs.ModeSocket != 0 {
		if c, err := net.Dial("unix", addr); err == nil {
			return nil, errors.Join(errors.New("another process listens there"), c.Close())
		}
		if err := os.Remove(addr); err != nil { // a dead process left it
			return nil, err
		}
	}
	l, err := net.Listen("unix", addr)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(addr, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// URL is where the page is.
func (s *Server) URL() string {
	if s.o.Network == "unix" {
		return "unix:" + s.o.Addr
	}
	return "http://" + s.addr + "/"
}

// Close ends the server: answers under way may be finished, streams end.
func (s *Server) Close() error {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	return errors.Join(err, <-s.done)
}

// policy lets the page load from where it came alone, and run no script that is
// written into it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for name, file := range map[string]string{"GET /{$}": "index.html", "GET /app.js": "app.js", "GET /draw.js": "draw.js", "GET /style.css": "style.css", "GET /icon.svg": "icon.svg"} {
		mux.HandleFunc(name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, assets, "assets/"+file)
		})
	}
	mux.HandleFunc("GET /events", s.looking(s.events))
	mux.HandleFunc("GET /thumbnail/{id}", s.thumbnail)
	s.api(mux)
	for pattern, h := range s.o.Others {
		mux.HandleFunc(pattern, s.looking(h.ServeHTTP))
	}
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "another site asked for this")
	}))
	guarded := foreign.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.o.Closed && s.o.Network != "unix" && !loopback(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this address answers only to localhost, 127.0.0.1 and [::1]; with http_token_file it answers to every name")
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); r.URL.Path != "/" && (site == "cross-site" || site == "same-site") {
			refuse(w, http.StatusForbidden, "another site asked for this")
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// loopback reports whether a Host header names this machine itself.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// may reports whether a request shows the token.
func (s *Server) may(r *http.Request) bool {
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(shown), []byte(s.o.Token)) == 1
}

// looking lets those look who may.
func (s *Server) looking(h http.HandlerFunc) http.HandlerFunc {
	if !s.o.Closed {
		return h
	}
	return s.acting(h)
}

// acting lets those do something who show the token.
func (s *Server) acting(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.may(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "the token is needed for this: open the link that iksync page prints")
			return
		}
		h(w, r)
	}
}

// sign makes the mark without which no picture is given: only who may act gets it.
func (s *Server) sign(fileID string) string {
	mac := hmac.New(sha256.New, []byte(s.o.Token))
	mac.Write([]byte("thumbnail " + fileID))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if subtle.ConstantTimeCompare([]byte(r.FormValue("s")), []byte(s.sign(id))) != 1 {
		refuse(w, http.StatusUnauthorized, "the token is needed for this")
		return
	}
	file, path, err := s.o.Picture(id)
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	picture, err := s.maker.JPEG(r.Context(), path, file, info.Size())
	if err != nil {
		refuse(w, http.StatusNotFound, err.Error())
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(picture) // who asked may have gone
}
