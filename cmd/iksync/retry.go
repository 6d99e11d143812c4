package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
)

// maxRetried bounds the files that --json names after a retry; all are counted.
const maxRetried = 1000

// retry is one `iksync retry`. It finds the state file and the daemon as undo does.
type retry struct {
	*request
	class string
	all   bool
}

func (a *app) retryCommand() *cobra.Command {
	r := &retry{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "retry {PATH | --class CLASS | --all}",
		Short: "Try files that fail again at once",
		Long: `retry tries files again at once that ImageKit refused, that could not be read, or
that wait for their next try, as if they had never failed: one file or all below a
directory (PATH, which may be gone), all of one class of failure, or all. iksync
failures lists them.

A file that changes is tried again by itself. So is, whenever the daemon starts and when
its key or its limits change, what ImageKit refused.

The classes are
` + strings.Join(failureClasses, ", ") + `.

It works beside a running daemon; without one they are tried with the next run.`,
		Example: `  iksync retry ~/Pictures/2026/cover.jpg
  iksync retry --class file              # ImageKit takes larger files by now`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args, cmd.Flags().Changed("class"))
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&r.class, "class", "", "try those again whose last failure was of this `class`")
	cmd.Flags().BoolVar(&r.all, "all", false, "try all of them again")
	return cmd
}

func (r *retry) run(ctx context.Context, args []string, byClass bool) error {
	ways := len(args)
	for _, is := range []bool{byClass, r.all} {
		if is {
			ways++
		}
	}
	if ways != 1 {
		return usage("name a path, or --class, or --all, and not two of them (iksync failures lists what fails)")
	}
	if byClass {
		if err := knownClass(r.class); err != nil {
			return err
		}
	}
	path, err := r.path()
	if err != nil {
		return err
	}
	selections, found, err := r.failing(ctx, path, args, r.class, maxRetried)
	if err != nil {
		return err
	}
	var n int64
	err = r.act(ctx, path, func(q *queue.Queue) error { return each(ctx, selections, q.Retry, &n) },
		func(c *control.Client) error { return each(ctx, selections, c.Retry, &n) })
	if err != nil {
		return err
	}
	switch {
	case r.json:
		return r.showRetried(n, found)
	case n == 0:
		_, err = fmt.Fprintln(r.out, "Nothing there fails.")
	default:
		_, err = fmt.Fprintf(r.out, "%s will be tried again.\n", files(n))
	}
	return err
}

// each retries the selections, and adds up how many files they are.
func each(ctx context.Context, selections []queue.Selection, retry func(context.Context, queue.Selection) (int64, error), all *int64) error {
	for _, s := range selections {
		n, err := retry(ctx, s)
		if err != nil {
			return err
		}
		*all += n
	}
	return nil
}

// showRetried prints as JSON how many files will be tried again, and the first of them.
func (r *retry) showRetried(n int64, found []failingRoot) error {
	retried := struct {
		Retried int64         `json:"retried"`
		Files   []failingFile `json:"files"`
	}{n, []failingFile{}}
	for _, root := range found {
		for _, f := range root.First {
			f.Root = root.Root
			if len(retried.Files) < maxRetried {
				retried.Files = append(retried.Files, f)
			}
		}
	}
	enc := json.NewEncoder(r.out)
	enc.SetIndent("", "  ")
	return enc.Encode(retried)
}
