package page

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
)

const secret = "a-token-of-the-test-0123456789"

// options are of a page over nothing.
func options(t *testing.T) Options {
	return Options{
		Network: "tcp", Addr: "127.0.0.1:0", Token: secret,
		Actions: control.Actions{
			Status: func(context.Context) (*control.Status, error) {
				return &control.Status{State: control.InStep, Roots: []control.RootStatus{{ID: 7, Path: "/p"}}, Recent: []control.Upload{
					{FileID: "open", FileType: "image"}, {FileID: "hidden", FileType: "image", Private: true}, {FileID: "text", FileType: "non-image"}}}, nil
			},
			Retry: func(context.Context, queue.Selection) (int64, error) { t.Error("it was tried again"); return 0, nil },
		},
		Points:   func() []control.Point { return nil },
		Failures: func(context.Context, queue.Cursor, int) ([]queue.Item, error) { return nil, nil },
		Search:   func(context.Context, string, int) ([]queue.Hit, bool, error) { return nil, false, nil },
		Display:  func(path string) string { return path },
		Picture:  func(string) (*os.File, string, error) { return nil, "", fs.ErrNotExist },
		Others:   map[string]http.Handler{"GET /metrics": http.NotFoundHandler()},
	}
}

func serve(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// request asks the page; pairs are headers, Host among them.
func (s *Server) request(t *testing.T, method, path, body string, pairs ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+strings.TrimPrefix(path, "/"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if req.Header.Set(pairs[i], pairs[i+1]); pairs[i] == "Host" {
			req.Host = pairs[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	read := io.Reader(res.Body)
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		var first bytes.Buffer // up to the second event
		for r := bufio.NewReader(res.Body); strings.Count(first.String(), "\n\n") < 2; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			first.WriteString(line)
		}
		read = &first
	}
	b, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// Who may look, and who may act.
func TestWhoMay(t *testing.T) {
	shown := []string{"Authorization", "Bearer " + secret}
	for _, c := range []struct {
		name         string
		closed       bool
		method, path string
		headers      []string
		want         int
	}{
		{"looking is free", false, "GET", "/events", nil, 200},
		{"a page of failures is free", false, "POST", "/api/failures", nil, 200},
		{"acting is not", false, "POST", "/api/retry", nil, 401},
		{"nor with another token", false, "POST", "/api/retry", []string{"Authorization", "Bearer " + secret + "x"}, 401},
		{"nor with it in another place", false, "POST", "/api/retry?token=" + secret, []string{"Cookie", "token=" + secret}, 401},
		{"with a token file looking takes it", true, "GET", "/events", nil, 401},
		{"and is allowed with it", true, "GET", "/events", shown, 200},
		{"what others serve, too", true, "GET", "/metrics", nil, 401},
		{"the page itself has no data", true, "GET", "/", nil, 200},
		{"a rebound name gets nothing", false, "GET", "/events", []string{"Host", "attacker.example"}, 421},
		{"not even the page", false, "GET", "/", []string{"Host", "attacker.example:80"}, 421},
		{"an address that only looks like loopback neither", false, "GET", "/", []string{"Host", "127.0.0.1.attacker.example"}, 421},
		{"localhost is a name of this machine", false, "GET", "/", []string{"Host", "localhost:9"}, 200},
		{"so is the IPv6 one", false, "GET", "/", []string{"Host", "[::1]:9"}, 200},
		{"with a token file every name is", true, "GET", "/", []string{"Host", "nas.example"}, 200},
		{"another site can't act", false, "POST", "/api/retry", append([]string{"Sec-Fetch-Site", "cross-site"}, shown...), 403},
		{"nor by its origin", false, "POST", "/api/retry", append([]string{"Origin", "http://attacker.example"}, shown...), 403},
		{"nor look, by a name of its own for this machine", false, "GET", "/events", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"what is not there is not", false, "GET", "/etc/passwd", nil, 404},
		{"the assets' directory is not listed", false, "GET", "/assets/", nil, 404},
		{"acting is not GET", false, "GET", "/api/retry", shown, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t)
			o.Closed = c.closed
			status, body, headers := serve(t, o).request(t, c.method, c.path, "{}", c.headers...)
			if status != c.want {
				t.Errorf("%d, should be %d: %s", status, c.want, body)
			}
			if got := headers.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got, "unsafe") {
				t.Errorf("the policy is %q", got)
			}
			if headers.Get("Access-Control-Allow-Origin") != "" || headers.Get("Set-Cookie") != "" {
				t.Errorf("the headers are %v", headers)
			}
		})
	}
}

func TestTheTokenLetsAct(t *testing.T) {
	o := options(t)
	var got queue.Selection
	o.Actions.Retry = func(_ context.Context, s queue.Selection) (int64, error) { got = s; return 3, nil }
	s := serve(t, o)
	if status, body, _ := s.request(t, "POST", "/api/retry", `{"at":{"root":7,"key":"w6RiLy8="}}`, "Authorization", "Bearer "+secret); status != 200 || strings.TrimSpace(body) != "3" {
		t.Errorf("%d %s", status, body)
	}
	if len(got.Roots) != 1 || got.Roots[0] != 7 || got.Path != "äb//" {
		t.Errorf("tried again is %+v", got)
	}
	o.Actions.Retry = func(context.Context, queue.Selection) (int64, error) { return 0, errors.New("the disk is full") }
	if status, body, _ := serve(t, o).request(t, "POST", "/api/retry", `{}`, "Authorization", "Bearer "+secret); status != 500 || !strings.Contains(body, "the disk is full") {
		t.Errorf("%d %s", status, body)
	}
	for _, bad := range []string{"", "[", `{"root":"a"}`, `{"class":"` + strings.Repeat("x", maxBody) + `"}`} {
		if status, _, _ := s.request(t, "POST", "/api/retry", bad, "Authorization", "Bearer "+secret); status != 400 {
			t.Errorf("%.20q is answered %d", bad, status)
		}
	}
}

// Pictures are for those who may act, and never of what is sent as private.
func TestWhoSeesPictures(t *testing.T) {
	dir := t.TempDir()
	for name, write := range map[string]func(io.Writer) error{
		"p.jpg": func(w io.Writer) error { return jpeg.Encode(w, image.NewGray(image.Rect(0, 0, 600, 300)), nil) },
		"t.jpg": func(w io.Writer) error { _, err := fmt.Fprint(w, "no picture"); return err },
	} {
		var b bytes.Buffer
		if err := errors.Join(write(&b), os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	o := options(t)
	o.Picture = func(id string) (*os.File, string, error) {
		name, ok := map[string]string{"open": "p.jpg", "text": "t.jpg"}[id]
		if !ok {
			return nil, "", fs.ErrNotExist
		}
		f, err := os.Open(filepath.Join(dir, name))
		return f, name, err
	}
	s := serve(t, o)
	_, stranger, _ := s.request(t, "GET", "/events", "")
	_, friend, _ := s.request(t, "GET", "/events", "", "Authorization", "Bearer "+secret)
	if strings.Contains(stranger, "/thumbnail/") || !strings.Contains(stranger, `"may":false`) {
		t.Errorf("without the token: %s", stranger)
	}
	_, link, _ := strings.Cut(friend, `"thumbnail":"`)
	link, _, _ = strings.Cut(link, `"`)
	if !strings.HasPrefix(link, "/thumbnail/open?s=") || strings.Count(friend, "/thumbnail/") != 1 || !strings.Contains(friend, `"may":true`) || strings.Contains(friend, secret) {
		t.Fatalf("with the token: %s", friend)
	}
	status, body, headers := s.request(t, "GET", link, "")
	c, err := jpeg.DecodeConfig(strings.NewReader(body))
	if status != 200 || headers.Get("Content-Type") != "image/jpeg" || err != nil || c.Width != 256 || c.Height != 128 {
		t.Errorf("the picture: %d, %v, %v, %+v", status, headers, err, c)
	}
	for path, want := range map[string]int{"/thumbnail/open": 401, "/thumbnail/open?s=" + s.sign("text"): 401, "/thumbnail/text?s=" + s.sign("text"): 404, "/thumbnail/other?s=" + s.sign("other"): 404} {
		if status, body, _ := s.request(t, "GET", path, ""); status != want {
			t.Errorf("%s: %d, should be %d: %s", path, status, want, body)
		}
	}
}

// A list is shown in pages that join up, whole or of one class.
func TestFailuresInPages(t *testing.T) {
	var all []queue.Item
	for i, class := range []string{"account", "file", "transient"} {
		for n := range failuresPage + i {
			all = append(all, queue.Item{RootID: 7, Path: fmt.Sprintf("%s/%03d", class, n), Class: class, State: queue.Failed})
		}
	}
	less := func(a, b queue.Cursor) bool {
		if a.Class != b.Class {
			return a.Class < b.Class
		}
		return a.State < b.State || a.State == b.State && a.Path < b.Path
	}
	o := options(t)
	o.Failures = func(_ context.Context, after queue.Cursor, n int) (page []queue.Item, _ error) {
		for i := range all {
			if (after.RootID < 7 || less(after, all[i].After())) && len(page) < n {
				page = append(page, all[i])
			}
		}
		return page, nil
	}
	s := serve(t, o)
	for class, want := range map[string]int{"": len(all), "account": failuresPage, "file": failuresPage + 1, "none": 0} {
		seen := make(map[string]bool)
		wanted := failuresWanted{Class: class}
		if class != "" {
			wanted.Root = 7
		}
		for pages := 0; ; pages++ {
			arg, _ := json.Marshal(wanted)
			_, body, _ := s.request(t, "POST", "/api/failures", string(arg))
			var got failuresShown
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			for _, f := range got.Items {
				if seen[f.Path] || f.Path != string(f.Key) {
					t.Errorf("%q: %s comes again, or is called %s", class, f.Path, f.Key)
				}
				seen[f.Path] = true
			}
			if wanted.After = got.Next; got.Next == nil || pages > 9 {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("%q: %d are shown, should be %d", class, len(seen), want)
		}
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	s, err := Listen(options(t))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(s.URL() + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("the stream: %v", err)
	}
}

func TestNoMoreThanSoManyStreams(t *testing.T) {
	s := serve(t, options(t))
	for range maxStreams {
		res, err := http.Get(s.URL() + "events")
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		defer res.Body.Close()
	}
	if status, body, _ := s.request(t, "GET", "/events", ""); status != 503 {
		t.Errorf("one more: %d %s", status, body)
	}
	if status, _, _ := s.request(t, "GET", "/", ""); status != 200 {
		t.Errorf("the page meanwhile: %d", status)
	}
}

func TestASocketIsReplacedOnlyWhenNobodyListens(t *testing.T) {
	o := options(t)
	o.Network, o.Addr = "unix", filepath.Join(t.TempDir(), "page.sock")
	s := serve(t, o)
	if _, err := Listen(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("while it is served: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", o.Addr)
	}}}
	res, err := client.Get("http://any.example/")
	if err != nil || res.StatusCode != 200 || s.URL() != "unix:"+o.Addr {
		t.Fatal(res, err)
	}
	res.Body.Close()
	o.Addr = filepath.Join(t.TempDir(), "left.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.Addr, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	serve(t, o)
	if info, err := os.Stat(o.Addr); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	o.Addr = filepath.Join(t.TempDir(), "photo.jpg")
	if err := os.WriteFile(o.Addr, []byte("no socket"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(o); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(o.Addr); err != nil || string(b) != "no socket" {
		t.Errorf("the file: %q, %v", b, err)
	}
}

func TestBinsAddUp(t *testing.T) {
	now := time.Now()
	var points []control.Point
	for i := range 720 {
		points = append(points, control.Point{At: now.Add(time.Duration(i-719) * 5 * time.Second), Seconds: 5, Files: 1, Bytes: 10})
	}
	for n, want := range map[int]float64{0: 5, 2: 5, 60: 5, 720: 30} {
		got := binned(points[720-n:], now)
		var files int64
		for _, b := range got.Bins {
			files += b.Files
		}
		if len(got.Bins) != min(max(n, fewest), bins) || files != int64(n) || got.Seconds < want-1 || got.Seconds > want+1 {
			t.Errorf("%d points: %d files in %d bins of %v s", n, files, len(got.Bins), got.Seconds)
		}
	}
}
