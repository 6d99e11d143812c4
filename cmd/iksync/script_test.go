//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"iksync/cmd/iksync/internal/control"
	"iksync/uploader/emulator"
)

var update = flag.Bool("update", false, "write the golden outputs of the scripts anew")

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // they wait for most of their time; the command line still has the last word
	testscript.Main(m, map[string]func(){"iksync": main})
}

// TestScripts runs the commands as users do: testdata/script holds a story a
// file, and what the program says in it. Beside testscript's own commands they
// have those of scriptCommands.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCommands(),
		Condition: func(condition string) (bool, error) {
			switch condition {
			case "root":
				return os.Getuid() == 0, nil
			case "full":
				info, err := os.Stat("/dev/full")
				return err == nil && info.Mode()&fs.ModeCharDevice != 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("XDG_STATE_HOME", env.WorkDir+"/state")
			env.Setenv("NO_PROXY", "*") // everything is on this machine
			env.Setenv("GORACE", raceOptions)
			samples, err := filepath.Abs("testdata/photos")
			if err != nil {
				return err
			}
			env.Setenv("SAMPLES", samples)
			env.Values[theStory{}] = &story{processes: make(map[string]*process)}
			return nil
		},
	})
}

// story is what a script has started.
type story struct {
	library   *library
	processes map[string]*process
	asked     int64 // requests when they were counted last
}

// theStory is the key of a script's story.
type theStory struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(theStory{}).(*story) }

// scriptCommands are the commands of the scripts:
//
//	run [CODE] ARG...        run iksync and want its exit code (0); what varies in its
//	                         output is brought to one form, see steady
//	imagekit [local] [strict] [KEY]
//	                         start an ImageKit in this process, which takes KEY alone, and point the
//	                         environment at it; local: the URLs of files lead to it; strict: it maps names
//	faults [FILE]            let it fail by the plan in FILE, or no more
//	met N                    wait until N requests have met a fault
//	hold N / release         let N uploads pass and keep the later ones waiting / all pass
//	await N                  wait until N uploads have come since hold or received
//	received N               want that many of them
//	library                  print what it holds
//	mirrors DIR FOLDER       want exactly the files of DIR in FOLDER
//	start NAME ARG...        run iksync beside the script
//	startserver NAME ARG...  the same, until it has printed where it serves
//	signal NAME INT|TERM|KILL
//	finish NAME CODE         wait for its end, and want its exit code
//	photos N DIR             make N small files of different contents
//	picture FILE             make a PNG
//	touch FILE...            change the time of modification alone
//	fifo FILE, rawname DIR   make what an archive can't hold: a FIFO; a name that is not UTF-8
//	nowhere TEXT FILE...     want TEXT in none of the files, as it is or encoded
//	get URL                  print what a server answers
//	api METHOD PATH [BODY]   call the library's management API, as the dashboard does; {/a/b.jpg}
//	                         in PATH stands for that file's fileId
//	asked [N]                want that many requests of any kind since asked; begin to count
//	asplanned ARG... [--workers N]
//	                         run plan and backfill, and want that the one said what the other did
//	appears FILE             wait until a file is there
func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"run":         run,
		"imagekit":    startLibrary,
		"faults":      setFaults,
		"met":         met,
		"hold":        hold,
		"release":     release,
		"await":       await,
		"received":    received,
		"library":     printLibrary,
		"mirrors":     mirrors,
		"start":       start,
		"startserver": startServer,
		"signal":      sendSignal,
		"finish":      finish,
		"photos":      photos,
		"picture":     picture,
		"touch":       touch,
		"fifo":        fifo,
		"rawname":     rawName,
		"nowhere":     nowhere,
		"get":         get,
		"api":         callAPI,
		"asked":       asked,
		"asplanned":   asPlanned,
		"appears":     appears,
		"stands":      stands,
	}
}

func run(ts *testscript.TestScript, neg bool, args []string) {
	want := 0
	if len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			want, args = n, args[1:]
		}
	}
	code := 0
	if err := ts.Exec("iksync", args...); err != nil {
		var exited *exec.ExitError
		if !errors.As(err, &exited) {
			ts.Fatalf("run iksync: %v", err)
		}
		code = exited.ExitCode()
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	_, err := io.WriteString(ts.Stdout(), steady(ts, stdout))
	ts.Check(err)
	_, err = io.WriteString(ts.Stderr(), steady(ts, stderr))
	ts.Check(err)
	if code != want {
		ts.Fatalf("the exit code is %d, not %d\n%s%s", code, want, stdout, stderr)
	}
}

// steady brings what differs from run to run to one form.
func steady(ts *testscript.TestScript, text string) string {
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
	for _, v := range []struct{ varies, becomes string }{
		{`in \d+\.\d s \(\d+ files/s, [\d.]+ [kMG]?B/s\)`, "in SECONDS s (RATE)"},
		{`"seconds": [\d.e-]+`, `"seconds": 0`},
		{`pid \d+`, "pid PID"},
		{`process \d+`, "process PID"},
		{`(?m)^  noticed .*\n`, ""}, // by events or by a scan, as it happens
		{`\bup (\d+[mhd] )?\d+[smh]\b`, "up TIME"},
		{`(\d+[mhd] )?\d+[smh] ago`, "TIME ago"},
		{`[\d.]+ [kMG]?B/s, [\d.]+ files/s`, "RATE"},
		{`(state file: .*), [\d.]+ [kM]B`, "$1, SIZE"},
		{`request id [0-9a-f-]+`, "request id REQUEST"},
		{`(renames are recognized without|files are read before)[^"\n]*`, "TRUST"}, // as the file system is
		{`"request_id":( ?)"[0-9a-f-]+"`, `"request_id":$1"REQUEST"`},
		{`"time":"[^"]+"`, `"time":"TIME"`},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "TIME"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"},
		{`token=[0-9a-f]{64}`, "token=TOKEN"},
		{`\b[0-9a-f]{24}\b`, "FILEID"},
		{`(/iksync-trash|/bin)/\d{4}-\d\d-\d\d/(\d{6}-[0-9a-f]+/)?`, "$1/DAY/"},
		{`may watch [\d,]+`, "may watch LIMIT"},
		{`[\d.]+ [kMGTP]B free`, "SIZE free"},
		{`go run \./cmd/iksync`, "iksync"},
	} {
		text = regexp.MustCompile(v.varies).ReplaceAllString(text, v.becomes)
	}
	return text
}

func startLibrary(ts *testscript.TestScript, neg bool, args []string) {
	o := emulator.Options{
		Endpoint:  "https://ik.imagekit.io/demo",
		Behaviour: emulator.Behaviour{ListingLag: emulator.NoLag}, // its clock stands still
		Now:       func() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) },
	}
	if len(args) > 0 && args[0] == "local" {
		o.Endpoint, args = "", args[1:]
	}
	if len(args) > 0 && args[0] == "strict" {
		o.Behaviour.StrictNames, args = true, args[1:]
	}
	if len(args) > 0 {
		o.PrivateKey = args[0]
	}
	l, err := newLibrary(o)
	ts.Check(err)
	ts.Defer(l.close)
	storyOf(ts).library, storyOf(ts).asked = l, 0
	ts.Setenv("IKSYNC_UPLOAD_URL", l.http.URL+"/api/v1/files/upload")
	ts.Setenv("IKSYNC_API_URL", l.http.URL+"/v1")
	ts.Setenv("IMAGEKIT_PRIVATE_KEY", "private_test")
}

func libraryOf(ts *testscript.TestScript) *library {
	l := storyOf(ts).library
	if l == nil {
		ts.Fatalf("there is no library: start one with imagekit")
	}
	return l
}

func setFaults(ts *testscript.TestScript, neg bool, args []string) {
	var plan emulator.Faults
	if len(args) > 0 {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &plan))
		ts.Check(plan.Validate())
	}
	libraryOf(ts).server.SetFaults(plan)
}

func count(ts *testscript.TestScript, args []string) int {
	if len(args) != 1 {
		ts.Fatalf("want one number")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	return n
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	libraryOf(ts).hold(count(ts, args))
}

func release(ts *testscript.TestScript, neg bool, args []string) { libraryOf(ts).release() }

func await(ts *testscript.TestScript, neg bool, args []string) {
	libraryOf(ts).await(count(ts, args))
}

func received(ts *testscript.TestScript, neg bool, args []string) {
	if want, got := count(ts, args), libraryOf(ts).received(); got != want {
		ts.Fatalf("%d uploads were received, not %d", got, want)
	}
}

func printLibrary(ts *testscript.TestScript, neg bool, args []string) {
	var w strings.Builder
	defer func() { // also when there is nothing to print
		lines := strings.SplitAfter(steady(ts, w.String()), "\n")
		slices.Sort(lines) // the steady forms
		_, err := io.WriteString(ts.Stdout(), strings.Join(lines, ""))
		ts.Check(err)
	}()
	for _, a := range libraryOf(ts).server.Assets() {
		fmt.Fprintf(&w, "%s %d bytes", a.FilePath, a.Size)
		if a.Versions > 1 {
			fmt.Fprintf(&w, ", version %d", a.Versions)
		}
		if len(a.Tags) > 0 {
			fmt.Fprintf(&w, ", tags %s", strings.Join(a.Tags, " "))
		}
		if a.IsPrivate {
			fmt.Fprint(&w, ", private")
		}
		if !a.IsPublished {
			fmt.Fprint(&w, ", draft")
		}
		if a.CustomCoordinates != "" {
			fmt.Fprintf(&w, ", coordinates %s", a.CustomCoordinates)
		}
		if a.Description != "" {
			fmt.Fprintf(&w, ", description %q", a.Description)
		}
		fmt.Fprintln(&w)
	}
}

func mirrors(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: mirrors DIR FOLDER")
	}
	server := libraryOf(ts).server
	dir, folder := ts.MkAbs(args[0]), strings.TrimSuffix(args[1], "/")
	missing := make(map[string]string)
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			missing[folder+strings.TrimPrefix(path, dir)] = path
		}
		return err
	}))
	for _, a := range server.Assets() {
		if !strings.HasPrefix(a.FilePath, folder+"/") {
			continue
		}
		path, ok := missing[a.FilePath]
		if !ok {
			ts.Fatalf("%s has no file in %s", a.FilePath, args[0])
		}
		delete(missing, a.FilePath)
		stored, err := server.Open(a.FilePath)
		ts.Check(err)
		sum := sha256.New()
		_, err = io.Copy(sum, stored)
		ts.Check(errors.Join(err, stored.Close()))
		if want := sha256.Sum256([]byte(ts.ReadFile(path))); !bytes.Equal(sum.Sum(nil), want[:]) {
			ts.Fatalf("%s has another content than %s", a.FilePath, path)
		}
	}
	for remote := range missing {
		ts.Fatalf("%s is missing", remote)
	}
}

func photos(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: photos N DIR")
	}
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o755))
	for i := range count(ts, args[:1]) {
		content := fmt.Sprintf("picture %d of %s", i+1, args[1])
		ts.Check(os.WriteFile(fmt.Sprintf("%s/%03d.jpg", dir, i+1), []byte(content), 0o644))
	}
}

func picture(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		var b bytes.Buffer
		ts.Check(png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 30))))
		ts.Check(os.WriteFile(ts.MkAbs(name), b.Bytes(), 0o644))
	}
}

func touch(ts *testscript.TestScript, neg bool, args []string) {
	at := time.Date(2020, 2, 2, 2, 2, 2, 0, time.UTC)
	for _, file := range args {
		ts.Check(os.Chtimes(ts.MkAbs(file), at, at))
	}
}

func fifo(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		ts.Check(unix.Mkfifo(ts.MkAbs(file), 0o600))
	}
}

func rawName(ts *testscript.TestScript, neg bool, args []string) {
	if runtime.GOOS != "linux" {
		ts.Fatalf("only Linux keeps names that are not UTF-8")
	}
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "caf\xe9.jpg"), []byte("latin-1"), 0o644))
}

func nowhere(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: nowhere TEXT FILE...")
	}
	text := args[0]
	forms := []string{
		text, url.QueryEscape(text), base64.StdEncoding.EncodeToString([]byte(text + ":")), base64.StdEncoding.EncodeToString([]byte(text)),
		fmt.Sprintf("%x", text),
	}
	for _, file := range args[1:] {
		content := ts.ReadFile(file)
		if i := slices.IndexFunc(forms, func(form string) bool { return strings.Contains(content, form) }); i >= 0 {
			ts.Fatalf("%s holds it as %s", file, forms[i])
		}
	}
}

// apiPath is where a path of the management API names a file by its path.
var apiPath = regexp.MustCompile(`\{[^}]*\}`)

func callAPI(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: api METHOD PATH [BODY]")
	}
	l := libraryOf(ts)
	path := apiPath.ReplaceAllStringFunc(args[1], func(named string) string {
		for _, a := range l.server.Assets() {
			if a.FilePath == named[1:len(named)-1] {
				return a.FileID
			}
		}
		ts.Fatalf("the library has no %s", named)
		return ""
	})
	req, err := http.NewRequest(args[0], l.http.URL+"/v1"+path, strings.NewReader(strings.Join(args[2:], "")))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(ts.Getenv("IMAGEKIT_PRIVATE_KEY"), "")
	answer, err := l.http.Client().Do(req)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if answer.StatusCode >= 300 {
		ts.Fatalf("the library answered %s: %s", answer.Status, body)
	}
	_, err = ts.Stdout().Write(body)
	ts.Check(err)
	storyOf(ts).asked++ // by the script, and not by iksync
}

// requests counts what the library was asked so far.
func requests(ts *testscript.TestScript) (n int64) {
	for _, count := range libraryOf(ts).server.Stats().Requests {
		n += count
	}
	return n
}

func asked(ts *testscript.TestScript, neg bool, args []string) {
	s, now := storyOf(ts), requests(ts)
	got := now - s.asked
	s.asked = now
	if len(args) == 0 {
		return
	}
	if want := int64(count(ts, args)); got != want {
		ts.Fatalf("there were %d requests, not %d: %v", got, want, libraryOf(ts).server.Stats().Requests)
	}
}

func asPlanned(ts *testscript.TestScript, neg bool, args []string) {
	var said struct {
		Totals *planTotals `json:"totals"`
	}
	var workers []string // which a plan has none of
	if i := slices.Index(args, "--workers"); i >= 0 {
		workers, args = args[i:], args[:i]
	}
	before := requests(ts)
	run(ts, false, slices.Concat([]string{"plan"}, args, []string{"--json"}))
	if n := requests(ts) - before; n != 0 && !slices.Contains(args, "--remote") {
		ts.Fatalf("the plan made %d requests", n)
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &said))
	if said.Totals == nil {
		ts.Fatalf("the plan has no totals at its end:\n%s", strings.Join(lines, "\n"))
	}
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--remote" })
	before = requests(ts)
	run(ts, false, slices.Concat([]string{"backfill"}, args, workers, []string{"--json"}))
	var did summary
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &did))
	t := said.Totals
	for _, c := range []struct {
		what      string
		said, did int64
	}{
		{"files", t.Files, did.Files},
		{"bytes", t.Bytes, did.Bytes},
		{"uploads and updates", t.Do["upload"] + t.Do["update"], did.Uploaded},
		{"bytes sent", t.Send, did.UploadedBytes},
		{"in step and touched", t.InStep + t.Do["touch"], did.Unchanged},
		{"touched", t.Do["touch"], did.Touched},
		{"moved", t.Do["move"] + t.Do["move_folder"], did.Moved},
		{"copied", t.Do["copy"], did.Copied},
		{"the same", t.Do["alias"], did.Aliased},
		{"removed", t.Do["trash"] + t.Do["delete"], did.Removed},
		{"skipped", sum(t.Skipped), sum(did.Skipped)},
		{"waiting", sum(t.Waiting), sum(did.Waiting)},
		{"kept, removed later and held back", t.Do["keep"] + t.Pending + t.HeldBack, did.Gone},
		{"calls of the API, as the library counts them", t.APICalls, requests(ts) - before},
		{"calls of the API", t.APICalls, did.Requests},
	} {
		if c.said != c.did {
			ts.Fatalf("%s: the plan says %d, and the backfill did %d (%v)\n%s", c.what, c.said, c.did, libraryOf(ts).server.Stats().Requests, strings.Join(lines, "\n"))
		}
	}
	if !slices.Equal(t.Braked, did.Braked) && len(t.Braked) != len(did.Braked) {
		ts.Fatalf("the plan is braked by %q, and the backfill by %q", t.Braked, did.Braked)
	}
}

func met(ts *testscript.TestScript, neg bool, args []string) {
	want := int64(count(ts, args))
	comes(ts, fmt.Sprintf("%d requests that meet a fault", want), func() bool { return libraryOf(ts).server.Stats().Faults >= want })
}

func appears(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	comes(ts, args[0], func() bool {
		_, err := os.Lstat(ts.MkAbs(args[0]))
		return err == nil
	})
}

// stands waits until the daemon of a state file says that it stands so.
func stands(ts *testscript.TestScript, neg bool, args []string) {
	file := filepath.Join(ts.Getenv("XDG_STATE_HOME"), "iksync", "iksync.db")
	switch len(args) {
	case 1:
	case 2:
		file = ts.MkAbs(args[1])
	default:
		ts.Fatalf("usage: stands STATE [STATEFILE]")
	}
	client := control.NewClient(file)
	comes(ts, "the state "+args[0], func() bool {
		s, err := client.Status(context.Background())
		return err == nil && s.State == args[0]
	})
}

// comes waits until what is there.
func comes(ts *testscript.TestScript, what string, isThere func() bool) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for began := time.Now(); !isThere(); <-ticker.C {
		if time.Since(began) > patience {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}
