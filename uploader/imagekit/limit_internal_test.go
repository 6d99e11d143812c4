package imagekit

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answering answers every request on a connection with what script says.
func answering(script func(*http.Request) string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(conn, "HTTP/1.1 "+script(req)); err != nil {
				return
			}
		}
	}
}

const (
	emptyList = "200 OK\r\nContent-Length: 2\r\n\r\n[]"
	noContent = "204 No Content\r\n\r\n"
	throttled = "429 Too Many Requests\r\nX-RateLimit-Reset: 90000\r\nContent-Length: 0\r\n\r\n"
)

func TestCallsKeepToTheRate(t *testing.T) {
	always := func(r *http.Request) string {
		if r.Method == http.MethodGet {
			return emptyList
		}
		return noContent
	}
	list := func(c *Client) error { _, err := c.List(context.Background(), "/", 0, 1); return err }
	find := func(c *Client) error { _, err := c.Find(context.Background(), "/a"); return err }
	move := func(c *Client) error { return c.Move(context.Background(), "/a", "/b") }
	for name, test := range map[string]struct {
		reads, writes float64
		calls         []func(*Client) error
		times         int
		took          time.Duration
	}{
		"a burst of reads":             {0, 0, []func(*Client) error{list, find}, 40, 0},
		"reads behind it":              {0, 0, []func(*Client) error{list, find}, 140, 10 * time.Second},
		"a burst of writes":            {0, 0, []func(*Client) error{move}, 20, 0},
		"writes behind it":             {0, 0, []func(*Client) error{move}, 45, 5 * time.Second},
		"reads and writes":             {0, 0, []func(*Client) error{move, list}, 20, 0},
		"rates that are set":           {10, 0.1, []func(*Client) error{list, move}, 7, time.Minute},
		"no limit":                     {-1, -1, []func(*Client) error{list, find, move}, 500, 0},
		"more than can be counted to":  {1e300, 1e300, []func(*Client) error{list, move}, 500, 0},
		"a limit of one kind of calls": {-1, 1, []func(*Client) error{list, find}, 500, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, err := piped(t, answering(always), func(c *Client) error {
					o := Options{ReadsPerSecond: test.reads, WritesPerSecond: test.writes}
					c.limits = newLimits(orDefault(o.ReadsPerSecond, 20), orDefault(o.WritesPerSecond, 5))
					for range test.times {
						for _, call := range test.calls {
							if err := call(c); err != nil {
								return err
							}
						}
					}
					return nil
				})
				// The limiter counts in floating point.
				if err != nil || (took-test.took).Abs() > time.Millisecond {
					t.Errorf("it took %s, not %s: %v", took, test.took, err)
				}
			})
		})
	}
}

func TestAThrottledEndpointIsClosedForAllUntilItsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := map[string]int{}
		server := answering(func(r *http.Request) string {
			mu.Lock()
			defer mu.Unlock()
			key := r.Method + " " + r.URL.Path
			seen[key]++
			switch {
			case key == "GET /v1/files" && seen[key] == 1:
				return throttled
			case r.Method == http.MethodGet:
				return emptyList
			}
			return noContent
		})
		_, err := piped(t, server, func(c *Client) error {
			start := time.Now()
			_, err := c.Find(t.Context(), "/a")
			var e *Error
			if !errors.As(err, &e) || e.Class != Throttled || e.RetryAfter != 90*time.Second || e.Ambiguous {
				t.Errorf("%+v", err)
			}
			// Other endpoints are open.
			if err := c.Move(t.Context(), "/a", "/b"); err != nil || time.Since(start) != 0 {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
			// Who gives up waiting sends nothing, and is told by its context.
			short, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.List(short, "/", 0, 1); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) || time.Since(start) != time.Minute {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
			if seen["GET /v1/files"] != 1 {
				t.Errorf("%v", seen)
			}
			var waiting sync.WaitGroup
			for range 10 {
				waiting.Go(func() {
					if _, err := c.List(t.Context(), "/", 0, 1); err != nil || time.Since(start) != 90*time.Second {
						t.Errorf("after %s: %v", time.Since(start), err)
					}
				})
			}
			waiting.Wait()
			return nil
		})
		if err != nil || seen["GET /v1/files"] != 11 {
			t.Errorf("%v, %v", seen, err)
		}
	})
}

func TestAnEndpointClosedWhileTheLimiterIsWaitedForStaysClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(-1, 0.1) // one each ten seconds
		start := time.Now()
		if err := l.wait(t.Context(), http.MethodPost, "POST /files/move"); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := l.wait(t.Context(), http.MethodPost, "POST /files/move"); err != nil || time.Since(start) < time.Hour {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
		})
		synctest.Wait()
		l.close("POST /files/move", time.Hour)
		l.close("POST /files/move", time.Second) // the longer one holds
		waiting.Wait()
	})
}

func TestTheMinuteOfACallBeginsWithItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := piped(t, answering(func(r *http.Request) string { return noContent }), func(c *Client) error {
			c.limits.close("POST /files/move", 59*time.Minute)
			return c.Move(t.Context(), "/a", "/b")
		})
		if err != nil || took != 59*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestACallThatIsGivenUpTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			if err := l.wait(ctx, http.MethodGet, "GET /files"); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := l.wait(t.Context(), http.MethodGet, "GET /files"); err != nil || time.Since(start) != 0 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestADownloadThatStandsStillIsCutInItsTime(t *testing.T) {
	half := func(conn net.Conn) {
		if readRequest(conn) == nil {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}
	}
	silent := func(conn net.Conn) { readRequest(conn) }
	for name, server := range map[string]func(net.Conn){"half of it": half, "no answer": silent} {
		synctest.Test(t, func(t *testing.T) {
			took, err := piped(t, server, func(c *Client) error {
				body, err := c.Download(t.Context(), "http://127.0.0.1/a")
				if err != nil {
					return err
				}
				defer body.Close()
				_, err = io.ReadAll(body)
				return err
			})
			var e *Error
			if !errors.As(err, &e) || e.Class != Transient || !errors.Is(err, errStalled) || took != time.Minute {
				t.Errorf("%s, after %s: %v", name, took, err)
			}
		})
	}
}
