package imagekit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// piped runs call with a client whose connections are pipes in a bubble of
// time; server gets the other ends. It gives how long the call took.
func piped(t *testing.T, server func(net.Conn), call func(*Client) error) (took time.Duration, err error) {
	c, err := New(Options{Key: NewKey("private_x"), UploadURL: "http://127.0.0.1/upload", APIURL: "http://127.0.0.1/v1"})
	if err != nil {
		t.Fatal(err)
	}
	c.transport.Proxy = nil
	var serving sync.WaitGroup
	c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		serving.Go(func() {
			defer there.Close()
			server(there)
			io.Copy(io.Discard, there) // until the client hangs up
		})
		return here, nil
	}
	start := time.Now()
	err = call(c)
	took = time.Since(start)
	c.Close()
	synctest.Wait() // a connection dialled for a call that took another one is still coming
	serving.Wait()
	return took, err
}

func uploadZeros(size int64) func(*Client) error {
	return func(c *Client) error {
		_, err := c.Upload(context.Background(), &Upload{FileName: "a", Source: FromReader(zeroReader{}, size)})
		return err
	}
}

func readRequest(conn net.Conn) error {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err
}

func TestWhatStandsStillIsCutInItsTime(t *testing.T) {
	const large = 1 << 20
	find := func(c *Client) error {
		_, err := c.Find(context.Background(), "/a")
		return err
	}
	drip := func(conn net.Conn) {
		if readRequest(conn) != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		for {
			time.Sleep(10 * time.Second) // of the bubble's time
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
		}
	}
	silent := func(conn net.Conn) { readRequest(conn) }
	deaf := func(conn net.Conn) { time.Sleep(time.Hour) }
	for name, test := range map[string]struct {
		server    func(net.Conn)
		call      func(*Client) error
		after     time.Duration
		ambiguous bool
		message   string
	}{
		"a large file that a server does not read":       {deaf, uploadZeros(large), time.Minute, false, "no byte moved for 1m0s"},
		"a large file that gets no answer":               {silent, uploadZeros(large), 5 * time.Minute, true, "no answer came within 5m0s"},
		"a small file that gets no answer":               {silent, uploadZeros(100), 6 * time.Minute, true, "no answer came"},
		"a large file whose answer drips":                {drip, uploadZeros(large), 5 * time.Minute, true, "no answer came within 5m0s"},
		"a small file whose answer drips":                {drip, uploadZeros(100), 6 * time.Minute, true, "no answer came"},
		"a look-up that gets no answer":                  {silent, find, time.Minute, true, "longer than a minute"},
		"a look-up whose answer drips":                   {drip, find, time.Minute, true, "longer than a minute"},
		"a large file of which a server reads the start": {func(conn net.Conn) { io.CopyN(io.Discard, conn, 300<<10); deaf(conn) }, uploadZeros(large), time.Minute, false, "no byte moved for 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, err := piped(t, test.server, test.call)
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v, want an *Error", err)
				}
				if e.Class != Transient || e.Ambiguous != test.ambiguous || !strings.Contains(e.Message, test.message) {
					t.Errorf("got %+v", e)
				}
				if took != test.after {
					t.Errorf("it was cut after %s, not %s", took, test.after)
				}
			})
		})
	}
}

func TestAnUploadThatMovesSlowlyIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := piped(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			req, err := http.ReadRequest(r)
			if err != nil {
				t.Error(err)
				return
			}
			for err == nil {
				time.Sleep(25 * time.Second)
				_, err = io.CopyN(io.Discard, req.Body, 32<<10)
			}
			time.Sleep(4 * time.Minute)
			body := `{"fileId":"1","filePath":"/a","size":1}`
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n"+body)
		}, uploadZeros(2<<20))
		if err != nil || took < 20*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestASourceThatIsSlowIsNotCutWhileItGivesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := piped(t, func(conn net.Conn) {
			if readRequest(conn) == nil {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n"+`{"fileId":"1","filePath":"/a","size":1}`)
			}
		}, func(c *Client) error {
			_, err := c.Upload(context.Background(), &Upload{FileName: "a", Source: FromReader(slowReader{}, 1<<20)})
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// slowReader gives 32 kB in most of a minute.
type slowReader struct{}

func (slowReader) Read(p []byte) (int, error) {
	time.Sleep(59 * time.Second)
	return min(len(p), 32<<10), nil
}

func TestADeadProxyIsOffline(t *testing.T) {
	c, err := New(Options{Key: NewKey("private_x"), UploadURL: "https://upload.invalid/upload", APIURL: "https://api.invalid/v1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	c.transport.Proxy = func(r *http.Request) (*url.URL, error) { return r.URL.Parse("http://" + dead.Addr().String()) }
	for _, size := range []int64{100, 1 << 20} {
		var e *Error
		if err := uploadZeros(size)(c); !errors.As(err, &e) || e.Class != Offline || e.Ambiguous {
			t.Errorf("got %+v", err)
		}
	}
}
