package imagekit_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/imagekit"
)

// everyCall is all that is answered with JSON: uploads and the management API.
// The good answer is one that the call takes.
var everyCall = func() (all []apiCall) {
	const id = `"0123456789abcdef01234567"`
	good := map[string]string{
		"details": `{"fileId":` + id + `,"filePath":"/a","size":1}`, "list": `[]`, "job": `{"jobId":` + id + `,"status":"Completed"}`,
		"renameFolder": `{"jobId":"1"}`, "moveFolder": `{"jobId":"1"}`, "batchDelete": `{"successfullyDeletedFileIds":[` + id + `]}`,
	}
	for _, call := range calls[:2] {
		all = append(all, apiCall{call.name, goodAnswer, call.do})
	}
	for _, call := range managed {
		answer, ok := good[call.endpoint]
		if !ok {
			answer = `{}`
		}
		all = append(all, apiCall{call.endpoint, answer, call.do})
	}
	return all
}()

type apiCall struct {
	name string
	good string
	do   func(context.Context, *imagekit.Client) error
}

func unlimited(o *imagekit.Options) { o.ReadsPerSecond, o.WritesPerSecond = -1, -1 }

// wire reads every request to its end and writes the answer, byte for byte. A
// connection that is not kept is closed behind it.
func wire(t testing.TB, answer string, keep bool) string {
	return rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			length, err := readHead(r)
			if err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, r, length); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer); err != nil || !keep {
				return
			}
		}
	})
}

func gzipped(t testing.TB, r io.Reader) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.Copy(w, r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each of these carries what would be a good answer, were it whole: a call that
// took it would be one that believes what it did not get.
func TestAnAnswerThatIsBrokenOnTheWireIsNoSuccess(t *testing.T) {
	bomb := gzipped(t, io.LimitReader(zeros{}, 64<<20))
	head := func(headers ...string) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	}
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	const chunked = "Transfer-Encoding: chunked"
	for name, test := range map[string]struct {
		answer func(good string) string
		keep   bool
	}{
		"no answer":                           {answer: func(string) string { return "" }},
		"half of a status line":               {answer: func(string) string { return "HTTP/1.1 2" }},
		"a cut in the headers":                {answer: func(string) string { return "HTTP/1.1 200 OK\r\nContent-Type: applic" }},
		"the end before the last header":      {answer: func(good string) string { return "HTTP/1.1 200 OK\r\n" + length(len(good)) + "\r\n" }},
		"headers and no body":                 {answer: func(good string) string { return head(length(len(good))) }},
		"a cut in the body":                   {answer: func(good string) string { return head(length(len(good))) + good[:len(good)/2] }},
		"a length that is too long":           {answer: func(good string) string { return head(length(len(good)+1)) + good }},
		"a length that is far too long":       {answer: func(good string) string { return head(length(1<<40)) + good }},
		"a length that is too short":          {answer: func(good string) string { return head(length(len(good)-1)) + good }, keep: true},
		"a length of nothing":                 {answer: func(good string) string { return head(length(0)) + good }, keep: true},
		"a length below zero":                 {answer: func(good string) string { return head(length(-1)) + good }},
		"a length that no number has":         {answer: func(good string) string { return head("Content-Length: 99999999999999999999") + good }},
		"a length that is a word":             {answer: func(good string) string { return head("Content-Length: all") + good }},
		"two lengths":                         {answer: func(good string) string { return head(length(len(good)), length(len(good)-1)) + good }},
		"garbage behind the JSON":             {answer: func(good string) string { return head(length(len(good)+3)) + good + "\x00\x00\x00" }, keep: true},
		"the JSON twice":                      {answer: func(good string) string { return head(length(2*len(good))) + good + good }, keep: true},
		"a chunk that is cut":                 {answer: func(good string) string { return head(chunked) + "ffff\r\n" + good }},
		"chunks without an end":               {answer: func(good string) string { return head(chunked) + fmt.Sprintf("%x\r\n%s\r\n", len(good), good) }},
		"a chunk of a length that is no such": {answer: func(good string) string { return head(chunked) + "x\r\n" + good + "\r\n0\r\n\r\n" }},
		"a chunk of a length below zero":      {answer: func(good string) string { return head(chunked) + "-1\r\n" + good + "\r\n0\r\n\r\n" }},
		"a chunk of a length of any length": {answer: func(good string) string {
			return head(chunked) + strings.Repeat("f", 100) + "\r\n" + good + "\r\n0\r\n\r\n"
		}},
		"an encoding that was not asked for": {answer: func(good string) string {
			body := gzipped(t, strings.NewReader(good))
			return head("Content-Encoding: gzip", length(len(body))) + body
		}, keep: true},
		"an encoding of the transfer": {answer: func(good string) string { return head("Transfer-Encoding: gzip, chunked") + good }},
		"a gzip bomb":                 {answer: func(string) string { return head("Content-Encoding: gzip", length(len(bomb))) + bomb }, keep: true},
		"JSON without a head":         {answer: func(good string) string { return good + "\r\n\r\n" }},
		"another protocol":            {answer: func(string) string { return "220 mail.example ESMTP\r\n" }},
		"a header without a colon":    {answer: func(good string) string { return head("nonsense", length(len(good))) + good }},
		"a header with a NUL":         {answer: func(good string) string { return head("a: \x00", "b\x00: c", length(len(good))) + good }},
		"a header of a megabyte":      {answer: func(good string) string { return head("a: "+strings.Repeat("x", 1<<20), length(len(good))) + good }},
		"a hundred thousand headers": {answer: func(good string) string {
			return head(strings.Repeat("a: b\r\n", 1e5)+"c: d", length(len(good))) + good
		}},
		"a megabyte behind the status": {answer: func(string) string { return "HTTP/1.1 200 " + strings.Repeat("x", 1<<20) + "\r\n\r\n" }},
		"a status of zero":             {answer: func(good string) string { return "HTTP/1.1 000 OK\r\n\r\n" + good }},
		"a status below zero":          {answer: func(good string) string { return "HTTP/1.1 -20 OK\r\n\r\n" + good }},
		"a status of 999":              {answer: func(good string) string { return "HTTP/1.1 999 OK\r\n" + length(len(good)) + "\r\n\r\n" + good }, keep: true},
		"a status of four digits":      {answer: func(good string) string { return "HTTP/1.1 2000 OK\r\n\r\n" + good }},
		"a status that is a word":      {answer: func(good string) string { return "HTTP/1.1 yes OK\r\n\r\n" + good }},
		"no more than an interim one":  {answer: func(string) string { return "HTTP/1.1 100 Continue\r\n\r\n" }},
		"another protocol from here on": {answer: func(good string) string {
			return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + good
		}, keep: true},
		"HTTP/1.0 that is cut": {answer: func(good string) string { return "HTTP/1.0 200 OK\r\n\r\n" + good[:len(good)-1] }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range everyCall {
				c := newClient(t, wire(t, test.answer(call.good), test.keep))
				e := apiError(t, call.do(t.Context(), c))
				if e.Class != imagekit.Transient || !e.Ambiguous {
					t.Errorf("%s: %+v", call.name, e)
				}
			}
		})
	}
}

func TestAnAnswerInAnUnusualFormIsTaken(t *testing.T) {
	for name, answer := range map[string]func(good string) string{
		"HTTP/1.0 up to the end": func(good string) string { return "HTTP/1.0 200 OK\r\n\r\n" + good },
		"HTTP/1.0 with its length": func(good string) string {
			return fmt.Sprintf("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
		},
		"HTTP/1.1 up to the end": func(good string) string { return "HTTP/1.1 200 OK\r\n\r\n" + good },
		"chunks of a byte": func(good string) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(good)
		},
		"an interim answer nobody asked for": func(good string) string {
			return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answerOf("200 OK", good)
		},
		"bare line ends": func(good string) string {
			return fmt.Sprintf("HTTP/1.1 200 OK\nContent-Length: %d\n\n%s", len(good), good)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range everyCall {
				c := newClient(t, wire(t, answer(call.good), false))
				if err := call.do(t.Context(), c); err != nil {
					t.Errorf("%s: %v", call.name, err)
				}
			}
		})
	}
}

func chunks(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "1\r\n%c\r\n", s[i])
	}
	return b.String() + "0\r\n\r\n"
}

// The server counts what it got rid of before the client hung up. The kernel's
// buffers are in that.
func TestAnAnswerWithoutEndIsNotRead(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const body = 48 << 20 // what is read of a body, and what the kernel holds
	const head = 32 << 20
	for name, test := range map[string]struct {
		start, again string
		most         int64
	}{
		"a list of numbers":           {ok + "\r\n[0", ",0", body},
		"a list of lists":             {ok + "\r\n", "[", body},
		"an object of many keys":      {ok + "\r\n{\"a\":0", ",\"a\":0", body},
		"a text":                      {ok + "\r\n\"", "x", body},
		"white space":                 {ok + "\r\n", " ", body},
		"a terabyte that is foretold": {ok + "Content-Length: 1099511627776\r\n\r\n", " ", body},
		"chunks":                      {ok + "Transfer-Encoding: chunked\r\n\r\n", "400\r\n" + strings.Repeat(" ", 1024) + "\r\n", body},
		"the extension of a chunk":    {ok + "Transfer-Encoding: chunked\r\n\r\n1;", "x", head},
		"trailers":                    {ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n", head},
		"headers":                     {ok, "a: b\r\n", head},
		"one header":                  {ok + "a: ", "x", head},
		"interim answers":             {"", "HTTP/1.1 100 Continue\r\n\r\n", head},
		"early hints":                 {"", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", head},
		"a page of a refusal":         {"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "x", body},
	} {
		t.Run(name, func(t *testing.T) {
			again := []byte(strings.Repeat(test.again, 1+(64<<10)/len(test.again)))
			for _, call := range everyCall {
				if !slices.Contains([]string{"upload of a large file", "details", "list", "move"}, call.name) {
					continue // one of each kind: they share what reads
				}
				var sent atomic.Int64
				base := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
					length, err := readHead(r)
					if err != nil {
						return
					}
					io.CopyN(io.Discard, r, length)
					for next := []byte(test.start); err == nil && sent.Load() < 1<<30; next = again {
						var n int
						n, err = conn.Write(next)
						sent.Add(int64(n))
					}
				})
				before := allocated()
				e := apiError(t, call.do(t.Context(), newClient(t, base)))
				if grown := allocated() - before; grown > 96<<20 {
					t.Errorf("%s: %d bytes were allocated", call.name, grown)
				}
				if n := sent.Load(); n > test.most || e.Class != imagekit.Transient && e.Status != 400 {
					t.Errorf("%s: after %d bytes: %+v", call.name, n, e)
				}
			}
		})
	}
}
