package uploader_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/queue"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// hostileKey is long enough to be in no text by chance.
const hostileKey = "private_HostileT3stK3y="

// before puts a handler before the rig's server and gives the rig a client of
// it, with a key that can be found. The handler serves or answers itself.
func (r *rig) before(h func(w http.ResponseWriter, req *http.Request, serve func())) {
	r.t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h(w, req, func() { r.server.ServeHTTP(w, req) })
	}))
	r.t.Cleanup(web.Close)
	r.useKey(web.URL)
}

func (r *rig) useKey(base string) {
	r.t.Helper()
	client, err := imagekit.New(imagekit.Options{Key: imagekit.NewKey(hostileKey), UploadURL: base + "/api/v1/files/upload", APIURL: base + "/v1"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(client.Close)
	r.client = client
}

// stored serves an upload and gives the answer that the server had for it.
func (r *rig) stored(req *http.Request) map[string]any {
	r.t.Helper()
	rec := httptest.NewRecorder()
	r.server.ServeHTTP(rec, req)
	var answer map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		r.t.Errorf("the emulator answered %s: %v", rec.Body, err)
	}
	return answer
}

// recordedRight checks that every path has an asset of its own, that its record
// is of, and with its content.
func (r *rig) recordedRight(contents map[string]string) {
	r.t.Helper()
	paths := make(map[string]string) // of assets, by fileId
	for _, a := range r.server.Assets() {
		paths[a.FileID] = a.FilePath
	}
	owners := make(map[string]string)
	for name, content := range contents {
		f := r.record(name)
		if f == nil {
			r.t.Errorf("%s is not recorded: failed %+v, ready %+v", name, r.jobs(queue.Failed), r.jobs(queue.Ready))
			continue
		}
		if at, ok := paths[f.FileID]; !ok || at != f.RemotePath {
			r.t.Errorf("%s is recorded as %s at %s, where the library has %q", name, f.FileID, f.RemotePath, at)
			continue
		}
		if other, taken := owners[f.FileID]; taken {
			r.t.Errorf("%s and %s are recorded as one asset", name, other)
		}
		owners[f.FileID] = name
		if got := r.content(f.RemotePath); got != content || f.Stat.Size != int64(len(content)) {
			r.t.Errorf("%s is recorded with %d bytes and the library has %q", name, f.Stat.Size, got)
		}
	}
}

// The file is stored each time, and the first answer says otherwise: nothing is
// recorded of what can't be true, and the next attempt makes it right.
func TestAnAnswerThatCantBeTrueIsNotRecorded(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(map[string]any) any {
		return func(answer map[string]any) any {
			answer[name] = value
			return answer
		}
	}
	for name, change := range map[string]func(answer map[string]any) any{
		"a list of it":     func(answer map[string]any) any { return []any{answer} },
		"nothing but null": func(map[string]any) any { return nil },
		"a text":           func(map[string]any) any { return "ok" },
		"an empty object":  func(map[string]any) any { return map[string]any{} },
		"depth": func(map[string]any) any {
			return json.RawMessage(strings.Repeat("[", 9000) + strings.Repeat("]", 9000))
		},
		"no fileId":                      set("fileId", nil),
		"an empty fileId":                set("fileId", ""),
		"a fileId of a megabyte":         set("fileId", strings.Repeat("f", 1<<20)),
		"a fileId for a terminal":        set("fileId", "\x1b[2J"),
		"a fileId that is another place": set("fileId", ".."),
		"a filePath that is relative":    set("filePath", "photos/a.txt"),
		"a filePath for a terminal":      set("filePath", "/photos/\x1b[2J"),
		"a filePath of a megabyte":       set("filePath", "/"+strings.Repeat("f", 1<<20)),
		"a filePath that is not UTF-8":   set("filePath", json.RawMessage("\"/photos/\xff.txt\"")),
		"a size below zero":              set("size", -7),
		"a size that no number has":      set("size", json.RawMessage("1e999")),
		"another file's size":            set("size", 8),
		"no size":                        set("size", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			var lied atomic.Bool
			r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
				if lied.Swap(true) {
					serve()
					return
				}
				var text bytes.Buffer
				out := json.NewEncoder(&text)
				if err := out.Encode(change(r.stored(req))); err != nil { // JSON that is none is written as it is
					t.Error(err)
				}
				_, _ = w.Write(text.Bytes())
			})
			r.write("a.txt", "content")
			r.enqueue("a.txt")
			if stats := r.drain(); stats.Uploaded != 1 || stats.Retries != 1 || stats.Failed != 0 {
				t.Errorf("stats %+v", stats)
			}
			r.recordedRight(map[string]string{"a.txt": "content"})
		})
	}
}

// So does a server that goes on lying: the file is a dead letter, and others are not.
func TestAServerThatNeverAnswersRightGetsNothingRecorded(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(w, strings.NewReader(strings.Repeat(" ", 32<<20)), 32<<20); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"a gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"headers of a megabyte": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("A", strings.Repeat("x", 1<<20)) },
		"a status of 999":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) },
		"the key, escaped": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"message":%q}`, strings.ReplaceAll(hostileKey, "=", "\\u003d"))
		},
		"the key, as JSON has it": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, `{"message":"`+strings.ReplaceAll(hostileKey, "=", `\u003d`)+`"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
				if body, _ := io.ReadAll(req.Body); bytes.Contains(body, []byte("good.txt")) {
					req.Body = io.NopCloser(bytes.NewReader(body))
					serve()
					return
				}
				answer(w, req)
			})
			r.write("bad.txt", "bad")
			r.write("good.txt", "good")
			r.enqueue("bad.txt", "good.txt")
			if stats := r.drain(); stats.Uploaded != 1 || stats.Failed != 1 {
				t.Errorf("stats %+v", stats)
			}
			r.recordedRight(map[string]string{"good.txt": "good"})
			item := r.jobs(queue.Failed)["bad.txt"]
			if f := r.record("bad.txt"); f != nil || item.Class != "transient" || item.Reason == "" {
				t.Errorf("recorded %+v, failed %+v", f, item)
			}
			if len(item.Reason) > 3000 || strings.Contains(item.Reason, hostileKey) {
				t.Errorf("a reason of %d bytes: %.3000s", len(item.Reason), item.Reason)
			}
		})
	}
}

// An answer that comes once more, or for another request, is one that is right
// about another file.
func TestTheAnswerOfAnotherFileTakesNobodysAsset(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	var first atomic.Pointer[[]byte]
	var lied atomic.Bool
	r.before(func(w http.ResponseWriter, req *http.Request, serve func()) {
		if !strings.HasSuffix(req.URL.Path, "/upload") {
			serve()
			return
		}
		if again := first.Load(); again != nil && !lied.Swap(true) {
			r.stored(req)
			_, _ = w.Write(*again)
			return
		}
		rec := httptest.NewRecorder()
		r.server.ServeHTTP(rec, req)
		answer := rec.Body.Bytes()
		first.CompareAndSwap(nil, &answer)
		_, _ = w.Write(answer)
	})
	r.write("a.txt", "content a")
	r.enqueue("a.txt")
	r.drain()
	r.write("b.txt", "content b") // of the same size
	r.enqueue("b.txt")
	if stats := r.drain(); stats.Failed != 0 || !lied.Load() {
		t.Errorf("stats %+v, failed %+v", stats, r.jobs(queue.Failed))
	}
	r.recordedRight(map[string]string{"a.txt": "content a", "b.txt": "content b"})
}

func TestARepeatedKeyIsInNoRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, emulator.Behaviour{})
	r.before(func(w http.ResponseWriter, req *http.Request, _ func()) {
		answer := r.stored(req)
		answer["customMetadata"] = json.RawMessage(`{"sentBy":"` + strings.ReplaceAll(hostileKey, "=", `\u003d`) + `"}`)
		answer["url"] = "https://" + hostileKey + "@ik.example/a.txt"
		text, err := json.Marshal(answer)
		check(t, err)
		_, _ = w.Write(text)
	})
	r.write("a.txt", "content")
	r.enqueue("a.txt")
	if stats := r.drain(); stats.Uploaded != 1 {
		t.Fatalf("stats %+v, failed %+v", stats, r.jobs(queue.Failed))
	}
	f := r.record("a.txt")
	var fields map[string]any
	check(t, json.Unmarshal(f.Response, &fields))
	if text := fmt.Sprint(fields, *f, string(f.Response)); strings.Contains(text, strings.TrimRight(hostileKey, "=")) || !strings.Contains(text, "[redacted]") {
		t.Error(text)
	}
}

// What concerns all files stops the pool and costs none of them an attempt.
func TestAServerThatIsNotImageKitEndsTheRunAndKeepsTheQueue(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { t.Errorf("it was sent %s", req.Header) }))
	t.Cleanup(elsewhere.Close)
	moved := func(status int) string {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			http.Redirect(w, req, elsewhere.URL+"/api/v1/files/upload", status)
		}))
		t.Cleanup(web.Close)
		return web.URL
	}
	for name, base := range map[string]string{
		"a permanent redirect": moved(308), "a temporary redirect": moved(307), "a redirect to a page": moved(302),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, emulator.Behaviour{})
			r.useKey(base)
			r.write("a.txt", "a")
			r.enqueue("a.txt")
			err := uploader.New(r.db, r.q, r.options()).Run(t.Context())
			var api *imagekit.Error
			if !errors.As(err, &api) || api.Class != imagekit.Account || strings.Contains(err.Error(), hostileKey) {
				t.Errorf("Run returned %v", err)
			}
			if item, ok := r.jobs(queue.Ready)["a.txt"]; !ok || item.Attempts != 0 || r.record("a.txt") != nil {
				t.Errorf("ready %+v, failed %+v", r.jobs(queue.Ready), r.jobs(queue.Failed))
			}
		})
	}
}
