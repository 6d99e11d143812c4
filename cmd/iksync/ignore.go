package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

// ignoring is one ignore.
type ignoring struct {
	*request
	undo bool
}

func (a *app) ignoreCommand() *cobra.Command {
	i := &ignoring{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "ignore [--undo] [PATH...]",
		Short: "Leave single files out, or take them up again",
		Long: `ignore leaves a file out from now on, whatever happens to it, such as one that ImageKit
refuses: it is not sent and not listed as failing. Of a directory it leaves out the
files that fail or wait at present. What the library has of them stays. A file that is
given another name is taken again. --undo takes them up again. Without arguments ignore
lists what is left out.

To leave out files of a kind, or all in a directory, use exclude in the configuration.
It works beside a running daemon.`,
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd.Context(), args) },
	}
	i.flags(cmd)
	cmd.Flags().BoolVar(&i.undo, "undo", false, "take them up again")
	return cmd
}

// ignoredFile is one that is left out.
type ignoredFile struct {
	Root  string `json:"root"`
	Path  string `json:"path"`
	Since string `json:"since"`
}

func (i *ignoring) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		if i.undo {
			return usage("name what is to be taken up again")
		}
		return i.list(ctx)
	}
	path, err := i.path()
	if err != nil {
		return err
	}
	var at []queue.Place
	err = i.reading(ctx, func(db *state.DB, _ *queue.Queue) error {
		at, err = places(ctx, db, args)
		return err
	})
	if err != nil {
		return err
	}
	var n int64
	err = i.act(ctx, path, func(q *queue.Queue) error {
		do := q.Ignore
		if i.undo {
			do = q.Unignore
		}
		for _, p := range at {
			m, err := do(ctx, p)
			if err != nil {
				return err
			}
			n += m
		}
		return nil
	}, func(c *control.Client) error {
		for _, p := range at {
			m, err := c.Ignore(ctx, p, i.undo)
			if err != nil {
				return err
			}
			n += m
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case i.json && i.undo:
		return json.NewEncoder(i.out).Encode(map[string]int64{"taken_up": n})
	case i.json:
		return json.NewEncoder(i.out).Encode(map[string]int64{"ignored": n})
	case i.undo && n == 0:
		_, err = fmt.Fprintln(i.out, "Nothing there is left out.")
	case i.undo:
		_, err = fmt.Fprintf(i.out, "%s will be taken up again.\n", files(n))
	case n == 0:
		return exit(exitFailed, errors.New("nothing is left out that was not before: iksync knows no file there that is uploaded or waits"))
	default:
		_, err = fmt.Fprintf(i.out, "%s left out from now on.\n", files(n))
	}
	return err
}

func (i *ignoring) list(ctx context.Context) error {
	return i.reading(ctx, func(db *state.DB, q *queue.Queue) error {
		roots, err := rootPaths(ctx, db)
		if err != nil {
			return err
		}
		all := []ignoredFile{}
		for f, err := range q.IgnoredFiles(ctx) {
			if err != nil {
				return err
			}
			all = append(all, ignoredFile{Root: roots[f.RootID], Path: display(f.Path), Since: timestamp(f.At)})
		}
		if i.json {
			enc := json.NewEncoder(i.out)
			enc.SetIndent("", "  ")
			return enc.Encode(all)
		}
		if len(all) == 0 {
			_, err := fmt.Fprintln(i.out, "Nothing is left out.")
			return err
		}
		for _, f := range all {
			fmt.Fprintf(i.out, "%s: %s, since %s\n", f.Root, f.Path, f.Since)
		}
		return nil
	})
}

// rootPaths are the paths of the roots as they are shown, by id.
func rootPaths(ctx context.Context, db *state.DB) (map[int64]string, error) {
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	paths := make(map[int64]string)
	for _, r := range roots {
		paths[r.ID] = display(r.Path)
	}
	return paths, nil
}
