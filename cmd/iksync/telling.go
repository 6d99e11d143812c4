package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/hooks"
	"iksync/uploader"
)

const (
	// lookForPauses is how often it is looked whether uploads wait, for hooks.
	lookForPauses = 2 * time.Second
	// hookGrace is how long hooks may tell at the end what has not been told.
	hookGrace = 5 * time.Second
)

// telling runs the hooks of a daemon, and its heartbeat.
type telling struct {
	d      *daemon
	hooks  []hooks.Hook
	told   []*hooks.Told
	ending chan struct{} // closed when the hooks are to end
	cancel context.CancelFunc
	group  sync.WaitGroup

	beat    config.Heartbeat
	stop    context.CancelFunc // ends the heartbeat
	beating sync.WaitGroup
}

// follow tells others as another configuration says.
func (t *telling) follow(all []hooks.Hook, beat config.Heartbeat) {
	if t.beat != beat {
		t.endBeat()
		t.beat = beat
		if beat.URL != "" {
			ctx, cancel := context.WithCancel(context.Background())
			t.stop = cancel
			t.beating.Go(func() { t.d.heartbeat(ctx, beat) })
		}
	}
	if reflect.DeepEqual(t.hooks, all) {
		return
	}
	first := t.hooks == nil
	t.endHooks()
	t.hooks = all
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel, t.ending = cancel, make(chan struct{})
	out := t.d.outbox
	from := out.Begin()
	if first {
		out.Note(uploader.Outcome{Kind: hooks.Started, At: time.Now()})
	}
	r := &hooks.Runner{Outbox: out, Root: t.d.operator.rootPath, Env: withoutSecrets(t.d.environ()), Log: t.d.log}
	ending := t.ending
	for _, h := range all {
		told := &hooks.Told{Hook: h}
		t.told = append(t.told, told)
		t.group.Go(func() { r.Run(ctx, ending, told, from) })
	}
	t.d.operator.setHooks(t.told)
	t.group.Go(func() { t.d.operator.notePauses(ending, out) })
}

func (t *telling) endHooks() {
	if t.ending == nil {
		return
	}
	close(t.ending)
	grace := time.AfterFunc(hookGrace, t.cancel)
	t.group.Wait()
	grace.Stop()
	t.cancel()
	t.ending, t.told, t.hooks = nil, nil, nil
	t.d.operator.setHooks(nil)
}

func (t *telling) endBeat() {
	if t.stop == nil {
		return
	}
	t.stop()
	t.beating.Wait()
	t.stop, t.beat = nil, config.Heartbeat{}
}

func (t *telling) close() {
	t.endBeat()
	t.endHooks()
}

// withoutSecrets is the environment of commands: not the private key, nor what lets them
// talk to the service manager in our name.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains([]string{config.KeyVariable, "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}, name)
	})
}

// rootPath is the path of a root; "" when this daemon does not have it.
func (o *operator) rootPath(id int64) string {
	if g := o.current(); g != nil {
		if r := g.root(id); r != nil {
			return display(r.config.Path)
		}
	}
	return ""
}

func (o *operator) setHooks(told []*hooks.Told) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hooks = slices.Clone(told)
}

// notePauses notes when the uploads of a root begin to wait, and when they go on.
func (o *operator) notePauses(ending <-chan struct{}, out *uploader.Outbox) {
	waits := make(map[int64]bool)
	ticker := time.NewTicker(lookForPauses)
	defer ticker.Stop()
	for {
		select {
		case <-ending:
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		s, err := o.status(ctx)
		cancel()
		if err != nil {
			continue // it is starting, or ends
		}
		for i := range s.Roots {
			r := &s.Roots[i]
			is := r.State == control.Paused || r.State == control.Undecided || r.State == control.Waiting
			if is == waits[r.ID] || r.ID == 0 {
				continue
			}
			waits[r.ID] = is
			if is {
				out.Note(uploader.Outcome{Kind: hooks.Paused, At: s.At, RootID: r.ID, Reason: r.Why})
			} else {
				out.Note(uploader.Outcome{Kind: hooks.Resumed, At: s.At, RootID: r.ID})
			}
		}
	}
}

const (
	// beatTimeout bounds one heartbeat.
	beatTimeout = 10 * time.Second
	// slow is after how long without a success a backlog is none that is worked off.
	slow = 15 * time.Minute
)

// heartbeat asks for a URL while all is well, until ctx ends.
func (d *daemon) heartbeat(ctx context.Context, beat config.Heartbeat) {
	client := &http.Client{
		Timeout:       beatTimeout,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // its secret is for one host
	}
	ticker := time.NewTicker(beat.Every)
	defer ticker.Stop()
	was := "" // what was said last
	for {
		why := d.operator.unwell(ctx, time.Now())
		if why == "" {
			if why = pinged(ctx, client, beat.URL); why != "" {
				why = "its host did not take it: " + why
			}
		}
		if ctx.Err() != nil {
			return
		}
		if why != was {
			was = why
			if why == "" {
				d.log.Info("the heartbeat is sent")
			} else {
				d.log.Warn("no heartbeat is sent", zap.String("why", why))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// pinged says why a URL, which may hold a secret, could not be asked for; "" when it was.
func pinged(ctx context.Context, client *http.Client, target string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "it is no URL"
	}
	req.Header.Set("User-Agent", "iksync/"+version)
	res, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.Status
	}
	return ""
}

// unwell says why not all is well: it is when every root is in step, or on its way there.
func (o *operator) unwell(ctx context.Context, now time.Time) string {
	s, err := o.status(ctx)
	if err != nil {
		return err.Error()
	}
	for i := range s.Roots {
		switch r := &s.Roots[i]; {
		case r.State == control.InStep:
		case sum(r.Failing) > r.Again:
			return r.Path + ": " + files(sum(r.Failing)) + " failing"
		case r.Scan.Unreadable > 0:
			return r.Path + ": " + quantity(r.Scan.Unreadable, "place") + " can't be read"
		case r.HeldBack > 0:
			return r.Path + ": " + quantity(r.HeldBack, "removal waits", "removals wait") + " for iksync approve"
		case r.State != control.Syncing:
			return strings.TrimSuffix(r.Path+": "+r.State+", "+r.Why, ", ")
		case !r.Oldest.IsZero() && now.Sub(r.Oldest) > slow && now.Sub(s.Uploads.LastSuccess) > slow:
			return r.Path + ": files wait since " + timestamp(r.Oldest) + ", and none was uploaded for " + slow.String()
		}
	}
	return ""
}
