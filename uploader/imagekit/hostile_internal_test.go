package imagekit

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// drip answers a byte each ten seconds, again and again what comes after start.
func drip(start, again string) func(net.Conn) {
	return func(conn net.Conn) {
		if readRequest(conn) != nil {
			return
		}
		for text := start; ; text = again {
			for i := range len(text) {
				time.Sleep(10 * time.Second) // of the bubble's time
				if _, err := conn.Write([]byte{text[i]}); err != nil {
					return
				}
			}
		}
	}
}

func TestAnAnswerThatDripsForEverIsCutInItsTime(t *testing.T) {
	ctx := context.Background()
	for name, call := range map[string]struct {
		do    func(*Client) error
		after time.Duration
	}{
		"a small upload": {uploadZeros(100), 6 * time.Minute},
		"a large upload": {uploadZeros(1 << 20), 5 * time.Minute},
		"details":        {func(c *Client) error { _, err := c.Details(ctx, "1"); return err }, time.Minute},
		"a listing":      {func(c *Client) error { _, err := c.List(ctx, "/a", 0, 1); return err }, time.Minute},
		"a move":         {func(c *Client) error { return c.Move(ctx, "/a", "/b") }, time.Minute},
		"a rename":       {func(c *Client) error { return c.Rename(ctx, "/a", "b") }, time.Minute},
		"a deletion":     {func(c *Client) error { _, _, err := c.DeleteFiles(ctx, []string{"1"}); return err }, time.Minute},
		"a folder's job": {func(c *Client) error { _, err := c.MoveFolder(ctx, "/a", "/b"); return err }, time.Minute},
		"a job's end":    {func(c *Client) error { _, err := c.JobDone(ctx, "1"); return err }, time.Minute},
		"a download":     {func(c *Client) error { _, err := c.Download(ctx, "http://127.0.0.1/a"); return err }, time.Minute},
	} {
		for what, server := range map[string]func(net.Conn){
			"in its status":       drip("HTTP/1.1 200 ", "x"),
			"in its headers":      drip("H", "TTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 1000)),
			"in interim answers":  drip("", "HTTP/1.1 100 Continue\r\n\r\n"),
			"in chunks":           drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
			"in what is no list":  drip("HTTP/1.1 200 OK\r\n\r\n[", "[],"),
			"before it has begun": func(conn net.Conn) { readRequest(conn); time.Sleep(time.Hour) },
			"after an interim answer": func(conn net.Conn) {
				readRequest(conn)
				io.WriteString(conn, "HTTP/1.1 103 \r\n\r\n")
				time.Sleep(time.Hour)
			},
		} {
			if strings.HasPrefix(name, "a download") && strings.HasPrefix(what, "in what") {
				continue
			}
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					took, err := piped(t, server, call.do)
					var e *Error
					if !errors.As(err, &e) || e.Class != Transient || e.Ambiguous != (name != "a download") || took != call.after {
						t.Errorf("after %s: %+v", took, err)
					}
				})
			})
		}
	}
}

// A switched protocol is out of net/http's hands, and with it of the time limits.
func TestAServerThatSwitchesProtocolsAndStaysIsLeftAtOnce(t *testing.T) {
	for name, call := range map[string]func(*Client) error{
		"upload": uploadZeros(100), "large upload": uploadZeros(1 << 20),
		"move":     func(c *Client) error { return c.Move(context.Background(), "/a", "/b") },
		"download": func(c *Client) error { _, err := c.Download(context.Background(), "http://127.0.0.1/a"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, err := piped(t, func(conn net.Conn) {
					if readRequest(conn) == nil {
						io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
					}
				}, call)
				var e *Error
				if !errors.As(err, &e) || e.Class != Transient || e.Status != 101 || took != 0 {
					t.Errorf("after %s: %+v", took, err)
				}
			})
		})
	}
}

func TestNoServerMakesACallWaitForMoreThanAnHour(t *testing.T) {
	for name, header := range map[string]string{
		"more than a float can count":     "X-RateLimit-Reset: 1e30",
		"more than any float":             "X-RateLimit-Reset: 1e999",
		"digits without end":              "X-RateLimit-Reset: " + strings.Repeat("9", 10_000),
		"infinity":                        "X-RateLimit-Reset: +Infinity",
		"hexadecimals":                    "X-RateLimit-Reset: 0x7fffffffffffffffp10",
		"no number":                       "X-RateLimit-Reset: NaN",
		"less than nothing":               "X-RateLimit-Reset: -1e30",
		"two resets":                      "X-RateLimit-Reset: 1e18\r\nX-RateLimit-Reset: 1",
		"more seconds than there will be": "Retry-After: 9223372036854775807",
		"more than an int":                "Retry-After: " + strings.Repeat("9", 31),
		"seconds below zero":              "Retry-After: -9223372036854775808",
		"the end of the calendar":         "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",
		"a day that is none":              "Retry-After: Fri, 31 Feb 2026 25:61:61 GMT",
		"nothing at all":                  "Retry-After: ",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := answering(func(*http.Request) string {
					return "429 Too Many Requests\r\n" + header + "\r\nContent-Length: 0\r\n\r\n"
				})
				took, _ := piped(t, server, func(c *Client) error {
					for range 3 {
						var e *Error
						err := c.Move(t.Context(), "/a", "/b")
						if !errors.As(err, &e) || e.Class != Throttled || e.RetryAfter < 0 || e.RetryAfter > time.Hour {
							t.Errorf("%+v", err)
						}
					}
					return nil
				})
				if took > 2*time.Hour {
					t.Errorf("three calls took %s", took)
				}
			})
		})
	}
}
