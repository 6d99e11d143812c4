package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"iksync/uploader"
)

// The kinds of events besides those of [uploader.Outcome].
const (
	Started = "started" // iksync has started: events may have been missed before
	Paused  = "paused"  // the uploads of a root, or all, wait
	Resumed = "resumed" // and go on
)

// Kinds lists all kinds of events.
func Kinds() []string { return []string{uploader.Uploaded, uploader.Failed, Paused, Resumed, Started} }

const (
	// batch is how many events are told at once at most.
	batch = 100
	// attempts is how often a batch is told that is not taken.
	attempts = 5
	// firstPause is how long the first of them is apart; each further pause is twice as long.
	firstPause = time.Second
	// maxOutput is how much of what a command says is logged, bytes.
	maxOutput = 2 << 10
)

// Hook is one receiver.
type Hook struct {
	Kinds   []string // that it wants to hear of; none is all
	Command []string // a program and its arguments; nil for a URL
	URL     string
	Secret  string        // signs what is posted; "" does not
	Timeout time.Duration // of one attempt
	Name    string        // that it is logged and counted under
}

// Event is what a receiver gets to know.
type Event struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	Root  string    `json:"root,omitempty"`
	Path  string    `json:"path,omitempty"` // below the root

	FileID       string `json:"file_id,omitempty"`
	VersionID    string `json:"version_id,omitempty"`
	RemotePath   string `json:"remote_path,omitempty"`
	URL          string `json:"url,omitempty"`
	ThumbnailURL string `json:"thumbnail_url,omitempty"`
	FileType     string `json:"file_type,omitempty"`
	Size         *int64 `json:"size,omitempty"` // bytes
	New          *bool  `json:"new,omitempty"`  // false: another version of a file that is known

	Class     string `json:"class,omitempty"`
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Attempts  int    `json:"attempts,omitempty"`

	Missed uint64 `json:"missed,omitempty"` // events before this one that this receiver did not take, or was too slow for
}

// Stats counts the events of a hook.
type Stats struct{ Sent, Failed, Discarded int64 }

// Runner runs hooks. Its counters go on when it is given others.
type Runner struct {
	Outbox *uploader.Outbox
	Root   func(id int64) string // the path of a root; "" when it is not known
	Env    []string              // of commands
	Log    *zap.Logger
}

// Told is a hook with its counters.
type Told struct {
	Hook
	sent, failed, discarded atomic.Int64
}

// Stats returns what was told so far.
func (t *Told) Stats() Stats {
	return Stats{Sent: t.sent.Load(), Failed: t.failed.Load(), Discarded: t.discarded.Load()}
}

// Run tells a hook what comes after a place of the outbox. Once ending is closed it tells
// what is there still and returns; ctx breaks it off.
func (r *Runner) Run(ctx context.Context, ending <-chan struct{}, t *Told, from uint64) {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	var ends sync.WaitGroup
	defer ends.Wait()
	returned := make(chan struct{})
	defer close(returned)
	ends.Go(func() {
		select {
		case <-ending:
			cancel() // what is there is read still
		case <-returned:
		}
	})
	h := t.Hook
	client := &http.Client{
		Timeout:       h.Timeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret's mark is for one host
	}
	defer client.CloseIdleConnections()
	silent := false
	var owed uint64 // events that it does not have, as it is to be told
	for {
		outcomes, next, missed, err := r.Outbox.Read(reading, from, batch)
		if err != nil {
			return
		}
		from = next
		if missed > 0 {
			t.discarded.Add(int64(missed))
			r.Log.Warn("the hook is too slow: it has missed events", zap.String("hook", h.Name), zap.Uint64("missed", missed))
		}
		owed += missed
		events := r.events(&h, outcomes, owed)
		if len(events) == 0 {
			continue
		}
		err = r.tell(ctx, client, &h, events)
		switch {
		case err == nil:
			t.sent.Add(int64(len(events)))
			owed = 0
		case ctx.Err() != nil:
			t.failed.Add(int64(len(events)))
			r.Log.Warn("events were not told: iksync ends", zap.String("hook", h.Name), zap.Int("events", len(events)), zap.Error(err))
			return
		default:
			t.failed.Add(int64(len(events)))
			owed += uint64(len(events))
			if !silent {
				r.Log.Error("the hook did not take events; it is told the next ones", zap.String("hook", h.Name), zap.Int("events", len(events)), zap.Error(err))
			}
		}
		silent = err != nil // the next ones that fail are counted
	}
}

// events are those of the outcomes that a hook wants.
func (r *Runner) events(h *Hook, outcomes []uploader.Outcome, missed uint64) []Event {
	var events []Event
	for i := range outcomes {
		o := &outcomes[i]
		if len(h.Kinds) > 0 && !slices.Contains(h.Kinds, o.Kind) {
			continue
		}
		e := Event{Event: o.Kind, At: o.At, Path: o.Path, FileID: o.FileID, VersionID: o.VersionID, RemotePath: o.RemotePath, URL: o.URL, ThumbnailURL: o.ThumbnailURL,
			FileType: o.FileType, Class: o.Class, Reason: o.Reason, RequestID: o.RequestID, Attempts: o.Attempts}
		if o.RootID != 0 {
			e.Root = r.Root(o.RootID)
		}
		if o.Kind == uploader.Uploaded {
			e.Size, e.New = &o.Size, &o.New
		}
		if len(events) == 0 {
			e.Missed = missed
		}
		events = append(events, e)
	}
	return events
}

// tell tells events, several times when they are not taken.
func (r *Runner) tell(ctx context.Context, client *http.Client, h *Hook, events []Event) error {
	pause := firstPause
	for n := 1; ; n++ {
		var err error
		if h.Command != nil {
			err = r.execute(ctx, h, events)
		} else {
			err = post(ctx, client, h, events, time.Now())
		}
		if err == nil || n == attempts || ctx.Err() != nil || errors.Is(err, errRefused) {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
		pause *= 2
	}
}

// execute runs the command with the events on its standard input, a line each.
func (r *Runner) execute(ctx context.Context, h *Hook, events []Event) error {
	var lines []byte
	for i := range events {
		line, err := json.Marshal(&events[i])
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, fmt.Errorf("it took longer than %s", h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Env = r.Env
	cmd.Stdin = bytes.NewReader(lines)
	var said start
	cmd.Stdout, cmd.Stderr = &said, &said
	endWhole(cmd)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() { // it left something behind that holds its output
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w%s", h.Command[0], err, said.quoted())
}

// start keeps the start of what a command says.
type start struct{ b []byte }

// Write keeps what there is room for.
func (s *start) Write(p []byte) (int, error) {
	s.b = append(s.b, p[:min(len(p), maxOutput-len(s.b))]...)
	return len(p), nil
}

func (s *start) quoted() string {
	if len(s.b) == 0 {
		return ""
	}
	return fmt.Sprintf("; it said %q", s.b)
}
