// Package metrics tells Prometheus how the daemon stands.
//
// All is read when it is asked for; nothing is counted here. No label names a file.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"iksync/cmd/iksync/internal/control"
	"iksync/uploader"
	"iksync/uploader/imagekit"
)

// timeout bounds one look.
const timeout = 10 * time.Second

// Source is where the figures come from. Its functions may be called at any time.
type Source struct {
	Status   func(context.Context) (*control.Status, error)
	Totals   func() uploader.Stats
	Calls    func() map[imagekit.Call]int64
	Took     func() (n uint64, seconds float64, within map[float64]uint64) // see [uploader.Durations.Read]
	Writable func() bool                                                   // the state file takes writes
	Hooks    func() []Hook
}

// Hook is how a hook of on_event fares.
type Hook struct {
	Name                    string
	Sent, Failed, Discarded int64 // events
}

// NewHandler returns a handler that answers scrapes.
func NewHandler(s Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(s), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 4, Timeout: 2 * timeout})
}

// NewCollector returns a collector of the daemon's own figures.
func NewCollector(s Source) prometheus.Collector { return &collector{source: s, metrics: describe()} }

// metric is one of the figures.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

type collector struct {
	source  Source
	metrics map[string]metric
}

// describe lists all figures by name.
func describe() map[string]metric {
	all := make(map[string]metric)
	add := func(kind prometheus.ValueType, name, help string, labels ...string) {
		all[name] = metric{prometheus.NewDesc(name, help, labels, nil), kind}
	}
	gauge := func(name, help string, labels ...string) { add(prometheus.GaugeValue, name, help, labels...) }
	counter := func(name, help string, labels ...string) { add(prometheus.CounterValue, name, help, labels...) }

	gauge("iksync_build_info", "1, with the version of iksync and of Go.", "version", "goversion")
	gauge("iksync_root_state", "1 for the state that the root is in, 0 for the others: waiting, paused, syncing, failing, held back, in step.", "root", "state")
	gauge("iksync_root_files", "Files of the root that are to be in the library, as of the last scan.", "root")
	gauge("iksync_root_bytes", "Their bytes.", "root")
	gauge("iksync_backlog_files", "Files that are to be sent, moved or looked at.", "root")
	gauge("iksync_backlog_bytes", "Their bytes.", "root")
	gauge("iksync_retrying_files", "Files of the backlog that have failed and are tried again.", "root")
	gauge("iksync_oldest_pending_timestamp_seconds", "Since when the oldest file of the backlog waits; 0 when none does.", "root")
	gauge("iksync_settling_files", "Files that are waiting to be quiet.", "root")
	gauge("iksync_failing_files", "Files that fail, or were given up, by the class of the failure.", "root", "class")
	gauge("iksync_held_files", "Files that can't be uploaded as they are, or are left out, by why.", "root", "class")
	gauge("iksync_gone_files", "Files that are not there any more while their copies are in the library.", "root")
	gauge("iksync_unproven_files", "Files that were adopted without comparing contents.", "root")
	gauge("iksync_removals_braked", "1 when removals wait for iksync approve.", "root")
	gauge("iksync_directories", "Directories of the root, as of the last scan.", "root")
	gauge("iksync_watched_directories", "Directories that are watched.", "root")
	gauge("iksync_polling", "1 when the root's changes can't be seen, so that it is scanned every poll.", "root")
	counter("iksync_event_overflows_total", "Overflows of the kernel's event queue, each followed by a scan.", "root")
	gauge("iksync_scan_running", "1 while a full scan goes on.", "root")
	counter("iksync_scans_total", "Full scans that were completed.", "root")
	counter("iksync_scan_seconds_total", "What they took.", "root")
	gauge("iksync_last_scan_timestamp_seconds", "When the last one was completed; 0 before the first.", "root")
	gauge("iksync_unreadable_places", "Files and directories that the last full scan could not look at.", "root")

	counter("iksync_uploads_total", "Files uploaded.")
	counter("iksync_uploaded_bytes_total", "Their bytes.")
	counter("iksync_sent_bytes_total", "Bytes of files sent, those of attempts that did not succeed included.")
	all["iksync_upload_duration_seconds"] = metric{desc: prometheus.NewDesc("iksync_upload_duration_seconds", "From the claim of an upload to its answer.", nil, nil)}
	counter("iksync_upload_retries_total", "Attempts that failed and are repeated.")
	counter("iksync_upload_failures_total", "Files given up.")
	counter("iksync_unchanged_files_total", "Files that were touched only: their content is as recorded.")
	counter("iksync_moved_files_total", "Files whose assets were moved or renamed in the library.")
	counter("iksync_copied_files_total", "Files whose content the library had and copied.")
	counter("iksync_removed_files_total", "Copies of files removed from the library, or moved to its trash.")
	counter("iksync_unanswered_uploads_total", "Uploads without an answer, by what came of them: found in the library, or sent again.", "outcome")
	counter("iksync_api_requests_total", "Requests to ImageKit by endpoint and HTTP status; the status is none when there was no answer.", "endpoint", "status")
	gauge("iksync_uploads_in_flight", "Uploads that are on their way.")
	gauge("iksync_upload_window", "Uploads at once that ImageKit bears at present.")
	gauge("iksync_upload_workers", "Uploads at once that are configured.")
	gauge("iksync_last_upload_timestamp_seconds", "When the last upload succeeded; 0 when none has since the start.")
	gauge("iksync_breaker_open", "1 while all uploads wait, with the class of the failure.", "class")
	gauge("iksync_bandwidth_limit_bytes_per_second", "What all uploads together may send; 0 is no limit.")
	gauge("iksync_state_file_bytes", "Size of the state file with its log.")
	gauge("iksync_state_file_writable", "1 when the state file takes writes, else all uploads wait.")
	counter("iksync_hook_events_total", "Events for the hooks of on_event, by what came of them: sent, failed, discarded.", "hook", "outcome")
	return all
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	put := func(name string, value float64, labels ...string) {
		m := c.metrics[name]
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := c.source.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.metrics["iksync_root_state"].desc, err)
		return
	}
	put("iksync_build_info", 1, s.Version, runtime.Version())
	for i := range s.Roots {
		putRoot(put, &s.Roots[i])
	}
	putUploads(put, &s.Uploads)
	putTotals(put, c.source.Totals())
	put("iksync_state_file_bytes", float64(s.StateFileBytes))
	put("iksync_state_file_writable", one(c.source.Writable()))
	for call, n := range c.source.Calls() {
		status := "none"
		if call.Status != 0 {
			status = strconv.Itoa(call.Status)
		}
		put("iksync_api_requests_total", float64(n), call.Endpoint, status)
	}
	n, seconds, within := c.source.Took()
	ch <- prometheus.MustNewConstHistogram(c.metrics["iksync_upload_duration_seconds"].desc, n, seconds, within)
	for _, h := range c.source.Hooks() {
		put("iksync_hook_events_total", float64(h.Sent), h.Name, "sent")
		put("iksync_hook_events_total", float64(h.Failed), h.Name, "failed")
		put("iksync_hook_events_total", float64(h.Discarded), h.Name, "discarded")
	}
}

func putRoot(put func(string, float64, ...string), r *control.RootStatus) {
	for _, state := range []string{control.Undecided, control.Waiting, control.Paused, control.Syncing, control.Failing, control.HeldBack, control.InStep} {
		put("iksync_root_state", one(r.State == state), r.Path, state)
	}
	put("iksync_root_files", float64(r.Files), r.Path)
	put("iksync_root_bytes", float64(r.Bytes), r.Path)
	put("iksync_backlog_files", float64(r.Backlog), r.Path)
	put("iksync_backlog_bytes", float64(r.BacklogBytes), r.Path)
	put("iksync_retrying_files", float64(r.Again), r.Path)
	put("iksync_oldest_pending_timestamp_seconds", unix(r.Oldest), r.Path)
	put("iksync_settling_files", float64(r.Settling), r.Path)
	for class, n := range r.Failing {
		put("iksync_failing_files", float64(n), r.Path, class)
	}
	for class, n := range r.Held {
		put("iksync_held_files", float64(n), r.Path, class)
	}
	put("iksync_gone_files", float64(r.Gone), r.Path)
	put("iksync_unproven_files", float64(r.Unproven), r.Path)
	put("iksync_removals_braked", one(r.Braked != ""), r.Path)
	put("iksync_directories", float64(r.Watch.Directories), r.Path)
	put("iksync_watched_directories", float64(r.Watch.Watched), r.Path)
	put("iksync_polling", one(r.Watch.Polling), r.Path)
	put("iksync_event_overflows_total", float64(r.Watch.Overflows), r.Path)
	put("iksync_scan_running", one(r.Scan.Running), r.Path)
	put("iksync_scans_total", float64(r.Scan.Completed), r.Path)
	put("iksync_scan_seconds_total", r.Scan.Seconds, r.Path)
	put("iksync_last_scan_timestamp_seconds", unix(r.Scan.Last), r.Path)
	put("iksync_unreadable_places", float64(r.Scan.Unreadable), r.Path)
}

func putUploads(put func(string, float64, ...string), u *control.Uploads) {
	put("iksync_uploads_in_flight", float64(u.InFlight))
	put("iksync_upload_window", float64(u.Window))
	put("iksync_upload_workers", float64(u.Workers))
	put("iksync_last_upload_timestamp_seconds", unix(u.LastSuccess))
	put("iksync_bandwidth_limit_bytes_per_second", float64(u.Limit))
	if u.Breaker != nil {
		put("iksync_breaker_open", 1, u.Breaker.Class)
	}
}

func putTotals(put func(string, float64, ...string), t uploader.Stats) {
	for name, n := range map[string]int64{
		"iksync_uploads_total": t.Uploaded, "iksync_uploaded_bytes_total": t.UploadedBytes, "iksync_sent_bytes_total": t.Sent,
		"iksync_upload_retries_total": t.Retries, "iksync_upload_failures_total": t.Failed, "iksync_unchanged_files_total": t.Touched,
		"iksync_moved_files_total": t.Moved, "iksync_copied_files_total": t.Copied, "iksync_removed_files_total": t.Removed,
	} {
		put(name, float64(n))
	}
	put("iksync_unanswered_uploads_total", float64(t.Confirmed), "found")
	put("iksync_unanswered_uploads_total", float64(t.Resent), "sent again")
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// unix is a time in seconds since 1970, 0 for none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
