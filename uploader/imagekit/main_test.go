package imagekit_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is long enough to be in no text by chance.
const secret = "private_T0pS3cr3tK3yOfTheTests="

var secretBase64 = base64.StdEncoding.EncodeToString([]byte(secret + ":"))

const (
	smallSize = 100
	// largeSize is more than a connection's buffers hold, so that a server that
	// does not read keeps the client from having sent all.
	largeSize = 64 << 20
)

// sizes are of the two ways a body is sent: put together first, and streamed.
var sizes = map[string]int64{"small file": smallSize, "large file": 1 << 20}

// newClient makes a client of a server at base.
func newClient(t testing.TB, base string, change ...func(*imagekit.Options)) *imagekit.Client {
	t.Helper()
	o := imagekit.Options{Key: imagekit.NewKey(secret), UploadURL: base + "/api/v1/files/upload", APIURL: base + "/v1"}
	for _, f := range change {
		f(&o)
	}
	c, err := imagekit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}

// listsAtOnce gives b with listings that don't lag unless b says how long they do:
// most tests are about something else, and would wait.
func listsAtOnce(b emulator.Behaviour) emulator.Behaviour {
	if b.ListingLag == 0 {
		b.ListingLag = emulator.NoLag
	}
	return b
}

// newEmulator gives an emulator that takes the tests' key alone, a client of
// it, and its address.
func newEmulator(t testing.TB, b emulator.Behaviour, change ...func(*imagekit.Options)) (*emulator.Server, *imagekit.Client, string) {
	t.Helper()
	s, err := emulator.New(emulator.Options{PrivateKey: secret, Behaviour: listsAtOnce(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	base := serve(t, s.ServeHTTP)
	return s, newClient(t, base, change...), base
}

func fault(s *emulator.Server, rules ...emulator.Fault) { s.SetFaults(emulator.Faults{Rules: rules}) }

// rawServer speaks TCP: serve gets every connection. At the test's end they are
// closed and waited for.
func rawServer(t testing.TB, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// readHead reads a request up to its body.
func readHead(r *bufio.Reader) (length int64, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return 0, err
	}
	return req.ContentLength, nil
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// upload is an upload of size bytes.
func upload(size int64) *imagekit.Upload {
	return &imagekit.Upload{FileName: "a.bin", Folder: "/photos", Source: imagekit.FromReader(zeros{}, size),
		Params: imagekit.Params{UseUniqueFileName: new(false)}}
}

func bytesUpload(filePath string, content string) *imagekit.Upload {
	i := strings.LastIndexByte(filePath, '/')
	return &imagekit.Upload{FileName: filePath[i+1:], Folder: filePath[:i+1], Source: imagekit.FromReader(strings.NewReader(content), int64(len(content))),
		Params: imagekit.Params{UseUniqueFileName: new(false)}}
}

func assetAt(t testing.TB, s *emulator.Server, path string) emulator.Asset {
	t.Helper()
	for _, a := range s.Assets() {
		if a.FilePath == path {
			return a
		}
	}
	t.Fatalf("the emulator has no asset at %q: %+v", path, s.Assets())
	return emulator.Asset{}
}

func contentAt(t testing.TB, s *emulator.Server, path string) []byte {
	t.Helper()
	r, err := s.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// apiError checks that err is an *Error, is fit to be shown, and shows no key.
func apiError(t testing.TB, err error) *imagekit.Error {
	t.Helper()
	var e *imagekit.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	noSecret(t, err)
	if e.Message == "" || len(e.Error()) > 3000 {
		t.Errorf("a message of %d bytes is not fit to be shown", len(e.Error()))
	}
	return e
}

// noSecret checks an error, with all beneath it, for the key.
func noSecret(t testing.TB, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
			if text := fmt.Sprintf(format, err); hasSecret(text) {
				t.Errorf("the key is in the error printed with %s: %s", format, text)
			}
		}
	}
}

func hasSecret(text string) bool {
	return strings.Contains(text, secret) || strings.Contains(text, secretBase64) ||
		strings.Contains(text, strings.TrimRight(secretBase64, "="))
}

// goodAnswer is what ImageKit answers to an upload, shortened.
const goodAnswer = `{"fileId":"6512f1","name":"a.bin","size":100,"versionInfo":{"id":"6512f2","name":"Version 2"},` +
	`"filePath":"/photos/a.bin","url":"https://ik.example/demo/photos/a.bin","fileType":"non-image","AITags":null}`

// drained reads a request to its end, then answers.
func drained(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.Copy(w, bytes.NewReader([]byte(body)))
	}
}
