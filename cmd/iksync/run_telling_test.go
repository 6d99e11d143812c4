//go:build unix

package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"iksync/cmd/iksync/internal/control"
	"iksync/cmd/iksync/internal/hooks"
	"iksync/uploader/emulator"
)

// asks asks the daemon's control socket as curl --unix-socket does.
func (r *runRig) asks(path string) (status int, body string) {
	r.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", control.SocketPath(r.state))
	}}}
	res, err := client.Get("http://iksync" + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	r.must(err)
	return res.StatusCode, string(b)
}

// scrape returns the samples of a scrape by name and labels.
func (r *runRig) scrape() (text string, samples map[string]string) {
	r.Helper()
	status, text := r.asks("/metrics")
	if status != http.StatusOK {
		r.Fatalf("the metrics: %d %s", status, text)
	}
	samples = make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && !strings.HasPrefix(line, "#") {
			samples[name+"}"] = value
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			samples[name] = value
		}
	}
	return text, samples
}

// The metrics are those that README lists, in the form that Prometheus wants, and agree
// with what the library has seen.
func TestTheMetrics(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("on_event", "[{command: [/bin/true]}]")
	for i := range 20 {
		r.write(fmt.Sprintf("a/%d.jpg", i))
	}
	r.write("a/broken.jpg")
	r.write("a/empty.jpg", "")
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{
		{Endpoint: "upload", Path: "broken", Action: emulator.ActionStatus, Status: 400, Message: "no"},
		{Endpoint: "upload", Count: 1, Action: emulator.ActionStatus, Status: 500, Message: "again"}}})
	d := r.start()
	waitFor(t, "all is done", func() bool { return r.library.server.Stats().Assets == 20 && r.status().State == control.Failing })
	waitFor(t, "the hook has been told", func() bool {
		_, samples := r.scrape()
		return samples[`iksync_hook_events_total{hook="true",outcome="sent"}`] == "22" && samples[fmt.Sprintf("iksync_backlog_files{root=%q}", r.tree())] == "0"
	})
	text, samples := r.scrape()
	root := fmt.Sprintf("{root=%q}", r.tree())
	for name, want := range map[string]string{
		"iksync_uploads_total": "20", "iksync_upload_failures_total": "1", "iksync_upload_retries_total": "1", "iksync_upload_duration_seconds_count": "20",
		`iksync_api_requests_total{endpoint="upload",status="200"}`: "20", `iksync_api_requests_total{endpoint="upload",status="400"}`: "1",
		`iksync_api_requests_total{endpoint="upload",status="500"}`: "1", `iksync_state_file_writable`: "1", "iksync_upload_workers": "8",
		fmt.Sprintf(`iksync_failing_files{class="file",root=%q}`, r.tree()): "1", fmt.Sprintf(`iksync_held_files{class="empty",root=%q}`, r.tree()): "1",
		fmt.Sprintf(`iksync_root_state{root=%q,state="failing"}`, r.tree()): "1", fmt.Sprintf(`iksync_root_state{root=%q,state="in step"}`, r.tree()): "0",
		"iksync_root_files" + root: "22", "iksync_directories" + root: "2", "iksync_watched_directories" + root: "2", "iksync_polling" + root: "0",
		"iksync_backlog_files" + root: "0", "iksync_oldest_pending_timestamp_seconds" + root: "0",
	} {
		if samples[name] != want {
			t.Errorf("%s is %q, should be %s", name, samples[name], want)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	told := familiesOf(text)
	documented := documentedMetrics(t)
	for _, name := range told {
		if strings.HasPrefix(name, "iksync_") && !slices.Contains(documented, name) {
			t.Errorf("README does not list %s", name)
		}
	}
	for _, name := range documented {
		if name != "iksync_breaker_open" && !slices.Contains(told, name) {
			t.Errorf("README lists %s, which is not told", name)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := r.asks(path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	r.iksync("pause", "--config", r.config)
	waitFor(t, "a pause is no readiness", func() bool { status, _ := r.asks("/readyz"); return status == http.StatusServiceUnavailable })
	if status, body := r.asks("/healthz"); status != http.StatusOK {
		t.Errorf("a pause is no sickness: %d %s", status, body)
	}
	r.iksync("resume", "--config", r.config)
	r.set("workers", "3")
	r.reload(d)
	var after map[string]string
	waitFor(t, "the metrics are those of the new configuration", func() bool {
		_, after = r.scrape()
		return after["iksync_upload_workers"] == "3"
	})
	if after["iksync_uploads_total"] != "20" || after[`iksync_api_requests_total{endpoint="upload",status="200"}`] != "20" {
		t.Errorf("after a reload: %v", after)
	}
	d.stop()
}

// familiesOf are the names of the metrics in a scrape.
func familiesOf(text string) (names []string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "TYPE" {
			names = append(names, f[2])
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\biksync_[a-z_]+[a-z]\b`)

// documentedMetrics are those of README's table.
func documentedMetrics(t *testing.T) (names []string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "| `iksync_") {
			names = append(names, metricName.FindString(line))
		}
	}
	return names
}

// The alerts and the dashboard ask for metrics that there are.
func TestAlertsAndDashboardNameMetricsThatThereAre(t *testing.T) {
	documented := documentedMetrics(t)
	for _, file := range []string{"prometheus-alerts.yml", "grafana-dashboard.json"} {
		text, err := os.ReadFile(filepath.Join("../../systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		named := metricName.FindAllString(string(text), -1)
		if len(named) < 8 {
			t.Errorf("%s names only %q", file, named)
		}
		for _, name := range named {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
			if !slices.Contains(documented, name) {
				t.Errorf("%s asks for %s", file, name)
			}
		}
	}
}

// receiver is a web server that notes what it is asked.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	events []hooks.Event
	wrong  []string
	gets   int
	answer func(n int) int // the status of the nth request
}

func newReceiver(t *testing.T, secret string, answer func(int) int) *receiver {
	r := &receiver{answer: answer}
	n := 0
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		n++
		status := r.answer(n)
		w.WriteHeader(status)
		if status != http.StatusOK {
			return
		}
		if req.Method == http.MethodGet {
			r.gets++
			return
		}
		at, mark, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("X-Iksync-Signature"), "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(at + "." + string(body)))
		if mark != hex.EncodeToString(mac.Sum(nil)) {
			r.wrong = append(r.wrong, "the signature is "+req.Header.Get("X-Iksync-Signature"))
		}
		var got struct{ Events []hooks.Event }
		if err := json.Unmarshal(body, &got); err != nil {
			r.wrong = append(r.wrong, err.Error())
		}
		r.events = append(r.events, got.Events...)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got(kind string) (events []hooks.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Event == kind {
			events = append(events, e)
		}
	}
	return events
}

// A CMS gets to know every fileId, also when it is away for a while, by a request or by a
// command, and a hook that hangs delays nobody.
func TestHooksTellWhatComesAbout(t *testing.T) {
	t.Parallel()
	const secret = "a secret of sixteen and more"
	r := newRunRig(t, emulator.Options{})
	cms := newReceiver(t, secret, func(n int) int {
		if n%3 == 1 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	secretFile, noted, script, hangs := filepath.Join(r.base, "secret"), filepath.Join(r.base, "noted"), filepath.Join(r.base, "note"), filepath.Join(r.base, "hang")
	r.must(os.WriteFile(secretFile, []byte(secret+"\n"), 0o600))
	r.must(os.WriteFile(script, []byte("#!/bin/sh\ntest -z \"$IMAGEKIT_PRIVATE_KEY\" || echo the key is here\ncat >>\"$1\"\n"), 0o755))
	r.must(os.WriteFile(hangs, []byte("#!/bin/sh\necho I hang\nsleep 1000 &\nwait\n"), 0o755))
	r.set("on_event", fmt.Sprintf("[{url: %q, secret_file: %s}, {command: [%s, %s], events: [uploaded]}, {command: [%s], timeout: 100ms}]", cms.URL+"/in/token-in-url", secretFile, script, noted, hangs))
	d := r.start()
	waitFor(t, "it has started", func() bool { return len(cms.got(hooks.Started)) == 1 })
	for i := range 30 {
		r.write(fmt.Sprintf("a/%d.jpg", i))
	}
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Path: "broken", Action: emulator.ActionStatus, Status: 400, Message: "Invalid file."}}})
	r.write("broken.jpg")
	r.gets("a/0.jpg", "a/29.jpg")
	waitFor(t, "all uploads are told", func() bool { return len(cms.got("uploaded")) >= 30 })
	assets := r.assets()
	for _, e := range cms.got("uploaded") {
		a := assets["/photos/"+e.Path]
		if e.FileID != a.FileID || e.Root != r.tree() || e.RemotePath != a.FilePath || e.URL == "" || e.New == nil || !*e.New || e.Size == nil || *e.Size != int64(len(e.Path)) || e.At.IsZero() {
			t.Errorf("told is %+v of %+v", e, a)
		}
	}
	waitFor(t, "the failure is told", func() bool { return len(cms.got("failed")) == 1 })
	if e := cms.got("failed")[0]; e.Path != "broken.jpg" || e.Class != "file" || !strings.Contains(e.Reason, "Invalid file.") || e.RequestID == "" || e.Attempts != 1 || e.FileID != "" {
		t.Errorf("told is %+v", e)
	}
	r.iksync("pause", "--config", r.config)
	waitFor(t, "the pause is told", func() bool { return len(cms.got(hooks.Paused)) == 1 })
	r.iksync("resume", "--config", r.config)
	waitFor(t, "its end is told", func() bool { return len(cms.got(hooks.Resumed)) == 1 })
	r.write("a/0.jpg", "another version")
	waitFor(t, "the new version is told", func() bool { return len(cms.got("uploaded")) == 31 })
	if e := cms.got("uploaded")[30]; *e.New || e.FileID != assets["/photos/a/0.jpg"].FileID {
		t.Errorf("told is %+v", e)
	}
	d.stop() // what was uploaded is told by then
	text, err := os.ReadFile(noted)
	r.must(err)
	ids := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		var e hooks.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Event != "uploaded" {
			t.Errorf("the command got %s: %v", line, err)
		}
		ids[e.FileID] = true
	}
	if len(ids) != 30 {
		t.Errorf("the command got %d fileIds", len(ids))
	}
	cms.mu.Lock()
	defer cms.mu.Unlock()
	if len(cms.wrong) > 0 {
		t.Errorf("wrong: %q", cms.wrong)
	}
	if log := d.log(); strings.Contains(log, "token-in-url") || strings.Contains(log, secret) || !strings.Contains(log, "I hang") {
		t.Error("the log shows a secret, or not what the hook that hangs has said")
	}
}

// The heartbeat is there while all is in step, and not when a file fails or removals wait
// for somebody, and its URL is in no log.
func TestTheHeartbeat(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	host := newReceiver(t, "", func(n int) int {
		if n == 2 {
			return http.StatusTeapot
		}
		return http.StatusOK
	})
	gets := func() int {
		host.mu.Lock()
		defer host.mu.Unlock()
		return host.gets
	}
	r.set("heartbeat_url", host.URL+"/ping/uuid-that-is-secret")
	r.set("heartbeat_every", "1s")
	r.roots[0].more = "    delete: trash\n    delete_after: 0s\n    max_delete: \"1\"\n"
	r.configure()
	for _, path := range []string{"a.jpg", "b.jpg", "c.jpg"} {
		r.write(path)
	}
	d := r.start()
	waitFor(t, "three heartbeats", func() bool { return gets() >= 3 })
	d.says("its host did not take it: 418", "the heartbeat is sent")
	r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Path: "broken", Action: emulator.ActionStatus, Status: 400, Message: "no"}}})
	r.write("broken.jpg")
	d.says("1 file failing")
	r.iksync("ignore", "--config", r.config, filepath.Join(r.tree(), "broken.jpg"))
	n := gets()
	waitFor(t, "it goes on", func() bool { return gets() > n })
	r.must(os.Remove(filepath.Join(r.tree(), "b.jpg")))
	r.must(os.Remove(filepath.Join(r.tree(), "c.jpg")))
	r.iksync("rescan", "--config", r.config)
	d.says("2 removals wait for iksync approve")
	waitFor(t, "the metrics say so", func() bool {
		_, samples := r.scrape()
		return samples[fmt.Sprintf(`iksync_root_state{root=%q,state="held back"}`, r.tree())] == "1" && samples[fmt.Sprintf(`iksync_removals_braked{root=%q}`, r.tree())] == "1"
	})
	r.iksync("approve", "--yes", "--config", r.config)
	n = gets()
	waitFor(t, "it goes on again", func() bool { return gets() > n })
	if strings.Contains(d.log(), "uuid-that-is-secret") {
		t.Error("the log shows the heartbeat's URL")
	}
	d.stop()
}
