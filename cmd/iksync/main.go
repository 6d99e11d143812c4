// Command iksync keeps an ImageKit.io media library in step with local
// directories. README.md and `iksync --help` describe it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"iksync/state"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iksync/cmd/iksync/internal/config"
)

// Exit codes, as README and the help document them.
const (
	exitFailed      = 1   // some files failed, or the work could not be done
	exitUsage       = 64  // EX_USAGE: the command line is wrong
	exitUnwritable  = 74  // EX_IOERR: the state file can't be written
	exitBusy        = 75  // EX_TEMPFAIL: another iksync has the state file
	exitKey         = 77  // EX_NOPERM: ImageKit refuses the key
	exitConfig      = 78  // EX_CONFIG: the configuration, a path or the state file can't be used
	exitInterrupted = 130 // stopped by a signal
)

// exitError is an error with the exit code that it ends the program with.
type exitError struct {
	code int
	err  error // nil when everything has been said
}

// Error gives the message.
func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the message's error.
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, err error) error { return &exitError{code: code, err: err} }

func usage(format string, args ...any) error { return exit(exitUsage, fmt.Errorf(format, args...)) }

// misconfigured is the end with a configuration, or with flags in its place, that can't be used.
func misconfigured(err error) error {
	var flag *config.FlagError
	if errors.As(err, &flag) {
		return exit(exitUsage, err)
	}
	return exit(exitConfig, err)
}

// app is what the commands have of the world outside.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	environ  func() []string
	terminal bool                   // err is a terminal
	second   atomic.Pointer[func()] // what a second signal does; nil ends the process
	begun    bool                   // the command line was good
}

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(150) // the heap is a few MB: collecting it less often costs little memory
	}
	log.SetOutput(io.Discard) // net/http writes there what a server sends unasked, and we nothing
	a := &app{in: os.Stdin, out: os.Stdout, err: &hiding{os.Stderr, os.Args[1:]}, getenv: os.Getenv, environ: os.Environ, terminal: term.IsTerminal(int(os.Stderr.Fd()))}
	os.Exit(a.run(os.Args[1:]))
}

// hiding keeps private keys out of what is said, also those that somebody has put
// into the command line. Every message is one write.
type hiding struct {
	io.Writer
	args []string
}

// Write writes p without the keys in it.
func (h *hiding) Write(p []byte) (int, error) {
	if _, err := io.WriteString(h.Writer, config.Hide(string(p), h.args...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// run runs one command line and returns the exit code.
func (a *app) run(args []string) int {
	ctx, stop := a.interruptible(context.Background())
	defer stop()
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitUsage // what cobra finds wrong is the command line
	if a.begun {
		code = exitFailed
	}
	var with *exitError
	if errors.As(err, &with) {
		code = with.code
		err = with.err
	}
	if code == exitFailed && state.Unwritable(err) {
		code = exitUnwritable
	}
	var damaged *state.CorruptError
	if code == exitFailed && errors.As(err, &damaged) {
		code = exitConfig // as when it is found at the start
	}
	if err != nil {
		priority := ""
		if a.getenv("JOURNAL_STREAM") != "" {
			priority = "<3>" // see sd-daemon(3)
		}
		fmt.Fprintf(a.err, "%siksync: %v\n", priority, err)
	}
	return code
}

// interruptible ends the context at the first SIGINT or SIGTERM. At the second
// the process ends as it is: nothing is lost by that.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			if _, ok := <-signals; !ok {
				return
			}
			again := a.second.Load()
			switch {
			case n == 0:
				cancel()
			case again != nil:
				(*again)()
			default:
				os.Exit(exitInterrupted)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		<-done
		cancel()
	}
}

// onSecondSignal sets what a second signal does instead of ending the process.
func (a *app) onSecondSignal(f func()) { a.second.Store(&f) }

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "iksync",
		Short:         "Keep an ImageKit.io media library in step with local directories",
		Long:          help(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		Version:       version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRun: func(*cobra.Command, []string) { a.begun = true },
	}
	root.AddCommand(a.initCommand(), a.checkCommand(), a.backfillCommand(), a.runCommand(), a.planCommand(), a.adoptCommand(), a.verifyCommand(), a.emulatorCommand(), a.demoCommand(), a.exportCommand(), a.undoCommand(), a.approveCommand(), a.statusCommand(), a.failuresCommand(), a.whyCommand(), a.lookupCommand(), a.retryCommand(), a.ignoreCommand(), a.pauseCommand(), a.resumeCommand(), a.rescanCommand(), a.relocateCommand(), a.pageCommand(), a.uploadCommand(), a.filtersCommand(), a.completionCommand(), a.manCommand(), a.versionCommand())
	a.complete(root)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd == root { // the flag may well be one of the command that is meant
			return cmp.Or(knownCommand(cmd, cmd.Flags().Args()), err)
		}
		return err
	})
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = knownCommand // cobra's own ends with 0, whatever it is asked for
	}
	return root
}
