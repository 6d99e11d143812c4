//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"iksync/uploader/emulator"
)

// removalRig is a rig whose first root has a policy, and whose library counts and
// can hold the calls that take something away.
type removalRig struct {
	*runRig

	mu    sync.Mutex
	calls []string                           // "POST /v1/files/move", ...
	meet  func(call string, r *http.Request) // before a call is passed on
}

// policies is a policy of the first root, with the bounds out of the way unless
// they are given.
func policies(lines ...string) map[string]string {
	p := map[string]string{"delete_after": "0s", "max_delete": `"100000"`}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		p[key] = value
	}
	return p
}

func newRemovalRig(t *testing.T, b emulator.Behaviour, lines ...string) *removalRig {
	t.Helper()
	r := &removalRig{runRig: newRunRig(t, emulator.Options{Behaviour: b})}
	target, err := url.Parse(r.url)
	r.must(err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) }
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		call := req.Method + " " + req.URL.Path
		r.mu.Lock()
		if req.Method != http.MethodGet {
			r.calls = append(r.calls, call)
		}
		meet := r.meet
		r.mu.Unlock()
		if meet != nil {
			meet(call, req)
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(front.Close)
	r.url = front.URL
	r.set("imagekit", "{writes_per_second: 1000, reads_per_second: 1000}")
	r.policy(lines...)
	return r
}

// policy configures the first root anew.
func (r *removalRig) policy(lines ...string) {
	r.Helper()
	var more strings.Builder
	p := policies(lines...)
	for _, key := range []string{"delete", "filtered", "delete_after", "max_delete", "empty_folders", "trash_folder", "exclude"} {
		if value, ok := p[key]; ok {
			fmt.Fprintf(&more, "    %s: %s\n", key, value)
		}
	}
	r.roots[0].more = more.String()
	r.configure()
}

func (r *removalRig) onCall(meet func(call string, req *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meet = meet
}

// took lists the calls that can take something out of its place.
func (r *removalRig) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var calls []string
	for _, call := range r.calls {
		if !strings.HasSuffix(call, "/upload") {
			calls = append(calls, call)
		}
	}
	return calls
}

// wantUntouched wants no call but uploads to have come.
func (r *removalRig) wantUntouched() {
	r.Helper()
	if calls := r.took(); len(calls) > 0 {
		r.Errorf("the library was told %q", calls)
	}
}

// backfill runs one to its end, which is to be good.
func (r *removalRig) backfill() string {
	r.Helper()
	out, err := r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}).CombinedOutput()
	if err != nil {
		r.Errorf("backfill: %v\n%s", err, out)
	}
	return string(out)
}

// backfillAnyhow runs one to its end, good or bad.
func (r *removalRig) backfillAnyhow() string {
	r.Helper()
	out, _ := r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}).CombinedOutput()
	return string(out)
}

// remove takes files or directories of the first root away.
func (r *removalRig) remove(paths ...string) {
	r.Helper()
	for _, p := range paths {
		r.must(os.RemoveAll(filepath.Join(r.tree(), p)))
	}
}

// wantAssets wants the library to hold just these.
func (r *removalRig) wantAssets(want ...string) {
	r.Helper()
	var got []string
	for p := range r.assets() {
		got = append(got, p)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Errorf("the library holds %q, should hold %q; it was told %q", got, want, r.took())
	}
}

// faults lets the library go wrong.
func (r *removalRig) faults(rules ...emulator.Fault) {
	r.Helper()
	plan := emulator.Faults{Rules: rules}
	r.must(plan.Validate())
	r.library.server.SetFaults(plan)
}

// replaceRoot puts another directory in the first root's place, and returns where
// the first is.
func (r *removalRig) replaceRoot(files ...string) (away string) {
	r.Helper()
	away = r.tree() + ".away"
	r.must(os.Rename(r.tree(), away))
	r.must(os.Mkdir(r.tree(), 0o755))
	for _, f := range files {
		r.write(f)
	}
	return away
}
