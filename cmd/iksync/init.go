package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/uploader/imagekit"
)

// setup makes a first configuration.
type setup struct {
	*app
	file   string
	draft  config.Draft
	force  bool
	secret string // the key, when it was typed
	keep   string // the file that it is to be written to; "" for none
}

func (a *app) initCommand() *cobra.Command {
	s := &setup{app: a}
	cmd := &cobra.Command{
		Use:   "init [--config FILE --root DIR --to FOLDER]",
		Short: "Make a configuration: ask for what is needed, check it, write it",
		Long: `init writes a configuration with comments, for one directory. At a terminal it asks, one
short question after the other, for what no flag says; with --config, --root and --to, which
it needs elsewhere, it asks nothing and the other flags have their defaults. Then it checks
everything as iksync check does, and writes the file if no check failed. It prints the
next command.

The private key is never a flag. It is in IMAGEKIT_PRIVATE_KEY or in a file (--key-file), or it
is typed, without being shown, and written to a file of its own with mode 0600 if you like.

A configuration that is there already is never overwritten. Of one in /etc/iksync the key
file and the state file are by default those of the systemd units.`,
		Example: `  iksync init
  iksync init --config config.yaml --root ~/Pictures --to /photos --key-file ~/.imagekit_key`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&s.file, "config", "", "configuration `file` to write")
	fs.StringVar(&s.draft.Root, "root", "", "the `directory` to sync")
	fs.StringVar(&s.draft.Folder, "to", "", "remote `folder` that mirrors it")
	fs.StringVar(&s.draft.KeyFile, "key-file", "", "`file` that holds the private key (default: the key is in the environment or systemd's credential)")
	fs.StringVar(&s.draft.State, "state", "", "state `file` (default $XDG_STATE_HOME/iksync/iksync.db)")
	fs.StringVar(&s.draft.Plan, "plan", "", "ImageKit plan whose size limits hold: free, lite or pro (default)")
	fs.StringVar(&s.draft.Delete, "delete", "", "what becomes of the library's copies of files that are gone: keep (default), trash or delete")
	fs.StringVar(&s.draft.Page, "http", "", "`address` of the web page, such as 127.0.0.1:7711 (default off)")
	fs.BoolVar(&s.force, "force", false, "write it also when a check failed")
	return cmd
}

func (s *setup) run(ctx context.Context) error {
	if err := s.flagsAreGood(); err != nil {
		return err
	}
	var missing []string
	for _, needed := range []struct{ flag, value string }{{"--config", s.file}, {"--root", s.draft.Root}, {"--to", s.draft.Folder}} {
		if needed.value == "" {
			missing = append(missing, needed.flag)
		}
	}
	q := s.asking(ctx)
	switch {
	case len(missing) == 0:
		q = nil
	case q == nil:
		return usage("say it with %s: there is no terminal to ask at", strings.Join(missing, ", "))
	default:
		if err := s.askAll(q); err != nil {
			return err
		}
		fmt.Fprintln(s.err)
	}
	cfg, err := s.complete()
	if err != nil {
		return err
	}
	e := &examination{app: s.app, configFile: s.file, stateFile: s.draft.State}
	if s.secret != "" {
		e.key = imagekit.NewKey(s.secret)
	}
	e.all(ctx, cfg)
	if ctx.Err() != nil {
		return errInterrupted
	}
	out := &hiding{s.out, []string{s.file, s.draft.Root, s.draft.KeyFile, s.draft.State, s.secret}}
	if err := e.print(out); err != nil {
		return err
	}
	if code := e.code(); code != 0 && !s.force {
		if q == nil {
			return exit(code, errors.New("a check failed, and nothing was written: cure it, or write the configuration all the same with --force"))
		}
		all, err := q.yes("A check failed. Write the configuration all the same")
		if err != nil {
			return err
		}
		if !all {
			return exit(code, errors.New("nothing was written"))
		}
	}
	if err := s.write(); err != nil {
		return exit(exitFailed, err)
	}
	s.next(out)
	return nil
}

// flagsAreGood checks what the flags say as the questions do.
func (s *setup) flagsAreGood() error {
	for _, f := range []struct {
		flag  string
		value *string
		check func(string) (string, error)
	}{
		{"config", &s.file, s.newFile}, {"root", &s.draft.Root, s.path}, {"to", &s.draft.Folder, imagekit.CleanFolder},
		{"key-file", &s.draft.KeyFile, s.path}, {"state", &s.draft.State, s.path}, {"plan", &s.draft.Plan, planWords.of},
		{"delete", &s.draft.Delete, goneWords.of}, {"http", &s.draft.Page, pageAddress},
	} {
		if *f.value == "" {
			continue
		}
		value, err := f.check(*f.value)
		var with *exitError
		switch {
		case errors.As(err, &with):
			return err
		case err != nil:
			return usage("--%s: %v", f.flag, err)
		}
		*f.value = value
	}
	return nil
}

// words are the values that a key takes; the first is its default.
type words []string

var (
	planWords = words{"pro", "lite", "free"}
	goneWords = words{"keep", "trash", "delete"}
)

func (w words) of(answer string) (string, error) { return oneOf(answer, w...) }

// path makes a path absolute. "~" is for those that no shell has seen.
func (s *setup) path(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && s.getenv("HOME") != "" {
		path = filepath.Join(s.getenv("HOME"), rest)
	}
	return filepath.Abs(path)
}

// newFile is path for a file that must not be there.
func (s *setup) newFile(path string) (string, error) {
	abs, err := s.path(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(abs); err == nil {
		return "", exit(exitConfig, fmt.Errorf("%s is there already, and is left as it is: edit it and try it with iksync check, move it away, or name another file", abs))
	}
	return abs, nil
}

// root is path for a directory that must be there.
func (s *setup) root(path string) (string, error) {
	abs, err := s.path(path)
	if err == nil {
		_, err = config.RootPath(abs)
	}
	return abs, err
}

// pageAddress checks an address of the page, which must be one of this machine: others
// need a token in a file besides.
func pageAddress(text string) (string, error) {
	p, err := config.PageAt(text)
	if err == nil && p.Network != "" && !p.Private() {
		err = errors.New("others than this machine reach that address: write 127.0.0.1, or set it in the configuration afterwards, with http_token_file")
	}
	return text, err
}

// askAll asks for what no flag has said.
func (s *setup) askAll(q *asker) error {
	fmt.Fprintln(s.err, "Enter takes what stands in [ ]. Nothing is written before the end; Ctrl-C leaves.")
	d := &s.draft
	for _, question := range []struct {
		value *string
		ask   func() (string, error)
	}{
		{&s.file, func() (string, error) {
			usual := "config.yaml"
			if os.Getuid() == 0 {
				usual = serviceDir + "/config.yaml"
			}
			return q.ask("Configuration to write", usual, s.newFile)
		}},
		{&d.Root, func() (string, error) { return q.ask("Directory to sync", "", s.root) }},
		{&d.Folder, func() (string, error) {
			usual, err := imagekit.CleanFolder("/" + filepath.Base(d.Root))
			if err != nil {
				usual = "/photos"
			}
			return q.ask("Folder of the media library that mirrors it", usual, imagekit.CleanFolder)
		}},
		{&d.KeyFile, func() (string, error) { return s.askKey(q) }},
		{&d.State, func() (string, error) {
			usual, err := s.statePath("", serviceOf(s.file).state)
			if err != nil {
				usual = "" // there is no home
			}
			return q.ask("State file, which remembers what was uploaded", usual, s.path)
		}},
		{&d.Plan, func() (string, error) {
			return q.choose("ImageKit plan, for its size limits", planWords[0], planWords...)
		}},
		{&d.Delete, func() (string, error) {
			return q.choose("When a file is gone here, its copy in the library", goneWords[0], goneWords...)
		}},
		{&d.Page, func() (string, error) {
			yes, err := q.yes("Serve a web page to this machine, at http://" + demoPage)
			if !yes || err != nil {
				return "", err
			}
			return demoPage, nil
		}},
	} {
		if *question.value != "" {
			continue
		}
		answer, err := question.ask()
		if err != nil {
			return err
		}
		*question.value = answer
	}
	return nil
}

// askKey asks where the private key is, or for itself.
func (s *setup) askKey(q *asker) (file string, err error) {
	const typed, env = "type", "env"
	own := ownKeyFile(s.file)
	usual := typed
	if _, err := os.Stat(own); err == nil {
		usual = own
	}
	if strings.TrimSpace(s.getenv(config.KeyVariable)) != "" {
		usual = env
	}
	answer, err := q.ask("Private key: a file that holds it, \"env\" for "+config.KeyVariable+", or \"type\" to type it", usual, func(answer string) (string, error) {
		if answer == typed || answer == env {
			return answer, nil
		}
		path, err := s.path(answer)
		if err == nil {
			_, _, err = config.Key(path, func(string) string { return "" })
		}
		return path, err
	})
	switch {
	case err != nil:
		return "", err
	case answer == env:
		return "", nil
	case answer != typed:
		return answer, nil
	}
	for {
		if s.secret, err = q.secret("The key (it is not shown)"); err != nil {
			return "", err
		}
		if _, err := config.ParseKey(s.secret, "the answer"); err == nil {
			break
		}
		fmt.Fprintln(s.err, "  That is no private key. It begins with private_; copy it from ImageKit's dashboard, Developer options.")
	}
	usual = own
	if _, err := os.Stat(own); err == nil {
		usual = "" // and is left as it is
	}
	s.keep, err = q.ask("File to keep it in, for you alone to read, or \"no\"", usual, func(answer string) (string, error) {
		if answer == "no" {
			return answer, nil
		}
		return s.newFile(answer)
	})
	if err != nil || s.keep == "no" {
		s.keep = ""
		return "", err
	}
	return s.keep, nil
}

// ownKeyFile is where the key of a configuration is kept unless it is said otherwise:
// that of the service, or the like beside the configuration.
func ownKeyFile(configFile string) string {
	if own := serviceOf(configFile).key; own != "" {
		return own
	}
	name := strings.TrimSuffix(filepath.Base(configFile), filepath.Ext(configFile))
	if name == "config" {
		return filepath.Join(filepath.Dir(configFile), "private_key")
	}
	return filepath.Join(filepath.Dir(configFile), name+".private_key")
}

// complete fills in what was left open, and reads the draft as it will be read.
func (s *setup) complete() (*config.Config, error) {
	own := serviceOf(s.file)
	if s.draft.State == "" {
		path, err := s.statePath("", own.state)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return nil, err
		}
		s.draft.State = path
	}
	if s.draft.KeyFile == own.key {
		s.draft.KeyFile = "" // the service gets it as a credential, and can't read the file
	}
	cfg, err := s.draft.Config(s.file)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	for _, f := range []struct{ what, path string }{{"the configuration", s.file}, {"the key file", s.keep}} {
		if f.path == "" {
			continue
		}
		if err := outsideRoots(f.what, f.path, cfg.Roots); err != nil {
			return nil, err
		}
	}
	if s.keep != "" {
		cfg.KeyFile = "" // not there yet
	}
	return cfg, nil
}

// write writes the configuration, and the key where it was typed.
func (s *setup) write() error {
	text, err := s.draft.Text()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return fmt.Errorf("make the directory of the configuration: %w", err)
	}
	if s.keep != "" {
		if err := writeNew(s.keep, s.secret+"\n", 0o600); err != nil {
			return fmt.Errorf("write the private key: %w", err)
		}
	}
	if err := writeNew(s.file, text, 0o644); err != nil {
		err = fmt.Errorf("write the configuration: %w", err)
		if s.keep != "" {
			err = errors.Join(err, os.Remove(s.keep))
		}
		return err
	}
	return nil
}

// writeNew writes a file that is not there yet, whatever the umask is.
func writeNew(path, content string, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path) // half a file is none
		}
	}()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

// next says what was written, and what comes next.
func (s *setup) next(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nWritten: %s\n", s.file)
	if s.keep != "" {
		fmt.Fprintf(&b, "         %s (the private key, for you alone)\n", s.keep)
	}
	me, file := program(), quoteArg(s.file)
	line := func(command, what string) { fmt.Fprintf(&b, "  %s\n      %s\n", command, what) }
	b.WriteString("Next:\n")
	own := serviceOf(s.file)
	_, err := os.Stat(own.key)
	switch kept := s.draft.KeyFile != "" || s.keep != ""; {
	case !kept && own.unit == "" && s.getenv(config.KeyVariable) == "":
		line("export "+config.KeyVariable+"=private_...", "the key, wherever iksync runs; or name a file with imagekit.private_key_file")
	case !kept && own.unit != "" && err != nil:
		line("(umask 077; cat > "+own.key+")", "paste the key, Enter, Ctrl-D: the service takes it from there")
	}
	line(me+" plan --config "+file, "shows what would be uploaded, and does nothing")
	if own.unit != "" {
		line("systemctl enable --now "+own.unit, "keeps the library in step, as a service (all about it: "+serviceText+")")
	} else {
		line(me+" backfill --config "+file, "uploads it, once")
		line(me+" run --config "+file, "keeps the library in step until told to stop")
	}
	_, _ = io.WriteString(w, b.String())
}
