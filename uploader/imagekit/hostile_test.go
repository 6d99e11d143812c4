package imagekit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// calls are all the client can do, by small and by large bodies.
var calls = []struct {
	name string
	do   func(context.Context, *imagekit.Client) error
}{
	{"upload of a small file", func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.Upload(ctx, upload(smallSize))
		return err
	}},
	{"upload of a large file", func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.Upload(ctx, upload(1<<20))
		return err
	}},
	{"look-up", func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.Find(ctx, "/photos/a.bin")
		return err
	}},
}

func TestAnAnswerThatCantBeUsedIsAmbiguousAndTriedAgain(t *testing.T) {
	for name, rule := range map[string]emulator.Fault{
		"a page instead of JSON":          {Action: emulator.ActionHTML},
		"half of the JSON":                {Action: emulator.ActionTruncated},
		"something behind the JSON":       {Action: emulator.ActionTrailing},
		"less than its length":            {Action: emulator.ActionLength},
		"no answer at all but the end":    {Action: emulator.ActionLose},
		"JSON of more than it can be":     {Action: emulator.ActionEndless, Bytes: 10 << 20},
		"a failed server":                 {Action: emulator.ActionStatus, Status: 500},
		"a proxy's page for the server's": {Action: emulator.ActionStatus, Status: 502, HTML: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, _ := newEmulator(t, emulator.Behaviour{})
			fault(s, rule)
			for _, call := range calls {
				e := apiError(t, call.do(t.Context(), c))
				if e.Class != imagekit.Transient || !e.Ambiguous {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
			// The client is none the worse for it.
			s.SetFaults(emulator.Faults{})
			if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAGigabyteOfJSONIsNotRead(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	fault(s, emulator.Fault{Action: emulator.ActionEndless, Bytes: 1 << 30})
	for _, call := range calls {
		before := allocated()
		e := apiError(t, call.do(t.Context(), c))
		if grown := allocated() - before; grown > 96<<20 {
			t.Errorf("%s: %d bytes were allocated", call.name, grown)
		}
		if !strings.Contains(e.Message, "larger than") || !e.Ambiguous {
			t.Errorf("%s: %v", call.name, e)
		}
	}
}

func TestAnAnswerThatDripsIsCut(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{}, func(o *imagekit.Options) {
		o.Stall, o.AnswerTimeout = 300*time.Millisecond, 100*time.Millisecond
	})
	fault(s, emulator.Fault{Action: emulator.ActionSlow, Every: emulator.Duration(200 * time.Millisecond)})
	for _, call := range calls[:2] {
		if e := apiError(t, call.do(t.Context(), c)); e.Class != imagekit.Transient || !e.Ambiguous {
			t.Errorf("%s: %+v", call.name, e)
		}
	}
}

func TestAnAnswerThatNeverComesIsAmbiguous(t *testing.T) {
	base := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	c := newClient(t, base, func(o *imagekit.Options) { o.Stall, o.AnswerTimeout = 300*time.Millisecond, 50*time.Millisecond })
	for _, call := range calls[:2] {
		e := apiError(t, call.do(t.Context(), c))
		if e.Class != imagekit.Transient || !e.Ambiguous || !strings.Contains(e.Message, "no answer") {
			t.Errorf("%s: %+v", call.name, e)
		}
	}
}

func TestAConnectionCutWithinTheBodyIsNotAmbiguous(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	fault(s, emulator.Fault{Action: emulator.ActionCut, Bytes: 100 << 10})
	_, err := c.Upload(t.Context(), upload(largeSize))
	if e := apiError(t, err); e.Class != imagekit.Transient || e.Ambiguous || e.Status != 0 {
		t.Errorf("got %+v", e)
	}
	if len(s.Assets()) != 0 {
		t.Error("something was stored")
	}
}

func TestAConnectionClosedAfterTheBodyIsAmbiguous(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	for name, size := range sizes {
		// The first upload leaves a connection to be used again, where net/http might
		// repeat what it takes for unsent.
		for _, connection := range []string{"new", "used"} {
			t.Run(name+" on a "+connection+" connection", func(t *testing.T) {
				before := s.Stats().Requests["upload"]
				fault(s, emulator.Fault{Endpoint: "upload", Action: emulator.ActionLose})
				_, err := c.Upload(t.Context(), upload(size))
				if e := apiError(t, err); e.Class != imagekit.Transient || !e.Ambiguous || e.Status != 0 {
					t.Errorf("got %+v", e)
				}
				if n := s.Stats().Requests["upload"] - before; n != 1 {
					t.Errorf("%d requests were made for one upload", n)
				}
				assetAt(t, s, "/photos/a.bin")
				s.SetFaults(emulator.Faults{})
				if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// early answers when the head of the request is there, reads nothing of the
// body, and leaves the connection to the client.
func early(t *testing.T, answer string) string {
	return rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		io.WriteString(conn, answer)
		<-t.Context().Done()
	})
}

func answerOf(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func TestAnEarlyRefusalIsTaken(t *testing.T) {
	for _, status := range []string{"400 Bad Request", "403 Forbidden", "413 Too Large"} {
		c := newClient(t, early(t, answerOf(status, `{"message":"Upload Limit Exceeded."}`)))
		_, err := c.Upload(t.Context(), upload(largeSize))
		if e := apiError(t, err); e.Message != "Upload Limit Exceeded." || e.Class == imagekit.Transient {
			t.Errorf("%s: %+v", status, e)
		}
	}
}

func TestAnEarlyRefusalOfTheEmulatorIsTaken(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{MaxImageSize: 1 << 20, MaxVideoSize: 1 << 20, EarlyReject: true})
	_, err := c.Upload(t.Context(), upload(8<<20))
	if e := apiError(t, err); e.Class != imagekit.File || !strings.Contains(e.Message, "size exceeds") {
		t.Errorf("got %+v", e)
	}
}

func TestAnEarlySuccessIsNotBelieved(t *testing.T) {
	c := newClient(t, early(t, answerOf("200 OK", goodAnswer)))
	_, err := c.Upload(t.Context(), upload(largeSize))
	if e := apiError(t, err); e.Class != imagekit.Transient || !strings.Contains(e.Message, "before the whole file was sent") {
		t.Errorf("got %+v", e)
	}
}

func TestARedirectIsNeverFollowed(t *testing.T) {
	var reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	defer other.Close()
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for name, target := range map[string]string{"another host": other.URL + "/api/v1/files/upload", "an impossible one": "http://%zz/", "itself": "/x"} {
			s, c, _ := newEmulator(t, emulator.Behaviour{})
			fault(s, emulator.Fault{Action: emulator.ActionRedirect, Status: status, URL: target})
			for _, call := range calls {
				e := apiError(t, call.do(t.Context(), c))
				if e.Class != imagekit.Account || e.Status != status || !strings.Contains(e.Message, "redirect") {
					t.Errorf("%d to %s, %s: %+v", status, name, call.name, e)
				}
			}
			if n := s.Stats().Requests["upload"]; n != 2 {
				t.Errorf("%d to %s: %d uploads", status, name, n)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestNoCookieIsKept(t *testing.T) {
	var cookies atomic.Int64
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		cookies.Add(int64(len(r.Cookies())))
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		drained(200, nil, goodAnswer)(w, r)
	}))
	for range 2 {
		if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil {
			t.Fatal(err)
		}
	}
	if cookies.Load() != 0 {
		t.Error("a cookie came back")
	}
}

func TestAnswersAreReadLenientlyButNotBelievedBlindly(t *testing.T) {
	full := func(change ...string) string {
		answer := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(goodAnswer), &answer); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(change); i += 2 {
			answer[change[i]] = json.RawMessage(change[i+1])
			if change[i+1] == "" {
				delete(answer, change[i])
			}
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	good := imagekit.Asset{FileID: "6512f1", VersionID: "6512f2", Name: "a.bin", FilePath: "/photos/a.bin",
		URL: "https://ik.example/demo/photos/a.bin", FileType: "non-image", Size: 100}
	with := func(change func(*imagekit.Asset)) *imagekit.Asset {
		a := good
		change(&a)
		return &a
	}
	same := with(func(*imagekit.Asset) {})
	tests := map[string]struct {
		status int
		body   string
		want   *imagekit.Asset // nil: the answer can't be used
	}{
		"as documented":                         {200, full(), same},
		"white space around it":                 {200, "\r\n " + full() + "\n\n", same},
		"201 for 200":                           {201, full(), same},
		"unknown fields":                        {200, full("new", `{"a":[1,2,{}]}`), same},
		"nulls where there may be nothing":      {200, full("AITags", "null", "thumbnailUrl", "null", "width", "null", "height", "null", "versionInfo", "null", "url", "null"), with(func(a *imagekit.Asset) { a.VersionID, a.URL = "", "" })},
		"sizes as floats":                       {200, full("size", "100.0", "width", "12.9", "height", "1.2e1"), with(func(a *imagekit.Asset) { a.Width, a.Height = 12, 12 })},
		"a size of zero":                        {200, full("size", "0"), with(func(a *imagekit.Asset) { a.Size = 0 })},
		"a huge width":                          {200, full("width", "1e300", "height", "9007199254740993000"), same},
		"a negative width":                      {200, full("width", "-1"), same},
		"a width that is text":                  {200, full("width", `"100"`), same},
		"a thumbnail that is none":              {200, full("thumbnailUrl", "false"), same},
		"version info that is none":             {200, full("versionInfo", `[]`), with(func(a *imagekit.Asset) { a.VersionID = "" })},
		"202 names no file":                     {202, `{"message":"The pre-transformation has been queued successfully."}`, &imagekit.Asset{}},
		"202 with a page":                       {202, "<html>", nil},
		"204 and nothing":                       {204, "", nil},
		"nothing":                               {200, "", nil},
		"null":                                  {200, "null", nil},
		"a list":                                {200, "[" + full() + "]", nil},
		"a text":                                {200, `"ok"`, nil},
		"two objects":                           {200, full() + full(), nil},
		"no fileId":                             {200, full("fileId", ""), nil},
		"a fileId that is null":                 {200, full("fileId", "null"), nil},
		"a fileId that is a number":             {200, full("fileId", "5"), nil},
		"an empty fileId":                       {200, full("fileId", `""`), nil},
		"no filePath":                           {200, full("filePath", ""), nil},
		"a filePath that is null":               {200, full("filePath", "null"), nil},
		"a filePath that does not start with /": {200, full("filePath", `"photos/a.bin"`), nil},
		"no size":                               {200, full("size", ""), nil},
		"a size that is null":                   {200, full("size", "null"), nil},
		"a size that is text":                   {200, full("size", `"100"`), nil},
		"a size below zero":                     {200, full("size", "-1"), nil},
		"a size that no file has":               {200, full("size", "1e300"), nil},
		"a size that no number has":             {200, full("size", "1e999"), nil},
		"depth without end":                     {200, strings.Repeat(`{"a":`, 1<<20), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, drained(test.status, map[string]string{"x-ik-requestId": "r-2"}, test.body)))
			for _, size := range sizes {
				got, err := c.Upload(t.Context(), upload(size))
				if test.want == nil {
					e := apiError(t, err)
					if e.Class != imagekit.Transient || !e.Ambiguous || e.RequestID != "r-2" || e.Status != test.status || got != nil {
						t.Errorf("got %+v, %+v", got, e)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Raw, []byte(test.body)) {
					t.Errorf("Raw is %q", got.Raw)
				}
				got.Raw = nil
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestWhatTheAnswerSaysIsPassedOnAsItIs(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	fault(s, emulator.Fault{Action: emulator.ActionWrongPath, Count: 1}, emulator.Fault{Action: emulator.ActionWrongSize, Count: 1})
	asset, err := c.Upload(t.Context(), bytesUpload("/a.txt", "123"))
	if err != nil || asset.FilePath != "/a.txt.other" || asset.Name != "a.txt.other" {
		t.Errorf("%+v, %v", asset, err)
	}
	asset, err = c.Upload(t.Context(), bytesUpload("/a.txt", "123"))
	if err != nil || asset.Size != 4 {
		t.Errorf("%+v, %v", asset, err)
	}
}

func TestAStatusThatIsNoneIsNotTheFilesFault(t *testing.T) {
	for _, status := range []string{"000 Nothing", "099 Odd", "101 Switching Protocols"} {
		base := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
			length, err := readHead(r)
			if err != nil {
				return
			}
			io.CopyN(io.Discard, r, length)
			io.WriteString(conn, "HTTP/1.1 "+status+"\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n")
		})
		_, err := newClient(t, base).Upload(t.Context(), upload(smallSize))
		if e := apiError(t, err); e.Class != imagekit.Transient || !e.Ambiguous {
			t.Errorf("%s: %+v", status, e)
		}
	}
}

func TestNoConnectionIsOffline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	l.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	hangUp := strings.Replace(rawServer(t, func(conn net.Conn, r *bufio.Reader) { r.ReadByte() }), "http:", "https:", 1)
	for name, base := range map[string]string{
		"nobody listens":                 refused,
		"a certificate of nobody known":  untrusted.URL,
		"a server that hangs up on TLS":  hangUp,
		"plain HTTP where TLS should be": strings.Replace(serve(t, drained(200, nil, "")), "http:", "https:", 1),
		"a name that does not exist":     "https://imagekit.invalid",
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, base)
			for _, call := range calls {
				e := apiError(t, call.do(t.Context(), c))
				if e.Class != imagekit.Offline || e.Ambiguous || e.Status != 0 {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
		})
	}
}

func TestSequentialCallsShareOneConnection(t *testing.T) {
	s, err := emulator.New(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var opened atomic.Int64
	web := httptest.NewUnstartedServer(s)
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	web.Start()
	defer web.Close()
	c := newClient(t, web.URL)
	defer c.Close()
	for range 10 {
		for _, call := range calls {
			if err := call.do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		// A refusal is an answer like any other.
		u := bytesUpload("/photos/a.bin", "x")
		u.Params.OverwriteFile = new(false)
		if _, err := c.Upload(t.Context(), u); err == nil {
			t.Fatal("it was not refused")
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestSeveralGoroutinesMayUseOneClient(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	errs := make(chan error)
	for i := range 16 {
		go func() {
			_, err := c.Upload(t.Context(), bytesUpload(fmt.Sprintf("/c/%d.txt", i), strings.Repeat("x", i*4000)))
			errs <- err
		}()
	}
	for range 16 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for i := range 16 {
		if a := assetAt(t, s, fmt.Sprintf("/c/%d.txt", i)); a.Size != int64(i*4000) {
			t.Errorf("%s has %d bytes", a.FilePath, a.Size)
		}
	}
}
