package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
)

func (a *app) checkCommand() *cobra.Command {
	r := &request{app: a}
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check a configuration, the key and the paths, and change nothing",
		Long: `check reads a configuration as the other commands do, and looks whether they can work with
it: the roots, how many directories there are to watch, the place of the state file, the
files with secrets, the programs of on_event, the address of the page, and the private key,
with one cheap call that lists the library. A key that may only read passes. Nothing is made, changed or uploaded. It works beside a daemon.

Each check is ok, a note, a warning (iksync works, but not as well as it could) or failed. The
exit code is 0 when none failed, 78 when a part of the configuration or a path can't be used,
77 when ImageKit refuses the key, else 1.`,
		Example: `  iksync check --config /etc/iksync/config.yaml`,
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return r.check(cmd.Context()) },
	}
	r.flags(cmd)
	return cmd
}

func (r *request) check(ctx context.Context) error {
	if r.configFile == "" {
		return usage("name the configuration with --config")
	}
	e := &examination{app: r.app, configFile: r.configFile, stateFile: r.stateFile}
	cfg, err := config.LoadForDaemon(r.configFile)
	if err != nil {
		e.failed("configuration", exitConfig, "", "%v", err)
	} else {
		e.ok("configuration", "%s: %s", r.configFile, quantity(int64(len(cfg.Roots)), "root"))
		e.all(ctx, cfg)
	}
	if ctx.Err() != nil {
		return exit(exitInterrupted, nil)
	}
	written, _ := os.ReadFile(r.configFile) // a key may be where it does not belong
	out := &hiding{r.out, []string{r.configFile, r.stateFile, string(written)}}
	if r.json {
		err = e.encode(out)
	} else {
		err = e.print(out)
	}
	if code := e.code(); code != 0 && err == nil {
		return exit(code, nil) // all has been said
	}
	return err
}

// verdict is what a check comes to.
type verdict string

const (
	fine    verdict = "ok"
	note    verdict = "note"
	warning verdict = "warning" // iksync works, but not as well as it could
	failed  verdict = "failed"
)

// finding is what one check has found.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Says    string  `json:"says"`
	Do      string  `json:"do,omitempty"` // what cures it
	code    int     // the exit code, when it failed
}

func (e *examination) ok(check, format string, args ...any) {
	e.findings = append(e.findings, finding{Check: check, Verdict: fine, Says: fmt.Sprintf(format, args...)})
}

func (e *examination) note(check, format string, args ...any) {
	e.findings = append(e.findings, finding{Check: check, Verdict: note, Says: fmt.Sprintf(format, args...)})
}

func (e *examination) warn(check, do, format string, args ...any) {
	e.findings = append(e.findings, finding{Check: check, Verdict: warning, Do: do, Says: fmt.Sprintf(format, args...)})
}

func (e *examination) failed(check string, code int, do, format string, args ...any) {
	e.findings = append(e.findings, finding{Check: check, Verdict: failed, Do: do, Says: fmt.Sprintf(format, args...), code: code})
}

// code is the exit code that the findings come to: what is wrong here comes before
// what ImageKit says.
func (e *examination) code() int {
	code := 0
	for _, f := range e.findings {
		switch {
		case f.code == exitConfig, f.code == exitKey && code != exitConfig, code == 0:
			code = f.code
		}
	}
	return code
}

// print tells the findings to people, a line each.
func (e *examination) print(w io.Writer) error {
	const layout = "%-7s  %-13s  %s\n"
	for _, f := range e.findings {
		text := fmt.Sprintf(layout, f.Verdict, f.Check, f.Says)
		if f.Do != "" {
			text += fmt.Sprintf(layout, "", "", "-> "+f.Do)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// encode tells the findings to programs.
func (e *examination) encode(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Config string    `json:"config"`
		Good   bool      `json:"good"` // none failed
		Checks []finding `json:"checks"`
	}{e.configFile, e.code() == 0, e.findings})
}
