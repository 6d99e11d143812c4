package imagekit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/imagekit"
)

func TestJSONOfAnotherShapeIsNoSuccess(t *testing.T) {
	const deep = 100_000
	for name, test := range map[string]struct {
		body    func(good string) string
		objects bool // the body is an object, which is all that some calls say
	}{
		"null":            {body: func(string) string { return "null" }},
		"true":            {body: func(string) string { return "true" }},
		"a number":        {body: func(string) string { return "7" }},
		"a huge number":   {body: func(string) string { return "1e999" }},
		"a text":          {body: func(string) string { return `"ok"` }},
		"no text":         {body: func(string) string { return `""` }},
		"it in a list":    {body: func(good string) string { return "[" + good + "]" }},
		"it in a text":    {body: func(good string) string { return fmt.Sprintf("%q", good) }},
		"it in an object": {body: func(good string) string { return `{"data":` + good + `}` }, objects: true},
		"a deep list":     {body: func(string) string { return strings.Repeat("[", deep) + strings.Repeat("]", deep) }},
		"a deep object":   {body: func(string) string { return strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep) }},
		"depth behind it": {body: func(good string) string {
			return good[:len(good)-1] + `,"a":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + good[len(good)-1:]
		}},
		"a byte order mark before it": {body: func(good string) string { return "\ufeff" + good }},
		"UTF-16":                      {body: func(good string) string { return "\x00" + strings.Join(strings.Split(good, ""), "\x00") }},
		"a comment behind it":         {body: func(good string) string { return good + " // ok" }},
		"an error that is a success":  {body: func(string) string { return `{"message":"no","help":"none"}` }, objects: true},
		"every field a list": {body: func(string) string {
			return `{"fileId":[],"filePath":[],"size":[],"jobId":[],"status":[],"successfullyDeletedFileIds":[[]],"errors":[[]]}`
		}, objects: true},
		"every field a number": {body: func(string) string {
			return `{"fileId":1,"filePath":1,"size":1e999,"jobId":1,"status":1,"successfullyDeletedFileIds":1,"errors":1}`
		}, objects: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range everyCall {
				if call.good == "{}" && test.objects || call.name == "list" && name == "it in a list" {
					continue // a list in a list is a list of something else: see find_test.go
				}
				c := newClient(t, serve(t, drained(200, nil, test.body(call.good))))
				if e := apiError(t, call.do(t.Context(), c)); e.Class != imagekit.Transient || !e.Ambiguous {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
		})
	}
}

// What names a file is recorded, logged, listed on terminals and put into URLs.
func TestAFileThatCantBeNamedIsNotTaken(t *testing.T) {
	answer := func(id, path, size string) string {
		return fmt.Sprintf(`{"type":"file","fileId":%s,"filePath":%s,"size":%s}`, id, path, size)
	}
	const id, path, size = `"0123456789abcdef01234567"`, `"/photos/a.bin"`, "100"
	for name, body := range map[string]string{
		"a fileId of a megabyte":              answer(`"`+strings.Repeat("a", 1<<20)+`"`, path, size),
		"a fileId for a terminal":             answer(`"\u001b[2J"`, path, size),
		"a fileId with a line end":            answer(`"a\nb"`, path, size),
		"a fileId with a NUL":                 answer(`"a\u0000b"`, path, size),
		"a fileId of a blank":                 answer(`" "`, path, size),
		"a fileId of a dot":                   answer(`"."`, path, size),
		"a fileId of two dots":                answer(`".."`, path, size),
		"a fileId that is not UTF-8":          answer("\"a\xff\"", path, size),
		"a fileId of half a surrogate":        answer(`"a\ud800"`, path, size),
		"two fileIds of which the last is no": answer(id+`,"fileId":""`, path, size),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := newClient(t, serve(t, drained(200, nil, body)))
			list := newClient(t, serve(t, drained(200, nil, "["+body+"]")))
			for call, ask := range map[string]func() (*imagekit.Asset, error){
				"upload":  func() (*imagekit.Asset, error) { return one.Upload(t.Context(), upload(smallSize)) },
				"details": func() (*imagekit.Asset, error) { return one.Details(t.Context(), "0123456789abcdef01234567") },
				"find": func() (*imagekit.Asset, error) {
					if strings.Contains(name, "the last is no") {
						_, err := one.Find(t.Context(), "/photos/a.bin") // none is not listed, as in find_test.go
						return nil, err
					}
					return list.Find(t.Context(), "/photos/a.bin")
				},
				"list": func() (*imagekit.Asset, error) {
					page, err := list.List(t.Context(), "/photos", 0, 10)
					if len(page) > 0 {
						return page[0].Asset, err
					}
					return nil, err
				},
			} {
				asset, err := ask()
				if e := apiError(t, err); asset != nil || e.Class != imagekit.Transient || !e.Ambiguous {
					t.Errorf("%s: %+v, %+v", call, asset, e)
				}
			}
		})
	}
	for name, body := range map[string]string{
		"a filePath of a megabyte":                answer(id, `"/`+strings.Repeat("a", 1<<20)+`"`, size),
		"a filePath for a terminal":               answer(id, `"/\u001b[2J"`, size),
		"a filePath with a NUL":                   answer(id, `"/a\u0000"`, size),
		"a filePath that is not UTF-8":            answer(id, "\"/\xff\xfe\"", size),
		"a filePath of half a surrogate":          answer(id, `"/a\ud800"`, size),
		"two filePaths of which the last is none": answer(id, path+`,"filePath":""`, size),
		"a size below zero":                       answer(id, path, "-1"),
		"a size of no number":                     answer(id, path, "1e999"),
		"a size of more than a disk":              answer(id, path, "1e18"),
		"a size in quotes":                        answer(id, path, `"100"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, drained(200, nil, body)))
			asset, err := c.Upload(t.Context(), upload(smallSize))
			if e := apiError(t, err); asset != nil || e.Class != imagekit.Transient || !e.Ambiguous {
				t.Errorf("upload: %+v, %+v", asset, e)
			}
			asset, err = c.Details(t.Context(), "0123456789abcdef01234567")
			if e := apiError(t, err); asset != nil || e.Class != imagekit.Transient {
				t.Errorf("details: %+v, %+v", asset, e)
			}
		})
	}
}

func TestAnAnswerToAnotherQuestionIsNotTaken(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		ask  func(context.Context, *imagekit.Client) error
	}{
		"details of another file": {`{"fileId":"2","filePath":"/a","size":1}`, func(ctx context.Context, c *imagekit.Client) error {
			_, err := c.Details(ctx, "1")
			return err
		}},
		"another job": {`{"jobId":"2","status":"Completed"}`, func(ctx context.Context, c *imagekit.Client) error {
			_, err := c.JobDone(ctx, "1")
			return err
		}},
		"files of another folder": {`[{"type":"file","fileId":"1","filePath":"/b/a","size":1}]`, func(ctx context.Context, c *imagekit.Client) error {
			_, err := c.List(ctx, "/a", 0, 10)
			return err
		}},
		"more files than were asked for": {`[{"type":"folder","folderPath":"/a/b"},{"type":"folder","folderPath":"/a/c"}]`, func(ctx context.Context, c *imagekit.Client) error {
			_, err := c.List(ctx, "/a", 0, 1)
			return err
		}},
		"other files deleted": {`{"successfullyDeletedFileIds":["2"]}`, func(ctx context.Context, c *imagekit.Client) error {
			_, _, err := c.DeleteFiles(ctx, []string{"1"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.ask(t.Context(), newClient(t, serve(t, drained(200, nil, test.body))))
			if e := apiError(t, err); e.Class != imagekit.Transient || !e.Ambiguous {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Each refusal tells of one more file that is not there, which is asked about no more.
func TestABulkDeleteEndsWhateverIsSaidToBeMissing(t *testing.T) {
	var ids []string
	for i := range imagekit.MaxDelete {
		ids = append(ids, fmt.Sprint("id", i))
	}
	var asked atomic.Int64
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1)) - 1
		drained(404, nil, fmt.Sprintf(`{"message":"The requested file(s) does not exist.","missingFileIds":["id%d","id0","other"]}`, n))(w, r)
	}), unlimited)
	deleted, refused, err := c.DeleteFiles(t.Context(), ids)
	if err != nil || len(deleted) != len(ids) || len(refused) != 0 || asked.Load() != int64(len(ids)) {
		t.Errorf("%d deleted, %v, %v, %d requests", len(deleted), refused, err, asked.Load())
	}
}

func TestTheKeyGoesToNoOtherHostAndNoOtherPath(t *testing.T) {
	var elsewhere atomic.Int64
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		if text := fmt.Sprint(r.Header, r.URL); hasSecret(text) {
			t.Errorf("the other host was told the key: %s", text)
		}
	})
	for _, status := range []int{301, 302, 303, 307, 308, 401, 407, 421} {
		for name, target := range map[string]string{"another host": other + "/v1/files", "another path": "/stolen", "a host of another scheme": "//" + strings.TrimPrefix(other, "http://") + "/"} {
			t.Run(fmt.Sprintf("%d to %s", status, name), func(t *testing.T) {
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "/stolen") {
						elsewhere.Add(1)
					}
					drained(status, map[string]string{
						"Location": target, "Content-Location": target, "Refresh": "0; url=" + target, "Alt-Svc": `h2="` + other + `"`,
						"WWW-Authenticate": "Basic realm=x", "Proxy-Authenticate": "Basic realm=x",
					}, `{"message":"go on"}`)(w, r)
				})
				for _, call := range everyCall {
					if e := apiError(t, call.do(t.Context(), newClient(t, base))); e.Status != status || e.Ambiguous {
						t.Errorf("%s: %+v", call.name, e)
					}
				}
				if e := apiError(t, download(t.Context(), newClient(t, base), base+"/a")); e.Status != status || e.Class != imagekit.File {
					t.Errorf("download: %+v", e)
				}
			})
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// download reads a download to its end.
func download(ctx context.Context, c *imagekit.Client, url string) error {
	body, err := c.Download(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

func TestNothingIsToldToAServerThatCantProveItsName(t *testing.T) {
	var told atomic.Int64
	secure := func(config *tls.Config) string {
		web := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told.Add(1) }))
		web.Config.ErrorLog = log.New(io.Discard, "", 0)
		web.TLS = config
		web.StartTLS()
		t.Cleanup(web.Close)
		return web.URL
	}
	listening := rawServer(t, func(_ net.Conn, r *bufio.Reader) {
		hello, _ := r.Peek(100)
		if bytes.Contains(hello, []byte("HTTP/1.1")) {
			told.Add(1)
		}
	})
	for name, base := range map[string]string{
		"a certificate of nobody known": secure(nil),
		"TLS 1.0":                       secure(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}),
		"no TLS where it should be":     strings.Replace(wire(t, "HTTP/1.1 200 OK\r\n\r\n{}", false), "http:", "https:", 1),
		"one that only listens":         strings.Replace(listening, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asks := []func(context.Context, *imagekit.Client) error{func(ctx context.Context, c *imagekit.Client) error { return download(ctx, c, base+"/a") }}
			for _, call := range everyCall {
				asks = append(asks, call.do)
			}
			for _, ask := range asks {
				if e := apiError(t, ask(t.Context(), newClient(t, base))); e.Class != imagekit.Offline || e.Ambiguous || e.Status != 0 {
					t.Errorf("%+v", e)
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := told.Load(); n != 0 {
			t.Errorf("%d servers were sent a request", n)
		}
	})
}
