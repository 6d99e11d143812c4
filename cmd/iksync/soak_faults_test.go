//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"iksync/uploader/emulator"
)

// soakShare is how many of all answers are bad.
const soakShare = 0.2

// soakFaults is everything that can go wrong for a while, each as often. Left out
// are lies that nobody can tell from the truth (another path than the asset's) and
// what stops all uploads for minutes (redirects, refused keys, exhausted accounts).
func soakFaults(seed uint64) emulator.Faults {
	rules := []emulator.Fault{
		{Action: emulator.ActionStatus, Status: http.StatusInternalServerError},
		{Action: emulator.ActionStatus, Status: http.StatusBadGateway, HTML: true},
		{Action: emulator.ActionStatus, Status: http.StatusServiceUnavailable},
		{Action: emulator.ActionStatus, Status: http.StatusTooManyRequests, Headers: map[string]string{"X-RateLimit-Reset": "40"}},
		{Action: emulator.ActionLose},
		{Action: emulator.ActionLose},
		{Action: emulator.ActionCut},
		{Action: emulator.ActionCut, Bytes: 1 << 30},
		{Action: emulator.ActionTruncated},
		{Action: emulator.ActionTrailing},
		{Action: emulator.ActionLength},
		{Action: emulator.ActionHTML},
		{Action: emulator.ActionWrongSize},
		{Action: emulator.ActionEndless, Bytes: 2 << 20},
		{Action: emulator.ActionSlow, Bytes: 100, Every: emulator.Duration(5 * time.Millisecond)},
	}
	for i := range rules {
		rules[i].Probability = soakShare / float64(len(rules)+2) // and the two of soakLibrary
	}
	return emulator.Faults{Seed: int64(seed), Rules: append(rules,
		emulator.Fault{Endpoint: "upload", Probability: .01, Action: emulator.ActionStatus, Status: http.StatusBadRequest,
			Message: "You have sent too many requests to update the file recently. Please try again later."},
		emulator.Fault{Endpoint: "moveFolder", Probability: .1, Action: emulator.ActionStatus, Status: http.StatusLocked},
		emulator.Fault{Endpoint: "renameFolder", Probability: .1, Action: emulator.ActionStatus, Status: http.StatusLocked},
		emulator.Fault{Probability: .05, Latency: emulator.Duration(80 * time.Millisecond)},
	)}
}

// soakUpload is an upload that came.
type soakUpload struct {
	run          int // of the daemon, counted from 0
	began, ended time.Time
	size         int64
	good         bool // its answer came, and names the asset
}

// soakLibrary is the ImageKit of a soak. It notes which uploads came, and from
// which run of the daemon: each has a prefix of its own in the URLs.
//
// Of the bad answers two are its own, since the emulator has them not: 202 of an
// upload that took effect, and 504 of whatever took effect.
type soakLibrary struct {
	server  *emulator.Server
	journal *journal

	mu      sync.Mutex
	rand    *rand.Rand              // nil: no faults
	uploads map[string][]soakUpload // by name
	killed  map[int]time.Time       // runs
	came    int                     // uploads
	lost    int                     // of those, without a good answer
}

func newSoakLibrary(server *emulator.Server, j *journal, seed uint64) *soakLibrary {
	server.SetFaults(soakFaults(seed))
	return &soakLibrary{server: server, journal: j, rand: rand.New(rand.NewPCG(seed, 3)), uploads: make(map[string][]soakUpload), killed: make(map[int]time.Time)}
}

// mend ends all faults.
func (l *soakLibrary) mend() {
	l.server.SetFaults(emulator.Faults{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rand = nil
}

func (l *soakLibrary) kill(run int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed[run] = time.Now()
}

// own picks a bad answer that the emulator has not; 0 is none.
func (l *soakLibrary) own(upload bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rand == nil {
		return 0
	}
	switch p := l.rand.Float64() * 17 / soakShare; {
	case p < 1:
		return http.StatusGatewayTimeout
	case p < 2 && upload:
		return http.StatusAccepted
	}
	return 0
}

// ServeHTTP lets the emulator answer.
func (l *soakLibrary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	run, err := strconv.Atoi(prefix)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	r.URL.Path, r.URL.RawPath = "/"+rest, ""
	upload := strings.HasSuffix(rest, "/upload")
	var body bytes.Buffer
	r.Body = &teed{r.Body, io.TeeReader(r.Body, &body)}
	answer := &noted{ResponseWriter: w}
	began := time.Now()
	whole := false
	defer func() {
		remote, size := "", int64(0)
		if upload {
			remote, size = l.noteUpload(r, run, began, body.Bytes(), answer, whole)
		} else if body.Len() > 0 {
			remote = clipped(body.String())
		}
		l.journal.say("run %d: %s %s %s %d: %d, whole %v, took %v", run, r.Method, r.URL, remote, size, answer.status, whole, time.Since(began).Round(time.Millisecond))
	}()
	status := l.own(upload)
	if status == 0 {
		l.server.ServeHTTP(answer, r) // panics when it closes the connection
		whole = true
		return
	}
	done := httptest.NewRecorder()
	l.server.ServeHTTP(done, r)
	if done.Code == http.StatusOK {
		answer.WriteHeader(status)
		_, _ = io.WriteString(answer, `{"message": "The pre-transformation has been queued successfully."}`) // the client is gone perhaps
		return
	}
	answer.WriteHeader(done.Code)
	_, _ = answer.Write(done.Body.Bytes()) // as above
}

func clipped(s string) string { return s[:min(len(s), 300)] }

// noteUpload notes what became of an upload.
func (l *soakLibrary) noteUpload(r *http.Request, run int, began time.Time, body []byte, a *noted, whole bool) (remote string, size int64) {
	fields, size := formOf(r, body)
	remote = path.Join("/", fields["folder"], fields["fileName"])
	var said struct {
		FileID string `json:"fileId"`
		Size   int64  `json:"size"`
	}
	err := json.Unmarshal(a.body.Bytes(), &said)
	u := soakUpload{run: run, began: began, ended: time.Now(), size: size}
	u.good = whole && a.status == http.StatusOK && err == nil && said.FileID != "" && said.Size == size && r.Context().Err() == nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came++
	if !u.good {
		l.lost++
	}
	l.uploads[fields["fileName"]] = append(l.uploads[fields["fileName"]], u)
	return remote, size
}

// formOf reads an upload's form, and the size of its file.
func formOf(r *http.Request, body []byte) (fields map[string]string, size int64) {
	fields = make(map[string]string)
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return fields, 0
	}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		part, err := form.NextPart()
		if err != nil {
			return fields, size
		}
		if part.FormName() == "file" {
			size, _ = io.Copy(io.Discard, part) // what came of it
			continue
		}
		value, _ := io.ReadAll(part) // what came of it
		fields[part.FormName()] = string(value)
	}
}

// The kinds of assets that no record has.
const (
	// orphansOfVanishedFiles: the upload of a new file was in flight as the daemon
	// was killed, and the file was gone, or elsewhere, before it could be sent again.
	orphansOfVanishedFiles = "orphan of a file that vanished after a kill"
	// orphansOfLostAnswers: the same, and it was the answer that did not come.
	orphansOfLostAnswers = "orphan of a file that vanished after its answer was lost"
	// unexplained is all else.
	unexplained = "unexplained orphan"
)

// recordWindow is how long after an answer its record may be missing on disk.
const recordWindow = 500 * time.Millisecond

// why says how an asset may have come to have no record: by the upload that brought
// its content. Since then its folder may have been moved, and it with that.
func (l *soakLibrary) why(a emulator.Asset) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range l.uploads[a.Name] {
		if u.size != a.Size || a.Updated.Before(u.began) || a.Updated.After(u.ended) {
			continue
		}
		killed, was := l.killed[u.run]
		switch {
		case was && u.ended.After(killed.Add(-recordWindow)):
			return orphansOfVanishedFiles
		case !u.good:
			return orphansOfLostAnswers
		}
	}
	return unexplained
}

// teed is a request's body that is noted as it is read.
type teed struct {
	io.Closer
	io.Reader
}

// noted is an answer that is noted as it is written.
type noted struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// Unwrap is for flushes.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// WriteHeader notes the status.
func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// Write notes the beginning of the body.
func (n *noted) Write(p []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	n.body.Write(p[:min(len(p), max(0, 64<<10-n.body.Len()))])
	return n.ResponseWriter.Write(p)
}

// journal is what happened, in order: to the trees, to the daemon, and what it said.
type journal struct {
	began time.Time

	mu    sync.Mutex
	lines []string
	rest  []byte // of what the daemon writes, without an end of line yet
	race  bool
}

// journalLines bounds it.
const journalLines = 400_000

func (j *journal) say(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.add(fmt.Sprintf(format, args...))
}

func (j *journal) add(line string) {
	if len(j.lines) >= journalLines {
		j.lines = append([]string(nil), j.lines[journalLines/2:]...)
	}
	j.lines = append(j.lines, fmt.Sprintf("%9.3f %s", time.Since(j.began).Seconds(), line))
}

// Write takes what the daemon writes.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rest = append(j.rest, p...)
	for {
		line, rest, ok := bytes.Cut(j.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		j.race = j.race || bytes.Contains(line, []byte("DATA RACE"))
		j.add("    " + string(line))
		j.rest = rest
	}
}

// tail gives the last lines, after those that hold one of the words.
func (j *journal) tail(n int, words []string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, word := range words {
		fmt.Fprintf(&b, "-- all of %s\n", word)
		for _, line := range j.lines {
			if strings.Contains(line, word) {
				b.WriteString(clipped(line) + "\n")
			}
		}
	}
	b.WriteString("-- the end\n" + strings.Join(j.lines[max(0, len(j.lines)-n):], "\n"))
	return b.String()
}

// all gives every line.
func (j *journal) all() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return []byte(strings.Join(j.lines, "\n") + "\n")
}
