package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iksync/uploader/emulator"
)

const (
	// emulatorAddr is where the emulator is looked for.
	emulatorAddr = "127.0.0.1:8790"
	// emulatorID stands where an account's ImageKit id stands in URLs.
	emulatorID = "/demo"
	// shutdownGrace bounds the wait for requests under way.
	shutdownGrace = 5 * time.Second
)

type emulatorFlags struct {
	addr      string
	dir       string
	faults    string
	behaviour emulator.Behaviour
}

func (a *app) emulatorCommand() *cobra.Command {
	var f emulatorFlags
	cmd := &cobra.Command{
		Use:   "emulator",
		Short: "Serve an ImageKit-compatible library over a directory",
		Long:  emulatorHelp,
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runEmulator(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.addr, "addr", emulatorAddr, "address to listen on")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory that holds the library (default $XDG_STATE_HOME/iksync/emulator)")
	cmd.Flags().StringVar(&f.faults, "faults", "", "`file` with a plan of faults (JSON)")
	behaviourFlags(cmd.Flags(), &f.behaviour)
	return cmd
}

func (a *app) runEmulator(ctx context.Context, f emulatorFlags) error {
	_, _, err := net.SplitHostPort(f.addr)
	if err == nil {
		_, err = net.ResolveTCPAddr("tcp", f.addr)
	}
	if err != nil {
		return usage("--addr: name an address to listen on, such as %s: %v", emulatorAddr, err)
	}
	if err := badBehaviour(f.behaviour); err != nil {
		return err
	}
	dir, err := a.emulatorDir(f.dir)
	if err != nil {
		return err
	}
	var faults emulator.Faults
	if f.faults != "" {
		plan, err := os.ReadFile(f.faults)
		if err == nil {
			faults, err = emulator.ReadFaults(bytes.NewReader(plan))
		}
		if err != nil {
			return exit(exitConfig, fmt.Errorf("plan of faults %s: %w", f.faults, err))
		}
	}
	e, err := startEmulator(dir, f.addr, emulator.Options{Behaviour: f.behaviour})
	if err != nil {
		return exit(exitConfig, err)
	}
	e.server.SetFaults(faults)
	fmt.Fprintf(a.out, `ImageKit emulator over %s
  gallery           %s
  IKSYNC_UPLOAD_URL=%s
  IKSYNC_API_URL=%s
  any private key is accepted; Ctrl-C ends it
`, dir, e.pageURL(), e.uploadURL(), e.apiURL())
	<-ctx.Done()
	return e.close()
}

// embedded is an emulator inside this process.
type embedded struct {
	dir    string
	addr   string
	server *emulator.Server
	http   *http.Server
	served chan error
}

// startEmbedded starts the emulator for a trial: on its usual address, or on
// any when that is taken. URLs name the usual one, where `iksync emulator` serves
// them afterwards.
func startEmbedded(dir string) (*embedded, error) {
	o := emulator.Options{Endpoint: "http://" + emulatorAddr + emulatorID}
	e, err := startEmulator(dir, emulatorAddr, o)
	var busy *net.OpError
	if errors.As(err, &busy) {
		return startEmulator(dir, "127.0.0.1:0", o)
	}
	return e, err
}

// startEmulator serves the library in dir. An empty endpoint in o is that of the address.
func startEmulator(dir, addr string, o emulator.Options) (*embedded, error) {
	if err := emulatorsOwn(dir); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start the emulator: %w", err)
	}
	e := &embedded{dir: dir, addr: listener.Addr().String(), served: make(chan error, 1)}
	o.Dir = dir
	if o.Endpoint == "" {
		o.Endpoint = "http://" + e.addr + emulatorID
	}
	e.server, err = emulator.New(o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the emulator: %w", err), listener.Close())
	}
	e.http = &http.Server{Handler: e.server, ReadHeaderTimeout: 10 * time.Second}
	go func() { e.served <- e.http.Serve(listener) }()
	return e, nil
}

// emulatorsOwn refuses a directory that holds something else than a library, such
// as photos: the emulator would write among them.
func emulatorsOwn(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	for _, own := range []string{"journal.jsonl", "lock"} {
		if _, err := os.Stat(filepath.Join(dir, own)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("start the emulator: %s is not empty and holds no library of the emulator's: name another directory", dir)
}

func (e *embedded) pageURL() string   { return "http://" + e.addr + "/" }
func (e *embedded) uploadURL() string { return "http://" + e.addr + "/api/v1/files/upload" }
func (e *embedded) apiURL() string    { return "http://" + e.addr + "/v1" }

func (e *embedded) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	err := e.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.http.Close()
	}
	if served := <-e.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, e.server.Close())
}

// explain says where the files are and how to look at them: here, when this process goes on
// to serve them.
func (e *embedded) explain(w io.Writer, some, serves bool) {
	me := program()
	fmt.Fprintf(w, "Library:    %s (the embedded emulator's)\n", e.dir)
	if !some {
		fmt.Fprintln(w, "Nothing had to be uploaded this time.")
	}
	if serves {
		fmt.Fprintf(w, "Look at it: open %s in a browser\n", e.pageURL())
	} else {
		fmt.Fprintf(w, "Look at it: %s emulator --dir %s\n            and open http://%s/ in a browser\n", me, quoteArg(e.dir), emulatorAddr)
	}
	fmt.Fprintf(w, "Records:    %s export --state %s --format csv\n", me, quoteArg(emulatorState(e.dir)))
}

// program is how this program is called again.
func program() string {
	self, err := os.Executable()
	if err == nil && strings.Contains(filepath.ToSlash(self), "/go-build") {
		return "go run ./cmd/iksync"
	}
	return "iksync"
}

// quoteArg quotes a path for a shell where it needs it.
func quoteArg(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r))
	}) < 0
	if plain && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
