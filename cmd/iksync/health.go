package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/metrics"
	"iksync/uploader"
	"iksync/uploader/imagekit"
)

// healthTimeout bounds a look whether the daemon is well.
const healthTimeout = 10 * time.Second

// handlers are what is served beside the page, and at the control socket.
func (d *daemon) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /metrics": metrics.NewHandler(d.operator.source(d.meter, d.took)),
		"GET /healthz": said(d.alive),
		"GET /readyz":  said(d.ready),
	}
}

// source is what the metrics are told from.
func (o *operator) source(meter *imagekit.Meter, took *uploader.Durations) metrics.Source {
	return metrics.Source{
		Status: o.status, Totals: o.totals, Calls: meter.Calls, Took: took.Read,
		Writable: func() bool { return o.d.db.Trouble() == nil },
		Hooks: func() []metrics.Hook {
			o.mu.Lock()
			defer o.mu.Unlock()
			all := make([]metrics.Hook, 0, len(o.hooks))
			for _, t := range o.hooks {
				s := t.Stats()
				all = append(all, metrics.Hook{Name: t.Name, Sent: s.Sent, Failed: s.Failed, Discarded: s.Discarded})
			}
			return all
		},
	}
}

// said answers with what is wrong: 200 when nothing is, else 503.
func said(wrong func(context.Context) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if why := wrong(ctx); why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, why)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

// alive says which part makes no progress; "" when all do. A state file that can't be
// written is waited for, and no reason to start anew.
func (d *daemon) alive(ctx context.Context) string {
	g := d.operator.current()
	if g == nil || d.db.Trouble() != nil {
		return ""
	}
	if part := d.stuck(ctx, g); part != "" {
		return "no progress: " + part
	}
	return ""
}

// ready says why changes would not be uploaded; "" when they would.
func (d *daemon) ready(ctx context.Context) string {
	if trouble := d.db.Trouble(); trouble != nil {
		return "the state file can't be written: " + trouble.Error()
	}
	s, err := d.operator.status(ctx)
	if err != nil {
		return err.Error()
	}
	for i := range s.Roots {
		if r := &s.Roots[i]; r.State == control.Paused || r.State == control.Undecided || r.State == control.Waiting {
			return r.Path + ": " + r.State + ", " + r.Why
		}
	}
	return ""
}
