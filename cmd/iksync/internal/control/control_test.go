//go:build unix

package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"iksync/queue"
)

// statePath is that of a state file which nobody has made. The path of a socket
// is bounded, so that the name of the test has no part in it.
func statePath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, entry := range left {
			t.Errorf("%s was left", entry.Name())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "iksync.db")
}

func listen(t *testing.T, path string, a Actions) *Server {
	t.Helper()
	s, err := Listen(path, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestActionsAreDoneByTheDaemon(t *testing.T) {
	path := statePath(t)
	var mu sync.Mutex
	var undone []queue.Place
	var approved []int64
	var retried []queue.Selection
	listen(t, path, Actions{
		Undo: func(_ context.Context, at queue.Place) (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			undone = append(undone, at)
			return int64(len(at.Path)), nil
		},
		Approve: func(_ context.Context, rootID int64) error {
			mu.Lock()
			defer mu.Unlock()
			approved = append(approved, rootID)
			return nil
		},
		Retry: func(_ context.Context, s queue.Selection) (int64, error) {
			mu.Lock()
			defer mu.Unlock()
			retried = append(retried, s)
			return int64(len(retried)), nil
		},
	})
	c := NewClient(path)
	places := []queue.Place{{RootID: 1}, {RootID: 1 << 60, Path: "album/1.jpg"}, {RootID: 3, Path: "a b\n<é>\"\\"}}
	for _, at := range places {
		if n, err := c.Undo(t.Context(), at); err != nil || n != int64(len(at.Path)) {
			t.Errorf("undo of %+v: %d, %v", at, n, err)
		}
	}
	if err := c.Approve(t.Context(), 7); err != nil {
		t.Error(err)
	}
	selections := []queue.Selection{{Roots: []int64{1, 2}}, {Roots: []int64{3}, Path: "caf\xe9/1.jpg"}, {Roots: []int64{4}, Classes: []string{"file", "account"}}}
	for i, s := range selections {
		if n, err := c.Retry(t.Context(), s); err != nil || n != int64(i+1) {
			t.Errorf("retry of %+v: %d, %v", s, n, err)
		}
	}
	// Many at once.
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := NewClient(path).Approve(t.Context(), 8); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, at := range places {
		if undone[i] != at {
			t.Errorf("%+v was undone, not %+v", undone[i], at)
		}
	}
	if !reflect.DeepEqual(retried, selections) {
		t.Errorf("retried %+v, not %+v", retried, selections)
	}
	if len(undone) != len(places) || len(approved) != 21 || approved[0] != 7 {
		t.Errorf("undone %+v, approved %v", undone, approved)
	}
}

func TestARefusalGivesItsReason(t *testing.T) {
	path := statePath(t)
	full := errors.New("the disk is full")
	listen(t, path, Actions{
		Undo:    func(context.Context, queue.Place) (int64, error) { return 5, full },
		Approve: func(context.Context, int64) error { return full },
		Retry:   func(context.Context, queue.Selection) (int64, error) { return 5, full },
	})
	c := NewClient(path)
	n, err := c.Undo(t.Context(), queue.Place{RootID: 1})
	if err == nil || !strings.Contains(err.Error(), full.Error()) || errors.Is(err, ErrNoDaemon) || n != 0 {
		t.Errorf("undo: %d, %v", n, err)
	}
	if err := c.Approve(t.Context(), 1); err == nil || !strings.Contains(err.Error(), full.Error()) || errors.Is(err, ErrNoDaemon) {
		t.Errorf("approve: %v", err)
	}
	if n, err := c.Retry(t.Context(), queue.Selection{}); err == nil || !strings.Contains(err.Error(), full.Error()) || errors.Is(err, ErrNoDaemon) || n != 0 {
		t.Errorf("retry: %d, %v", n, err)
	}
}

// A daemon of another version may be asked for what it does not know.
func TestWhatTheDaemonDoesNotKnowIsRefused(t *testing.T) {
	path := statePath(t)
	listen(t, path, Actions{
		Undo: func(context.Context, queue.Place) (int64, error) { t.Error("it was undone"); return 0, nil },
	})
	c := NewClient(path)
	if err := c.ask(t.Context(), "/dance", 1, new(int64)); err == nil || errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "404") {
		t.Errorf("an unknown action: %v", err)
	}
	for _, arg := range []any{"a text", []int{1}, map[string]any{"RootID": "1"}} {
		if err := c.ask(t.Context(), "/undo", arg, new(int64)); err == nil || errors.Is(err, ErrNoDaemon) {
			t.Errorf("undo of %v: %v", arg, err)
		}
	}
	if err := c.ask(t.Context(), "/undo", queue.Place{Path: strings.Repeat("x", maxMessage)}, new(int64)); err == nil {
		t.Error("a message without bound was taken")
	}
	res, err := c.http.Get("http://iksync/undo")
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET was answered with %s, %v", res.Status, err)
	}
}

func TestWithoutADaemonThereIsNobodyToAsk(t *testing.T) {
	path := statePath(t)
	c := NewClient(path)
	if _, err := c.Undo(t.Context(), queue.Place{}); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), SocketPath(path)) {
		t.Errorf("no socket: %v", err)
	}
	leave(t, path)
	if err := c.Approve(t.Context(), 1); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("the socket of a dead daemon: %v", err)
	}
	if err := os.Remove(SocketPath(path)); err != nil {
		t.Error(err)
	}
}

// leave leaves the socket of a daemon that was killed.
func leave(t *testing.T, path string) {
	t.Helper()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath(path), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	path := statePath(t)
	ctx, cancel := context.WithCancel(t.Context())
	listen(t, path, Actions{Approve: func(asked context.Context, _ int64) error {
		cancel()
		<-asked.Done() // who asked has gone
		return asked.Err()
	}})
	if err := NewClient(path).Approve(ctx, 1); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoDaemon) {
		t.Errorf("approve: %v", err)
	}
}

func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	path := statePath(t)
	listen(t, path, Actions{})
	info, err := os.Lstat(SocketPath(path))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it there is %v, %v", entries, err)
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := statePath(t)
	leave(t, path)
	listen(t, path, Actions{Approve: func(context.Context, int64) error { return nil }})
	if err := NewClient(path).Approve(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestTheSocketIsRemovedAtTheEnd(t *testing.T) {
	path := statePath(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	s, err := Listen(path, Actions{Approve: func(context.Context, int64) error {
		close(asked)
		<-goOn
		return nil
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered, closed := make(chan error, 1), make(chan error, 1)
	go func() { answered <- NewClient(path).Approve(t.Context(), 1) }()
	<-asked
	go func() { closed <- s.Close() }()
	close(goOn)
	if err := <-answered; err != nil {
		t.Errorf("what was asked before the end: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(SocketPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is there: %v", err)
	}
	if err := NewClient(path).Approve(t.Context(), 1); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("after the end: %v", err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	path := statePath(t)
	if _, err := Listen(filepath.Join(path, "not", "there"), Actions{}, nil); err == nil || !strings.Contains(err.Error(), "control socket") {
		t.Errorf("no such directory: %v", err)
	}
}
