//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// process is an iksync that runs beside its script.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	read           chan struct{} // closed when the rest of a server's stdout has been read
}

// raceOptions let a program that was built with the race detector end at once:
// it would wait a second for other threads' reports, at every end.
const raceOptions = "atexit_sleep_ms=0"

// passedOn is what such a process gets of the script's environment.
func passedOn() []string {
	return []string{"PATH", "HOME", "TMPDIR", "XDG_STATE_HOME", "NO_PROXY", "IMAGEKIT_PRIVATE_KEY", "IKSYNC_UPLOAD_URL", "IKSYNC_API_URL", "IKSYNC_STATE"}
}

func newProcess(ts *testscript.TestScript, args []string) *process {
	if len(args) < 2 {
		ts.Fatalf("want a name and arguments")
	}
	path, err := exec.LookPath("iksync")
	ts.Check(err)
	p := &process{cmd: exec.Command(path, args[1:]...)}
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = []string{"GORACE=" + raceOptions}
	for _, name := range passedOn() {
		if value := ts.Getenv(name); value != "" {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	storyOf(ts).processes[args[0]] = p
	ts.Defer(func() {
		if p.cmd.ProcessState == nil && p.cmd.Process != nil {
			_ = p.cmd.Process.Kill() // the script has failed
			_ = p.cmd.Wait()
		}
	})
	return p
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(newProcess(ts, args).cmd.Start())
}

// startServer sets what the server prints as NAME=VALUE in the environment, as
// its user would.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	p := newProcess(ts, args)
	p.cmd.Stdout = nil
	pipe, err := p.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(p.cmd.Start())
	out := bufio.NewReader(pipe)
	for serving := false; !serving; {
		line, err := out.ReadString('\n')
		p.stdout.WriteString(line)
		if err != nil {
			ts.Fatalf("%s has ended before it served:\n%s%s", args[0], p.stdout.String(), p.stderr.String())
		}
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			ts.Setenv(name, value)
			serving = name == "IKSYNC_API_URL"
		}
	}
	p.read = make(chan struct{})
	go func() {
		defer close(p.read)
		_, _ = io.Copy(&p.stdout, out) // ends with the process
	}()
}

func processOf(ts *testscript.TestScript, name string) *process {
	p := storyOf(ts).processes[name]
	if p == nil {
		ts.Fatalf("no process was started as %s", name)
	}
	return p
}

func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: signal NAME INT|TERM|KILL")
	}
	known := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}
	s, ok := known[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(processOf(ts, args[0]).cmd.Process.Signal(s))
}

func finish(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: finish NAME CODE")
	}
	p, want := processOf(ts, args[0]), count(ts, args[1:])
	if p.read != nil {
		<-p.read
	}
	var exited *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exited) {
		ts.Fatalf("wait for %s: %v", args[0], err)
	}
	_, err := io.WriteString(ts.Stdout(), steady(ts, p.stdout.String()))
	ts.Check(err)
	_, err = io.WriteString(ts.Stderr(), steady(ts, p.stderr.String()))
	ts.Check(err)
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		ts.Fatalf("the exit code of %s is %d, not %d\n%s%s", args[0], code, want, p.stdout.String(), p.stderr.String())
	}
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	answer, err := http.Get(args[0])
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
}
