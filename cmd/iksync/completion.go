package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"iksync/cmd/iksync/internal/config"
	"iksync/state"
)

// shells are those that there are completions for.
var shells = []string{"bash", "zsh", "fish"}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion {" + strings.Join(shells, " | ") + "}",
		Short: "Print the completions for a shell",
		Long: `completion prints what lets a shell complete iksync's commands, flags and, where they are
few, their values: classes of failures, roots, formats. Packages install it already.`,
		Example: `  source <(iksync completion bash)                                                # this shell; needs bash-completion
  iksync completion bash > ~/.local/share/bash-completion/completions/iksync      # from now on
  iksync completion zsh > "${fpath[1]}/_iksync"
  iksync completion fish > ~/.config/fish/completions/iksync.fish`,
		Args:      cobra.MatchAll(oneArgument("the shell: "+strings.Join(shells, ", ")), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.printCompletion(cmd.Root(), args[0])
		},
	}
}

func (a *app) printCompletion(root *cobra.Command, shell string) error {
	print := map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  root.GenZshCompletion,
		"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
	}[shell]
	if err := print(a.out); err != nil {
		return fmt.Errorf("print the completions for %s: %w", shell, err)
	}
	return nil
}

// flagValues are the values of the flags that take one of a few.
var flagValues = map[string][]string{
	"class":     failureClasses,
	"delete":    goneWords,
	"format":    {"csv", "jsonl"},
	"log-level": {"debug", "info", "warn", "error"},
	"plan":      {"free", "lite", "pro"},
	"symlinks":  {"skip", "follow-inside"},
	"types":     {"image", "video", "audio", "any"},
}

// complete says of every command below root what its arguments and flags may be.
// What is not said here is a file, as the shells take it.
func (a *app) complete(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch {
		case cmd.ValidArgs != nil:
		case cmd.Args != nil && cmd.Args(cmd, []string{"one"}) != nil: // takes none
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		case strings.Contains(cmd.Use, "ROOT"):
			cmd.ValidArgsFunction = a.completeRoots
		case strings.HasSuffix(cmd.Use, " DIR"):
			cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal == "" { // takes a value
				a.completeFlag(cmd, f)
			}
		})
	}
}

func (a *app) completeFlag(cmd *cobra.Command, f *pflag.Flag) {
	kind, _ := pflag.UnquoteUsage(f)
	values := cobra.NoFileCompletions
	switch {
	case flagValues[f.Name] != nil:
		values = cobra.FixedCompletions(flagValues[f.Name], cobra.ShellCompDirectiveNoFileComp)
	case f.Name == "root":
		values = a.completeRoots
	case f.Name == "config":
		values = cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	case kind == "file":
		return
	case strings.HasSuffix(f.Name, "dir"):
		values = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	}
	// It fails only for a flag that is not there or has its function already.
	_ = cmd.RegisterFlagCompletionFunc(f.Name, values)
}

// completeRoots offers the roots of the configuration that the line names, else those of
// the state file; where DIR is the root, directories.
func (a *app) completeRoots(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	file := cmd.Flag("config").Value.String()
	if file == "" && cmd.Flag("to") != nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	roots, err := a.knownRoots(cmd, file)
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault // a shell has no place for it
	}
	var offers []string
	for path, folder := range roots {
		offers = append(offers, cobra.CompletionWithDesc(path, "folder "+folder), cobra.CompletionWithDesc(folder, "of "+path))
	}
	return offers, cobra.ShellCompDirectiveDefault
}

// knownRoots are the folders of the roots, by path.
func (a *app) knownRoots(cmd *cobra.Command, configFile string) (roots map[string]string, err error) {
	roots = make(map[string]string)
	if configFile != "" {
		cfg, err := config.LoadForDaemon(configFile)
		if err != nil {
			return nil, err
		}
		for _, r := range cfg.Roots {
			roots[r.Path] = r.Folder
		}
		return roots, nil
	}
	path, err := a.statePath(cmd.Flag("state").Value.String(), "")
	if err != nil {
		return nil, err
	}
	db, err := state.OpenReadOnly(cmd.Context(), path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	known, err := db.Roots(cmd.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range known {
		roots[r.Path] = r.Folder
	}
	return roots, nil
}
