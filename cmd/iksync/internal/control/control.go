// Package control lets commands talk to the daemon that holds the state file,
// over a unix socket beside it that its owner alone can open.
//
// It speaks HTTP with JSON. What is asked for is done by the daemon's own parts;
// this package knows nothing of how.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"iksync/queue"
)

const (
	// answerTimeout bounds one exchange.
	answerTimeout = 30 * time.Second
	// longestSocket is how long the path of a socket may be on the systems there are.
	longestSocket = 103
	// maxMessage bounds a request and an answer, bytes.
	maxMessage = 1 << 20
)

// SocketPath is where the daemon of a state file listens.
func SocketPath(statePath string) string { return statePath + ".sock" }

// Actions are what the daemon does when it is asked.
type Actions struct {
	// Undo keeps the copies of absent files below a place; see [queue.Queue.Undo].
	Undo func(context.Context, queue.Place) (int64, error)
	// Approve lets the removals of a root go on; see [queue.Queue.Approve].
	Approve func(ctx context.Context, rootID int64) error
	// Retry makes failing jobs ready at once; see [queue.Queue.Retry].
	Retry func(context.Context, queue.Selection) (int64, error)
	// Pause lets the uploads of roots wait; see [queue.Queue.Pause].
	Pause func(ctx context.Context, roots []int64, until time.Time) error
	// Resume ends that.
	Resume func(ctx context.Context, roots []int64) error
	// Ignore leaves files out, or takes them up again (undo), and returns how many.
	Ignore func(ctx context.Context, at queue.Place, undo bool) (int64, error)
	// Rescan asks for a look at a place; the root 0 is every root.
	Rescan func(context.Context, queue.Place) error
	// Backfill does what `iksync backfill` does, and returns by root the number of the
	// scan that will have seen all of it.
	Backfill func(ctx context.Context, roots []int64) (map[int64]int64, error)
	// Relocate records that a root is at another path, or what it is asked for besides, and
	// returns what was done.
	Relocate func(context.Context, Relocation) (string, error)
	// Prove notes which assets were compared with their files; see [queue.Queue.Prove].
	Prove func(context.Context, []queue.Proof) (int64, error)
	// Status tells how iksync stands.
	Status func(context.Context) (*Status, error)
	// Page returns the link that opens the web page.
	Page func(context.Context) (string, error)
	// Story tells all about a path.
	Story func(context.Context, queue.Place) (*Story, error)
}

// Sighting is something that was noticed about a path.
type Sighting struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// Server is a daemon's end of the socket.
type Server struct {
	http *http.Server
	done chan error
}

// Listen begins to serve at the socket of a state file, whose lock the caller
// holds: a socket that is there is one that a dead process left. Others are served there,
// too, by pattern. Close ends it.
func Listen(statePath string, a Actions, others map[string]http.Handler) (*Server, error) {
	path := SocketPath(statePath)
	if len(path) > longestSocket {
		return nil, fmt.Errorf("the path of the control socket %s is longer than the %d bytes that systems take: keep the state file elsewhere", path, longestSocket)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	listener, err := listenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("listen at the control socket %s: %w", path, err)
	}
	mux := http.NewServeMux()
	for pattern, h := range others {
		mux.Handle(pattern, h)
	}
	handle(mux, "POST /undo", func(ctx context.Context, at place) (int64, error) {
		return a.Undo(ctx, queue.Place{RootID: at.RootID, Path: string(at.Path)})
	})
	handle(mux, "POST /approve", func(ctx context.Context, rootID int64) (bool, error) { return true, a.Approve(ctx, rootID) })
	handle(mux, "POST /retry", func(ctx context.Context, s selection) (int64, error) {
		return a.Retry(ctx, queue.Selection{Roots: s.Roots, Path: string(s.Path), Classes: s.Classes})
	})
	handle(mux, "POST /pause", func(ctx context.Context, p pause) (bool, error) { return true, a.Pause(ctx, p.Roots, p.Until) })
	handle(mux, "POST /resume", func(ctx context.Context, roots []int64) (bool, error) { return true, a.Resume(ctx, roots) })
	handle(mux, "POST /ignore", func(ctx context.Context, i ignore) (int64, error) {
		return a.Ignore(ctx, queue.Place{RootID: i.RootID, Path: string(i.Path)}, i.Undo)
	})
	handle(mux, "POST /rescan", func(ctx context.Context, at place) (bool, error) {
		return true, a.Rescan(ctx, queue.Place{RootID: at.RootID, Path: string(at.Path)})
	})
	handle(mux, "POST /relocate", a.Relocate)
	handle(mux, "POST /backfill", a.Backfill)
	handle(mux, "POST /prove", a.Prove)
	handle(mux, "POST /status", func(ctx context.Context, _ struct{}) (*Status, error) { return a.Status(ctx) })
	handle(mux, "POST /page", func(ctx context.Context, _ struct{}) (string, error) { return a.Page(ctx) })
	handle(mux, "POST /story", func(ctx context.Context, at place) (*Story, error) {
		return a.Story(ctx, queue.Place{RootID: at.RootID, Path: string(at.Path)})
	})
	s := &Server{http: &http.Server{Handler: mux, ReadTimeout: answerTimeout, WriteTimeout: answerTimeout}, done: make(chan error, 1)}
	go func() {
		err := s.http.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.done <- err
	}()
	return s, nil
}

// Close ends the server; answers under way may be finished.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	return errors.Join(s.http.Shutdown(ctx), <-s.done)
}

// place is a [queue.Place] whose path keeps bytes that are not UTF-8.
type place struct {
	RootID int64
	Path   []byte
}

// selection is a [queue.Selection] whose path keeps bytes that are not UTF-8.
type selection struct {
	Roots   []int64
	Path    []byte
	Classes []string
}

// pause is what is to be paused; the zero time is until it is resumed.
type pause struct {
	Roots []int64
	Until time.Time
}

// ignore is a [place] that is to be left out, or taken up again.
type ignore struct {
	place
	Undo bool
}

// Relocation is what becomes of a root. Paths keep bytes that are not UTF-8.
type Relocation struct {
	From    []byte // the recorded path; empty for a new root, and for Folder
	To      []byte // where it is
	NewRoot bool   // the directory is no recorded root
	Folder  bool   // assets outside of the root's folder are moved into it
}

// refusal is the body of an answer that is none.
type refusal struct {
	Error string `json:"error"`
}

// handle serves one action: its argument and its result are JSON.
func handle[A, R any](mux *http.ServeMux, pattern string, do func(context.Context, A) (R, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var arg A
		status, body := http.StatusOK, any(nil)
		err := json.NewDecoder(io.LimitReader(r.Body, maxMessage)).Decode(&arg)
		if err != nil {
			status, body = http.StatusBadRequest, refusal{err.Error()}
		} else if result, err := do(r.Context(), arg); err != nil {
			status, body = http.StatusInternalServerError, refusal{err.Error()}
		} else {
			body = result
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // who asked may have gone
	})
}

// ErrNoDaemon says that nobody listens at the socket.
var ErrNoDaemon = errors.New("no iksync daemon listens")

// Client asks a daemon.
type Client struct {
	http *http.Client
	path string
}

// NewClient returns a client of the daemon that holds a state file.
func NewClient(statePath string) *Client {
	path := SocketPath(statePath)
	return &Client{path: path, http: &http.Client{
		Timeout: answerTimeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
		},
	}}
}

// Undo asks for [Actions.Undo].
func (c *Client) Undo(ctx context.Context, at queue.Place) (n int64, err error) {
	err = c.ask(ctx, "/undo", place{at.RootID, []byte(at.Path)}, &n)
	return n, err
}

// Approve asks for [Actions.Approve].
func (c *Client) Approve(ctx context.Context, rootID int64) error {
	var done bool
	return c.ask(ctx, "/approve", rootID, &done)
}

// Retry asks for [Actions.Retry].
func (c *Client) Retry(ctx context.Context, s queue.Selection) (n int64, err error) {
	err = c.ask(ctx, "/retry", selection{s.Roots, []byte(s.Path), s.Classes}, &n)
	return n, err
}

// Pause asks for [Actions.Pause].
func (c *Client) Pause(ctx context.Context, roots []int64, until time.Time) error {
	var done bool
	return c.ask(ctx, "/pause", pause{roots, until}, &done)
}

// Resume asks for [Actions.Resume].
func (c *Client) Resume(ctx context.Context, roots []int64) error {
	var done bool
	return c.ask(ctx, "/resume", roots, &done)
}

// Ignore asks for [Actions.Ignore].
func (c *Client) Ignore(ctx context.Context, at queue.Place, undo bool) (n int64, err error) {
	err = c.ask(ctx, "/ignore", ignore{place{at.RootID, []byte(at.Path)}, undo}, &n)
	return n, err
}

// Rescan asks for [Actions.Rescan].
func (c *Client) Rescan(ctx context.Context, at queue.Place) error {
	var done bool
	return c.ask(ctx, "/rescan", place{at.RootID, []byte(at.Path)}, &done)
}

// Backfill asks for [Actions.Backfill].
func (c *Client) Backfill(ctx context.Context, roots []int64) (marks map[int64]int64, err error) {
	err = c.ask(ctx, "/backfill", roots, &marks)
	return marks, err
}

// Relocate asks for [Actions.Relocate].
func (c *Client) Relocate(ctx context.Context, r Relocation) (done string, err error) {
	err = c.ask(ctx, "/relocate", r, &done)
	return done, err
}

// MaxProofs is how many proofs one call of [Client.Prove] takes.
const MaxProofs = 1000

// Prove asks for [Actions.Prove].
func (c *Client) Prove(ctx context.Context, proofs []queue.Proof) (n int64, err error) {
	err = c.ask(ctx, "/prove", proofs, &n)
	return n, err
}

// Status asks for [Actions.Status].
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var s Status
	if err := c.ask(ctx, "/status", struct{}{}, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Page asks for [Actions.Page].
func (c *Client) Page(ctx context.Context) (link string, err error) {
	err = c.ask(ctx, "/page", struct{}{}, &link)
	return link, err
}

// Story asks for [Actions.Story].
func (c *Client) Story(ctx context.Context, at queue.Place) (*Story, error) {
	var s Story
	if err := c.ask(ctx, "/story", place{at.RootID, []byte(at.Path)}, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

func (c *Client) ask(ctx context.Context, what string, arg, result any) error {
	body, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://iksync"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		if errors.Is(err, fs.ErrPermission) { // whether one listens can't be told
			return fmt.Errorf("ask the daemon at %s: %w", c.path, dial.Err)
		}
		return fmt.Errorf("%w at %s: %w", ErrNoDaemon, c.path, dial.Err)
	}
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	defer res.Body.Close()
	answer := json.NewDecoder(io.LimitReader(res.Body, maxMessage))
	if res.StatusCode != http.StatusOK {
		var r refusal
		if err := answer.Decode(&r); err != nil {
			return fmt.Errorf("the daemon answered %s: %w", res.Status, err)
		}
		return fmt.Errorf("the daemon: %s", r.Error)
	}
	if err := answer.Decode(result); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}
