//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"iksync/uploader/emulator"
)

// recognisable has the form of a private key, with all that base64 has. Its parts
// are long enough to be in no text by chance, also those between its signs.
const recognisable = "private_Q7xA/9KdVmZ3vTgWq+2LbN8sRfYhAu0Ep="

// fragment is how much of the key, bytes, is too much to be seen.
const fragment = 12

// keyForms are the forms that the key could be seen in.
func keyForms() []string {
	forms := []string{recognisable, recognisable + ":"}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(recognisable)), enc.EncodeToString([]byte(recognisable+":")))
	}
	return append(forms, url.QueryEscape(recognisable), url.PathEscape(recognisable), strings.ReplaceAll(recognisable, "/", `\/`), fmt.Sprintf("%x", recognisable))
}

// leak returns what a text shows of the key; "" when it shows nothing.
func leak(text string) string {
	for _, form := range keyForms() {
		for i := 0; i+fragment <= len(form); i++ {
			if strings.Contains(text, form[i:i+fragment]) {
				return form[i : i+fragment]
			}
		}
	}
	return ""
}

func TestALeakIsSeen(t *testing.T) {
	for name, text := range map[string]string{
		"the key":                    "at " + recognisable + ".",
		"a part of the key":          "at " + recognisable[20:32] + ".",
		"the header":                 "Basic " + base64.StdEncoding.EncodeToString([]byte(recognisable+":")),
		"the beginning as a URL has": "private_Q7xA%2F9",
	} {
		if leak(text) == "" {
			t.Errorf("%s is not seen", name)
		}
	}
	if shown := leak("private_key_file: private_[redacted]"); shown != "" {
		t.Errorf("%q is taken for the key", shown)
	}
}

// redactionRig runs iksync with the key, and looks at all that it says and writes.
type redactionRig struct {
	*runRig
	theirs string // what the user has written: here the key may be
	env    []string
}

func newRedactionRig(t *testing.T, o emulator.Options) *redactionRig {
	t.Helper()
	r := &redactionRig{runRig: newRunRig(t, o)}
	r.theirs = filepath.Join(r.base, "theirs")
	for _, dir := range []string{"theirs", "tmp", "home", "work"} {
		r.must(os.Mkdir(filepath.Join(r.base, dir), 0o755))
	}
	r.env = []string{"IMAGEKIT_PRIVATE_KEY=" + recognisable, "TMPDIR=" + r.base + "/tmp", "HOME=" + r.base + "/home", "XDG_STATE_HOME=" + r.base + "/home/state", "GOTRACEBACK=all"}
	r.write("a.jpg")
	r.write("sub dir/b.jpg")
	t.Cleanup(r.wantNoLeakInFiles)
	return r
}

// wantNoLeakInFiles looks at every byte of every file but those of the user.
func (r *redactionRig) wantNoLeakInFiles() {
	looked := 0
	r.must(filepath.WalkDir(r.base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == r.theirs {
			return fs.SkipDir
		}
		if shown := leak(strings.TrimPrefix(path, r.base)); shown != "" {
			r.Errorf("a file's name, %s, shows %q of the key", path, shown)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if shown := leak(string(content)); shown != "" {
			r.Errorf("%s shows %q of the key", path, shown)
		}
		looked++
		return err
	}))
	if looked < 2 {
		r.Errorf("only %d files were looked at", looked)
	}
}

func (r *redactionRig) wantNoLeak(where, text string) {
	r.Helper()
	if shown := leak(text); shown != "" {
		r.Errorf("%s shows %q of the key:\n%s", where, shown, text)
	}
}

// said runs a command, wants its exit code, and returns what it said.
func (r *redactionRig) said(code int, args []string, env ...string) string {
	r.Helper()
	out, got := r.anyhow(args, env...)
	if got != code {
		r.Errorf("the exit code of %q is %d, not %d:\n%s", args, got, code, out)
	}
	r.wantNoLeak(fmt.Sprintf("%q", args), out)
	return out
}

// anyhow runs a command to whatever end, and returns what it said and its
// exit code. One that goes on for ever is killed.
func (r *redactionRig) anyhow(args []string, env ...string) (said string, code int) {
	r.Helper()
	cmd := r.command("iksync", args, append(r.env, env...)...)
	cmd.Dir = filepath.Join(r.base, "work")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r.must(cmd.Start())
	stop := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its state is looked at
	if !stop.Stop() {
		r.Errorf("%q has no end:\n%s", args, out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// file writes what a user does.
func (r *redactionRig) file(name, content string) string {
	r.Helper()
	path := filepath.Join(r.theirs, name)
	r.must(writeFile(path, content))
	r.must(os.Chmod(path, 0o600))
	return path
}

func TestTheKeyIsSeenNowhereWhenAllIsWell(t *testing.T) {
	t.Parallel()
	r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
	r.set("log", "{format: json, level: debug}")
	config := []string{"--config", r.config}
	for _, args := range [][]string{
		{"plan", "--remote"}, {"backfill", "--no-progress"}, {"plan", "--remote", "--json"}, {"adopt"}, {"verify"}, {"adopt", "--verify-bytes"}, {"undo"}, {"approve"}, {"approve", "--yes"},
	} {
		r.said(0, append(args, config...))
	}
	r.said(0, append([]string{"check", "--json"}, config...))
	r.said(0, []string{"export"})
	r.said(0, []string{"export", "--format", "jsonl"})
	r.said(0, []string{"upload", r.tree() + "/a.jpg", "--to", "/single"})
	if n := len(r.library.server.Assets()); n != 3 {
		t.Errorf("the library has %d assets: the key was not used", n)
	}
}

func TestTheKeyIsSeenNowhereInHelpAndVersion(t *testing.T) {
	t.Parallel()
	r := newRedactionRig(t, emulator.Options{})
	r.said(0, []string{"backfill", "--config", r.config, "--no-progress"})
	for _, command := range []string{"", "backfill", "run", "plan", "adopt", "verify", "emulator", "export", "undo", "approve", "upload", "filters", "completion", "man", "version", "init", "check"} {
		r.said(0, append(strings.Fields(command), "--help"))
	}
	r.said(0, []string{"--version"})
	r.said(0, []string{"version"})
}

func TestTheDaemonShowsNothingOfTheKey(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		signal syscall.Signal
		code   int
		trace  string
	}{
		"stopped":             {syscall.SIGTERM, 0, ""},
		"killed":              {syscall.SIGKILL, -1, ""},
		"ended as panics are": {syscall.SIGQUIT, 2, "goroutine 1"},
	} {
		for _, format := range []string{"json", "console"} {
			t.Run(name+", "+format, func(t *testing.T) {
				t.Parallel()
				r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
				r.set("log", "{format: "+format+", level: debug}")
				r.set("http", "unix:"+r.base+"/page.sock")
				env := filepath.Join(r.base, "env")
				r.must(os.WriteFile(env, []byte("#!/bin/sh\nenv >>"+r.base+"/seen\ncat >>"+r.base+"/seen\n"), 0o755))
				r.set("on_event", fmt.Sprintf("[{command: [%q]}]", env))
				manager := newNotifySocket(t)
				d := r.start(append(r.env, "NOTIFY_SOCKET="+manager.path, "WATCHDOG_USEC=60000000", "JOURNAL_STREAM=1:2")...)
				d.says("scanned")
				r.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{
					{Endpoint: "upload", Path: "refused", Action: emulator.ActionStatus, Status: 400, Message: "No: " + recognisable},
					{Endpoint: "upload", Path: "stumbles", Count: 1, Action: emulator.ActionLose},
				}})
				r.write("refused.jpg")
				r.write("stumbles.jpg")
				waitFor(t, "all are uploaded", func() bool { return len(r.library.server.Assets()) >= 3 })
				d.says("refused")
				for _, path := range []string{"/metrics", "/readyz"} {
					status, body := r.asks(path)
					if status != http.StatusOK {
						t.Errorf("%s: %d", path, status)
					}
					r.wantNoLeak(path, body)
				}
				for _, args := range [][]string{{"status"}, {"status", "--json"}, {"failures", "--json"}, {"why", r.tree() + "/refused.jpg"}, {"page"}} {
					r.said(0, args)
				}
				r.wantNoLeakOnThePage()
				waitFor(t, "the hook has been told", func() bool {
					seen, err := os.ReadFile(filepath.Join(r.base, "seen"))
					return err == nil && strings.Contains(string(seen), `"path":"refused.jpg"`)
				})
				d.signal(syscall.SIGHUP)
				d.says("read again")
				d.signal(end.signal)
				d.ends(end.code)
				if !strings.Contains(d.log(), end.trace) {
					t.Errorf("there is no %q in the log", end.trace)
				}
				r.wantNoLeak("the log", d.log())
				told := strings.Join(manager.all(), "\n")
				if !strings.Contains(told, "READY=1") {
					t.Errorf("the service manager was told %q", told)
				}
				r.wantNoLeak("what the service manager is told", told)
			})
		}
	}
}

// wantNoLeakOnThePage looks at what the page gets.
func (r *redactionRig) wantNoLeakOnThePage() {
	r.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.base+"/page.sock")
	}}}
	for _, ask := range [][2]string{{"GET", "/"}, {"GET", "/metrics"}, {"GET", "/events"}, {"POST", "/api/failures"}, {"POST", "/api/search"}, {"POST", "/api/retry"}} {
		arg := "{}"
		if ask[1] == "/api/search" {
			arg = `"jpg"`
		}
		req, err := http.NewRequestWithContext(r.Context(), ask[0], "http://page"+ask[1], strings.NewReader(arg))
		r.must(err)
		res, err := client.Do(req)
		r.must(err)
		var text bytes.Buffer
		for lines := bufio.NewReader(res.Body); !strings.Contains(text.String(), "event: throughput"); { // a stream does not end
			line, err := lines.ReadString('\n')
			text.WriteString(line)
			if err != nil {
				break
			}
		}
		r.must(res.Body.Close())
		if text.Len() == 0 || ask[1] == "/events" && !strings.Contains(text.String(), "event: status") || ask[1] == "/api/failures" && !strings.Contains(text.String(), "refused.jpg") {
			r.Errorf("%s says %q", ask[1], text.String())
		}
		r.wantNoLeak(ask[1], text.String())
	}
}

func TestAKeyFileIsSeenNowhereHoweverItEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content string
		code    int
	}{
		"with nothing":                  {recognisable, 0},
		"with a line's end":             {recognisable + "\n", 0},
		"with CRLF":                     {recognisable + "\r\n", 0},
		"with spaces and empty lines":   {" \t" + recognisable + "  \n\n \n", 0},
		"with a second key":             {recognisable + "\n" + recognisable + "\n", exitConfig},
		"with a colon":                  {recognisable + ":", exitConfig},
		"with a NUL":                    {recognisable + "\x00", exitConfig},
		"after a byte order mark":       {"\ufeff" + recognisable, exitConfig},
		"after a variable's name":       {"IMAGEKIT_PRIVATE_KEY = " + recognisable, exitConfig},
		"with far too much":             {strings.Repeat(recognisable, 200), exitConfig},
		"as another key than is wanted": {recognisable + "x", exitKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
			r.set("imagekit", "{private_key_file: "+r.file("key", test.content)+"}")
			r.set("log", "{level: debug}")
			r.said(test.code, []string{"backfill", "--config", r.config, "--no-progress"}, "IMAGEKIT_PRIVATE_KEY=")
			if test.code == exitConfig { // a daemon waits for a key that is accepted
				r.said(test.code, []string{"run", "--config", r.config}, "IMAGEKIT_PRIVATE_KEY=")
			}
		})
	}
}

func TestTheKeyIsSeenNowhereWhenTheLibraryRefusesOrIsAway(t *testing.T) {
	t.Parallel()
	echo := func(status int, answer func(r *http.Request) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Ik-Requestid", r.Header.Get("Authorization")+recognisable)
			w.Header().Set("Location", "http://127.0.0.1:1/"+recognisable)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(answer(r)))
		}
	}
	message := func(r *http.Request) string {
		text, _ := json.Marshal("you sent " + r.Header.Get("Authorization") + ", " + strings.Join(keyForms()[:2], " ") + " " + url.QueryEscape(recognisable) + " " + url.PathEscape(recognisable))
		return `{"message":` + string(text) + `,"help":` + string(text) + `}`
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc // nil listens nowhere
		tls     bool
		code    int
	}{
		"401":                      {echo(401, message), false, exitKey},
		"403":                      {echo(403, message), false, exitKey},
		"400 for every file":       {echo(400, message), false, exitFailed},
		"a redirect":               {echo(307, message), false, exitFailed},
		"400 that escapes slashes": {echo(400, func(r *http.Request) string { return strings.ReplaceAll(message(r), "/", `\/`) }), false, exitFailed},
		"400 that escapes signs":   {echo(400, func(r *http.Request) string { return strings.ReplaceAll(message(r), "+", `\u002b`) }), false, exitFailed},
		"200 with an answer that repeats it": {echo(200, func(r *http.Request) string {
			return `{"fileId":"` + recognisable + `","filePath":"/photos/a.jpg","size":5,"url":"https://` + recognisable + `@h/"}`
		}), false, -2},
		"200 with a page that repeats it":  {echo(200, func(r *http.Request) string { return "<html>" + recognisable }), false, -2},
		"nobody listens":                   {nil, false, exitFailed},
		"a certificate that nobody trusts": {echo(200, message), true, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRedactionRig(t, emulator.Options{})
			r.set("log", "{level: debug}")
			r.url = "http://127.0.0.1:1"
			if test.handler != nil {
				server := httptest.NewUnstartedServer(test.handler)
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				if test.tls {
					server.StartTLS()
				} else {
					server.Start()
				}
				t.Cleanup(server.Close)
				r.url = server.URL
			}
			file := r.tree() + "/a.jpg"
			if test.code == -2 { // whether it is taken for true is another test's matter
				out, _ := r.anyhow([]string{"upload", file, "--to", "/photos"})
				r.wantNoLeak("upload", out)
			} else {
				r.said(test.code, []string{"upload", file, "--to", "/photos"})
			}
			if test.code == exitKey {
				r.said(exitKey, []string{"backfill", "--config", r.config, "--no-progress"})
			}
			out, _ := r.anyhow([]string{"check", "--config", r.config})
			r.wantNoLeak("check", out)
			d := r.start(r.env...)
			waitFor(t, "the daemon has met it", func() bool {
				return !d.running() || strings.Contains(d.log(), "error") || strings.Contains(d.log(), "warn") || strings.Contains(d.log(), "tried again") || strings.Contains(d.log(), "uploaded")
			})
			if d.running() {
				d.signal(syscall.SIGTERM)
			}
			waitFor(t, "the daemon ends", func() bool { return !d.running() })
			r.wantNoLeak("the log", d.log())
		})
	}
}

func TestTheKeyWhereItDoesNotBelongIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := newRedactionRig(t, emulator.Options{PrivateKey: recognisable})
	r.said(0, []string{"backfill", "--config", r.config, "--no-progress"})
	none := "IMAGEKIT_PRIVATE_KEY="
	for _, args := range []string{
		"KEY", "backfill KEY", "backfill KEY --to /a", "upload KEY", "undo KEY", "approve KEY", "filters KEY", "run KEY", "run --config KEY", "backfill --config KEY", "upload --name KEY", "export --format KEY",
		"backfill --private-key=KEY", "backfill --private-key KEY", "backfill --KEY", "backfill -KEY", "--key=KEY", "backfill . --to KEY", "backfill . --to /a --workers KEY", "backfill . --to /a --log-level KEY", "backfill . --to /a --workers=KEY --json=KEY",
		"check KEY", "check --config KEY", "check --config KEY --json", "init KEY", "init --config KEY", "init --config c.yaml --root KEY --to /a", "init --config c.yaml --root . --to KEY", "init --config c.yaml --root . --to /a --key-file KEY --state /dev/null/x", "init --config c.yaml --root . --to /a --state /dev/null/KEY", "init --config KEY --root /dev/null --to /a", "init --key KEY",
		"export --state KEY", "undo --state /KEY", "verify --sample KEY", "emulator --listen KEY",
	} {
		for _, form := range []string{recognisable, url.QueryEscape(recognisable), recognisable + ":", base64.StdEncoding.EncodeToString([]byte(recognisable + ":"))} {
			if form != recognisable && !strings.Contains(args, "private-key") && !strings.Contains(args, "upload KEY") {
				continue
			}
			fields := strings.Fields(args)
			for i := range fields {
				fields[i] = strings.ReplaceAll(fields[i], "KEY", form)
			}
			for _, env := range []string{r.env[0], none} {
				out, code := r.anyhow(fields, env)
				if code == 0 {
					t.Errorf("%q is no mistake:\n%s", args, out)
				}
				r.wantNoLeak(fmt.Sprintf("%q", args), out)
			}
		}
	}
	for _, raw := range []string{
		"https://KEY:@host/upload", "https://KEY@host/upload", "https://user:KEY@host/", "https://host:KEY/", "https://KEY/upload", "https://KEY:443/upload", "http://KEY/upload", "KEY", "/KEY", "https://host/%zzKEY", "https://[KEY]/", "https:KEY", "https://ho st/KEY", "http://host/KEY", "ftp://h?KEY",
	} {
		for _, form := range []string{recognisable, url.PathEscape(recognisable), url.QueryEscape(recognisable)} {
			bad := strings.ReplaceAll(raw, "KEY", form)
			for _, variable := range []string{"IKSYNC_UPLOAD_URL=", "IKSYNC_API_URL="} {
				for _, args := range [][]string{{"upload", r.tree() + "/a.jpg"}, {"backfill", "--config", r.config}} {
					if strings.Contains(raw, "https://KEY") && variable == "IKSYNC_API_URL=" {
						continue // a host of that name is asked for only where it is called
					}
					out, _ := r.anyhow(args, variable+bad)
					r.wantNoLeak(variable+bad+" with "+args[0], out)
				}
			}
		}
	}
	roots := "roots: [{path: " + r.tree() + ", folder: /a}]\n"
	root := func(more string) string { return "roots: [{path: " + r.tree() + ", folder: /a, " + more + "}]\n" }
	for i, source := range []string{
		"imagekit: {private_key: KEY}\n" + roots, "imagekit:\n  private_key: \"KEY\"\n" + roots, "private_key: KEY\n" + roots, "imagekit: KEY\n" + roots, "KEY\n", "KEY: x\n" + roots, "imagekit: [KEY]\n" + roots,
		"imagekit: {private_key_file: KEY}\n" + roots, "imagekit: {private_key_file: ./KEY}\n" + roots, "imagekit: {upload_url: \"https://KEY:@host/\"}\n" + roots, "imagekit: {api_url: \"https://host:KEY/\"}\n" + roots, "imagekit: {api_url: http://KEY/}\n" + roots,
		"imagekit: {reads_per_second: KEY}\n" + roots, "workers: KEY\n" + roots, "settle: KEY\n" + roots, "log: {level: KEY}\n" + roots, "limits: {plan: KEY}\n" + roots, "limits: {image: KEY}\n" + roots, "roots: [{path: KEY, folder: /a}]\n",
		"roots: [{path: " + r.tree() + ", folder: KEY}]\n", root("delete: KEY"), root("trash_folder: KEY"), root("max_delete: KEY"), root("exclude: ['[KEY']"), root("types: [KEY]"), root("upload: {tags: ['KEY%']}"), root("upload: {custom_coordinates: KEY}"), root("rules: [{match: '[KEY'}]"),
		"imagekit: {private_key: KEY\n", "\tKEY\n", "a: &KEY b\nc: *KEY\n", "!KEY x\n", "imagekit: {private_key: |\n KEY\n}\n", "'KEY\n", "imagekit:\n  private_key: KEY\n  private_key: KEY\n" + roots, "# KEY\nworkers: x\n" + roots, "state: KEY\nworkers: x\n" + roots, "...\n---\nKEY\n---\nKEY\n",
	} {
		path := r.file(fmt.Sprintf("bad%d.yaml", i), strings.ReplaceAll(source, "KEY", recognisable))
		for _, command := range []string{"backfill", "run", "check"} {
			if command == "run" && strings.Contains(source, "path: KEY") {
				continue // it would wait for the directory
			}
			for _, env := range []string{r.env[0], none} {
				if env != none && strings.Contains(source, "private_key_file") {
					continue // the environment's is taken, and all is well
				}
				out, code := r.anyhow([]string{command, "--config", path}, env)
				if code == 0 {
					t.Errorf("%s takes\n%s", command, source)
				}
				r.wantNoLeak(command+" with\n"+source, out)
			}
		}
	}
}
