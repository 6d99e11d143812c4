package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/watcher/filter"
)

func (a *app) filtersCommand() *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use:   "filters [--config FILE PATH...]",
		Short: "List the junk patterns, or say which filter decides about a path",
		Long: `Without a configuration: prints the junk patterns, which leave out what systems,
editors and browsers leave lying around, unless a root says junk: false.

With one: says of each PATH below a root whether it is wanted and what decided.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if configFile == "" {
				if len(args) > 0 {
					return usage("name the configuration whose filters decide about %s with --config", args[0])
				}
				for _, pattern := range filter.Junk() {
					fmt.Fprintln(a.out, pattern)
				}
				return nil
			}
			if len(args) == 0 {
				return usage("name the paths to decide about")
			}
			cfg, err := config.Load(configFile)
			if err != nil {
				return exit(exitConfig, err)
			}
			for _, path := range args {
				if err := a.decide(cfg, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&configFile, "config", "", "configuration `file`")
	return cmd
}

func (a *app) decide(cfg *config.Config, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return exit(exitFailed, err)
	}
	// The path may lead through a symlink to the root, or not exist.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs))
	}
	for i := range cfg.Roots {
		r := &cfg.Roots[i]
		if !config.Inside(abs, r.Path) || abs == r.Path {
			continue
		}
		rel := filepath.ToSlash(abs[len(r.Path):])
		size, mtime := int64(0), time.Time{}
		info, err := os.Lstat(abs)
		if err == nil {
			size, mtime = info.Size(), info.ModTime()
			if info.Mode()&fs.ModeSymlink != 0 {
				fmt.Fprintf(a.out, "%s: a symlink (symlinks: see the root's configuration)\n", display(path))
				return nil
			}
			if info.IsDir() {
				rel += "/"
			}
		}
		decision := r.Filter.Path(rel, size, mtime, time.Now())
		if class, reason := cfg.Limits.Hold(filepath.Base(abs), size); err == nil && !info.IsDir() && !decision.Excluded && class != "" {
			fmt.Fprintf(a.out, "%s: %s\n", display(path), reason)
			return nil
		}
		fmt.Fprintf(a.out, "%s: %s\n", display(path), decision)
		return nil
	}
	return usage("%s is below no root of the configuration", path)
}
