package emulator_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iksync/uploader/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an emulator behind a real HTTP server, with a plain client.
type bench struct {
	*testing.T
	emulator *emulator.Server
	url      string
	client   *http.Client
}

// newBench serves an emulator whose listings don't lag unless o says so.
func newBench(t *testing.T, o emulator.Options) *bench {
	t.Helper()
	if o.Behaviour.ListingLag == 0 {
		o.Behaviour.ListingLag = emulator.NoLag
	}
	s, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s)
}

func serve(t *testing.T, s *emulator.Server) *bench {
	web := httptest.NewUnstartedServer(s)
	web.Config.ErrorLog = nil
	web.Start()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	return &bench{T: t, emulator: s, url: web.URL, client: client}
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

func (b *bench) do(r *http.Request) (reply, error) {
	if r.Header.Get("Authorization") == "" {
		r.SetBasicAuth("private_x", "whatever")
	}
	return b.send(r)
}

// send sends a request as it is, without a key unless it has one.
func (b *bench) send(r *http.Request) (reply, error) {
	resp, err := b.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	got := reply{status: resp.StatusCode, header: resp.Header, text: string(text)}
	json.Unmarshal(text, &got.json)
	return got, err
}

func (b *bench) request(method, path, body string) *http.Request {
	b.Helper()
	r, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// call makes an API call that has to be answered.
func (b *bench) call(method, path, body string) reply {
	b.Helper()
	got, err := b.do(b.request(method, path, body))
	if err != nil {
		b.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// want makes a call and checks its status.
func (b *bench) want(status int, method, path, body string) reply {
	b.Helper()
	got := b.call(method, path, body)
	if got.status != status {
		b.Fatalf("%s %s %s: %d %s, want %d", method, path, body, got.status, got.text, status)
	}
	return got
}

// form is the body of an upload: the fields as name, value pairs, and the file
// as a part with a file name, last.
func form(t testing.TB, content string, fields ...string) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("file", "local name")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(part, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, w.FormDataContentType()
}

func (b *bench) tryUpload(content string, fields ...string) (reply, error) {
	b.Helper()
	body, contentType := form(b.T, content, fields...)
	r, err := http.NewRequest("POST", b.url+"/api/v1/files/upload", body)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return b.do(r)
}

// upload puts content at path, under just that name.
func (b *bench) upload(path, content string, fields ...string) reply {
	b.Helper()
	i := strings.LastIndexByte(path, '/')
	fields = append([]string{"fileName", path[i+1:], "folder", path[:i+1], "useUniqueFileName", "false"}, fields...)
	got, err := b.tryUpload(content, fields...)
	if err != nil {
		b.Fatal(err)
	}
	if got.status != 200 {
		b.Fatalf("upload of %s: %d %s", path, got.status, got.text)
	}
	return got
}

// fields makes an upload of text fields alone.
func (b *bench) fields(path string, fields ...string) reply {
	b.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		w.WriteField(fields[i], fields[i+1])
	}
	w.Close()
	r := b.request("POST", path, body.String())
	r.Header.Set("Content-Type", w.FormDataContentType())
	got, err := b.do(r)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

func (b *bench) asset(path string) emulator.Asset {
	b.Helper()
	for _, a := range b.emulator.Assets() {
		if a.FilePath == path {
			return a
		}
	}
	b.Fatalf("no asset at %s", path)
	return emulator.Asset{}
}

func (b *bench) paths() string {
	var paths []string
	for _, a := range b.emulator.Assets() {
		paths = append(paths, a.FilePath)
	}
	return strings.Join(paths, " ")
}

func (b *bench) content(path string) string {
	b.Helper()
	r, err := b.emulator.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

func (r reply) str(key string) string { text, _ := r.json[key].(string); return text }

// picture is a PNG of that size.
func picture(t *testing.T, width, height int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// video is the beginning of an MP4, enough to be known for one.
const video = "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom........"

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// clock is a time that moves when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
