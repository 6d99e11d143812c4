package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Long: `man writes the manual pages into DIR: iksync.1, and one of each command. They say what
--help says. Packages install them already. They are dated when SOURCE_DATE_EPOCH
(seconds) is set.`,
		Example: `  iksync man ~/.local/share/man/man1`,
		Args:    oneArgument("the directory to write the pages into"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.writeManual(cmd.Root(), args[0]) },
	}
}

// writeManual writes a page for the program and one for each of its commands.
func (a *app) writeManual(root *cobra.Command, dir string) error {
	date := ""
	if epoch := a.getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return usage("SOURCE_DATE_EPOCH must be a number of seconds: %v", err)
		}
		date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the manual: %w", err)
	}
	for _, cmd := range append(documented(root), root) {
		file := filepath.Join(dir, pageName(cmd)+".1")
		if err := os.WriteFile(file, []byte(manPage(cmd, date)), 0o644); err != nil {
			return fmt.Errorf("write the manual: %w", err)
		}
	}
	return nil
}

// documented are the commands that have a page.
func documented(root *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(root.Commands()), func(cmd *cobra.Command) bool {
		return !cmd.IsAvailableCommand() || cmd.Name() == "help"
	})
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of a command, in the macros of man(7).
func manPage(cmd *cobra.Command, date string) string {
	var p manual
	fmt.Fprintf(&p, ".TH \"%s\" 1 \"%s\" \"iksync %s\" iksync\n", roff(strings.ToUpper(pageName(cmd))), date, roff(version))
	fmt.Fprintf(&p, ".SH NAME\n%s \\- %s\n", roff(pageName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&p, ".SH SYNOPSIS\n.B %s\n", roff(cmd.CommandPath()))
	if cmd.HasParent() {
		p.line(strings.TrimSpace(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
		p.section("DESCRIPTION")
		p.text(cmp.Or(cmd.Long, cmd.Short+"."))
	} else {
		p.line("command [flags]")
		p.section("DESCRIPTION")
		p.text(about)
		p.section("COMMANDS")
		for _, c := range documented(cmd) {
			p.term(pageName(c)+"(1)", c.Short)
		}
	}
	p.section("OPTIONS")
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(p.flag)
	if cmd.Example != "" {
		p.section("EXAMPLES")
		p.text(cmd.Example)
	}
	if !cmd.HasParent() {
		for _, part := range []struct {
			title   string
			entries []entry
		}{{"EXIT STATUS", exitCodes}, {"ENVIRONMENT", environment}, {"FILES", ownFiles}} {
			p.section(part.title)
			for _, t := range part.entries {
				p.term(t.name, t.means)
			}
		}
		return p.String()
	}
	p.section("SEE ALSO")
	p.text("iksync(1), which has the exit status, the environment and the files of all commands")
	return p.String()
}

// manual is a page that is being written.
type manual struct{ strings.Builder }

func (p *manual) section(title string) { fmt.Fprintf(p, ".SH %s\n", title) }

// line writes a line of text that is filled with its neighbours.
func (p *manual) line(s string) {
	s = roff(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") { // would be a macro
		s = `\&` + s
	}
	fmt.Fprintln(p, s)
}

// text writes paragraphs. Those with indented lines are shown as they are.
func (p *manual) text(s string) {
	for i, paragraph := range strings.Split(s, "\n\n") {
		if i > 0 {
			fmt.Fprint(p, ".PP\n")
		}
		lines := strings.Split(strings.Trim(paragraph, "\n"), "\n")
		asIs := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, " ") })
		if asIs {
			fmt.Fprint(p, ".nf\n")
		}
		for _, l := range lines {
			p.line(l)
		}
		if asIs {
			fmt.Fprint(p, ".fi\n")
		}
	}
}

func (p *manual) term(name, means string) {
	fmt.Fprintf(p, ".TP\n.B %s\n", roff(name))
	p.line(means)
}

func (p *manual) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, means := pflag.UnquoteUsage(f)
	name := `\fB` + roff("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		name = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + name
	}
	if value != "" {
		name += ` \fI` + roff(value) + `\fR`
	}
	fmt.Fprintf(p, ".TP\n%s\n", name)
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
	default:
		means += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	p.line(means)
}

// roff keeps what is special to it as it is written.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}
