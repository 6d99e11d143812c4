package emulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"iksync/uploader/emulator"
)

func (b *bench) faults(rules ...emulator.Fault) {
	b.Helper()
	plan := emulator.Faults{Rules: rules}
	if err := plan.Validate(); err != nil {
		b.Fatal(err)
	}
	b.emulator.SetFaults(plan)
}

func (b *bench) tryPut(path, content string) (reply, error) {
	i := strings.LastIndexByte(path, '/')
	return b.tryUpload(content, "fileName", path[i+1:], "folder", path[:i+1], "useUniqueFileName", "false")
}

func TestFaultKinds(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   emulator.Fault
		stored  bool
		noReply bool
		check   func(reply) bool
	}{
		{"429 with its headers", emulator.Fault{Action: emulator.ActionStatus, Status: 429, Message: "slow down", Headers: map[string]string{"X-RateLimit-Reset": "250"}}, false, false,
			func(r reply) bool {
				return r.status == 429 && r.header.Get("X-RateLimit-Reset") == "250" && r.str("message") == "slow down"
			}},
		{"503 as a page", emulator.Fault{Action: emulator.ActionStatus, Status: 503, HTML: true}, false, false,
			func(r reply) bool { return r.status == 503 && strings.HasPrefix(r.text, "<!DOCTYPE html>") }},
		{"cut", emulator.Fault{Action: emulator.ActionCut, Bytes: 5000}, false, true, nil},
		{"cut after the end", emulator.Fault{Action: emulator.ActionCut, Bytes: 1 << 30}, false, true, nil},
		{"lost answer", emulator.Fault{Action: emulator.ActionLose}, true, true, nil},
		{"page instead of JSON", emulator.Fault{Action: emulator.ActionHTML}, false, false,
			func(r reply) bool { return r.status == 200 && strings.Contains(r.text, "<html>") }},
		{"truncated JSON", emulator.Fault{Action: emulator.ActionTruncated}, true, false,
			func(r reply) bool {
				return r.status == 200 && strings.HasPrefix(r.text, "{") && !json.Valid([]byte(r.text))
			}},
		{"trailing garbage", emulator.Fault{Action: emulator.ActionTrailing}, true, false,
			func(r reply) bool { return r.status == 200 && strings.Contains(r.text, "}\n<!--") }},
		{"wrong Content-Length", emulator.Fault{Action: emulator.ActionLength}, true, true, nil},
		{"another file's path", emulator.Fault{Action: emulator.ActionWrongPath}, true, false,
			func(r reply) bool { return r.str("filePath") == "/d/f.txt.other" }},
		{"wrong size", emulator.Fault{Action: emulator.ActionWrongSize}, true, false,
			func(r reply) bool { return r.json["size"] == 100001.0 }},
		{"endless JSON", emulator.Fault{Action: emulator.ActionEndless, Bytes: 3 << 20}, true, false,
			func(r reply) bool { return len(r.text) == 3<<20 && json.Valid([]byte(r.text)) }},
		{"slow", emulator.Fault{Action: emulator.ActionSlow, Bytes: 50, Every: emulator.Duration(time.Millisecond)}, true, false,
			func(r reply) bool { return r.str("filePath") == "/d/f.txt" }},
		{"redirect", emulator.Fault{Action: emulator.ActionRedirect, URL: "http://elsewhere.example/"}, false, false,
			func(r reply) bool { return r.status == 307 && r.header.Get("Location") == "http://elsewhere.example/" }},
	} {
		for _, path := range []string{"", "d/f.t"} {
			t.Run(test.name+" for "+path, func(t *testing.T) {
				b := newBench(t, emulator.Options{Dir: t.TempDir()})
				fault := test.fault
				fault.Endpoint, fault.Path, fault.Count = "upload", path, 1
				b.faults(fault)
				got, err := b.tryPut("/d/f.txt", strings.Repeat("x", 100_000))
				if (err != nil) != test.noReply {
					t.Fatalf("error %v, want one: %v", err, test.noReply)
				}
				if err == nil && !test.check(got) {
					t.Errorf("%d %v %.300s", got.status, got.header, got.text)
				}
				if stored := b.paths() == "/d/f.txt"; stored != test.stored {
					t.Errorf("stored: %v, want %v", stored, test.stored)
				}
				if got, err := b.tryPut("/d/f.txt", "y"); err != nil || got.status != 200 {
					t.Errorf("after the fault: %v %d %s", err, got.status, got.text)
				}
				if n := b.emulator.Stats().Faults; n != 1 {
					t.Errorf("%d faults counted", n)
				}
			})
		}
	}
}

func TestFaultRulesSkipCountAndChoose(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.faults(
		emulator.Fault{Endpoint: "list", Skip: 1, Count: 2, Action: emulator.ActionStatus, Status: 500},
		emulator.Fault{Endpoint: "details", Path: "/a/x", Action: emulator.ActionStatus, Status: 502},
		emulator.Fault{Endpoint: "rename", Path: "wanted", Action: emulator.ActionStatus, Status: 504},
	)
	for i, want := range []int{200, 500, 500, 200} {
		if got := b.call("GET", "/v1/files", ""); got.status != want {
			t.Errorf("list %d: %d, want %d", i, got.status, want)
		}
	}
	x, y := b.upload("/a/x", "x").str("fileId"), b.upload("/a/y", "y").str("fileId")
	b.want(502, "GET", "/v1/files/"+x+"/details", "")
	b.want(200, "GET", "/v1/files/"+y+"/details", "")
	b.want(504, "PUT", "/v1/files/rename", `{"filePath":"/a/x","newFileName":"wanted"}`)
	b.want(200, "PUT", "/v1/files/rename", `{"filePath":"/a/x","newFileName":"other"}`)
}

func TestProbabilityIsRepeatableBySeed(t *testing.T) {
	b := newBench(t, emulator.Options{})
	run := func() (pattern string) {
		b.emulator.SetFaults(emulator.Faults{Seed: 7, Rules: []emulator.Fault{{Probability: 0.5, Action: emulator.ActionStatus, Status: 500}}})
		for range 40 {
			if b.call("GET", "/v1/files", "").status == 500 {
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern
	}
	first := run()
	if again := run(); first != again || !strings.Contains(first, "x") || !strings.Contains(first, ".") {
		t.Errorf("%s\n%s", first, again)
	}
}

func TestLatencyEndsWithTheRequest(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.faults(emulator.Fault{Latency: emulator.Duration(time.Hour)})
	b.client.Timeout = 20 * time.Millisecond
	if _, err := b.do(b.request("GET", "/v1/files", "")); err == nil {
		t.Error("answered at once")
	}
}

func TestFaultPlanIsPostedAsJSON(t *testing.T) {
	b := newBench(t, emulator.Options{})
	post := func(kind, host, body string) int {
		r := b.request("POST", "/_emulator/faults", body)
		r.Header.Set("Content-Type", kind)
		if host != "" {
			r.Host = host
		}
		got, err := b.do(r)
		if err != nil {
			t.Fatal(err)
		}
		return got.status
	}
	const plan = `{"seed":1,"rules":[{"endpoint":"list","action":"status","status":503,"latency":"1ms"}]}`
	for _, test := range []struct {
		kind, host, body string
		want             int
	}{
		{"text/plain", "", plan, 415},
		{"application/json", "evil.example", plan, 403},
		{"application/json", "", `{"rules":[{"action":"explode"}]}`, 400},
		{"application/json", "", `{"rulez":[]}`, 400},
		{"application/json", "localhost:8790", plan, 204},
	} {
		if got := post(test.kind, test.host, test.body); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
	b.want(503, "GET", "/v1/files", "")
	got := b.want(200, "GET", "/_emulator/stats", "")
	var st emulator.Stats
	if err := json.Unmarshal([]byte(got.text), &st); err != nil || st.Statuses[503] != 1 {
		t.Errorf("%v %s", err, got.text)
	}
	b.want(200, "GET", "/healthz", "")
}

func TestEarlyRejectAnswersBeforeTheBodyIsRead(t *testing.T) {
	b := newBench(t, emulator.Options{Discard: true, Behaviour: emulator.Behaviour{EarlyReject: true, MaxImageSize: 1000, MaxVideoSize: 1000}})
	body, hold := io.Pipe()
	defer hold.Close()
	r, err := http.NewRequest("POST", b.url+"/api/v1/files/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 1 << 30
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	got, err := b.do(r)
	if err != nil || got.status != 400 || !strings.Contains(got.str("message"), "size exceeds limits") {
		t.Errorf("%v %d %s", err, got.status, got.text)
	}
	late, err := b.tryUpload(strings.Repeat("x", 100_000), "fileName", "f")
	if err == nil && late.status != 400 {
		t.Errorf("%d %s", late.status, late.text)
	}
}
