package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// maxRetried bounds the files that --json names after a retry; all are counted.
const maxRetried = 1000

// failureClasses are the classes that a job's last failure can be of.
var failureClasses = []string{
	imagekit.File.String(), imagekit.Transient.String(), imagekit.FileThrottled.String(), imagekit.Throttled.String(),
	imagekit.Account.String(), imagekit.Credentials.String(), imagekit.Offline.String(),
	"unreadable", "changing", "accepted", "conflict", "vanished",
}

// retry is one `iksync retry`. It finds the state file and the daemon as undo does.
type retry struct {
	*removals
	class string
}

func (a *app) retryCommand() *cobra.Command {
	r := &retry{removals: &removals{app: a}}
	cmd := &cobra.Command{
		Use:   "retry [PATH | --class CLASS | --all]",
		Short: "List the files that fail, or try them again at once",
		Long: `retry tries files again at once that ImageKit refused, that could not be read, or
that wait for their next try, as if they had never failed: one file or all below a
directory (PATH, which may be gone), all of one class of failure, or all. Without
arguments it lists them with the reason, and changes nothing.

A file that changes is tried again by itself. So is, whenever the daemon starts and when
its key or its limits change, what ImageKit refused.

The classes are
` + strings.Join(failureClasses, ", ") + `.

It works beside a running daemon; without one they are tried with the next run.`,
		Example: `  iksync retry                           # what fails, and why?
  iksync retry ~/Pictures/2026/cover.jpg
  iksync retry --class file              # ImageKit takes larger files by now`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args, cmd.Flags().Changed("class"))
		},
	}
	cmd.Flags().StringVar(&r.configFile, "config", "", "configuration `file`, which names the state file")
	cmd.Flags().StringVar(&r.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	cmd.Flags().BoolVar(&r.json, "json", false, "print it as JSON")
	cmd.Flags().StringVar(&r.class, "class", "", "try those again whose last failure was of this `class`")
	cmd.Flags().BoolVar(&r.all, "all", false, "try all of them again")
	return cmd
}

// failingRoot is what is failing of a root.
type failingRoot struct {
	Root    string        `json:"root"`
	Failing int64         `json:"failing"`
	First   []failingFile `json:"first"`
}

type failingFile struct {
	Root      string `json:"root,omitempty"` // where it is not said before
	Path      string `json:"path"`
	Class     string `json:"class"`
	Reason    string `json:"reason"`
	Attempts  int    `json:"attempts"`
	RequestID string `json:"request_id,omitempty"`
	NextTry   string `json:"next_try,omitempty"` // a time, or "at once"; "" when it is not tried again by itself
}

func (r *retry) run(ctx context.Context, args []string, byClass bool) error {
	ways := len(args)
	for _, is := range []bool{byClass, r.all} {
		if is {
			ways++
		}
	}
	if ways > 1 {
		return usage("name a path, or --class, or --all, and not two of them")
	}
	if byClass && !slices.Contains(failureClasses, r.class) {
		return usage("unknown class %q: one of %s", r.class, strings.Join(failureClasses, ", "))
	}
	path, err := r.path()
	if err != nil {
		return err
	}
	most := maxRetried
	switch {
	case ways == 0 && r.json:
		most = math.MaxInt
	case ways == 0:
		most = maxListed
	}
	selections, found, err := r.look(ctx, path, args, most)
	if err != nil {
		return err
	}
	if ways == 0 {
		return r.show(found)
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

// look says what is asked for, each selection of one root, and reads what is failing
// of it; of each it names so many files at most.
func (r *retry) look(ctx context.Context, path string, args []string, most int) ([]queue.Selection, []failingRoot, error) {
	db, err := state.OpenReadOnly(ctx, path)
	if err != nil {
		return nil, nil, exit(exitConfig, err)
	}
	defer db.Close()
	q := newQueue(db)
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, nil, exit(exitFailed, err)
	}
	var selections []queue.Selection
	var found []failingRoot
	for _, root := range roots {
		places := []string{""}
		if len(args) > 0 {
			if places, err = placesIn(root.Path, args[0]); err != nil {
				return nil, nil, usage("%s: %v", args[0], err)
			}
		}
		for _, at := range places {
			s := queue.Selection{Roots: []int64{root.ID}, Path: at}
			if r.class != "" {
				s.Classes = []string{r.class}
			}
			failing, err := failingOf(ctx, q, root, s, most)
			if err != nil {
				return nil, nil, exit(exitFailed, err)
			}
			selections, found = append(selections, s), append(found, failing)
		}
	}
	if len(args) > 0 && len(selections) == 0 {
		return nil, nil, usage("%s is below no root of the state file", args[0])
	}
	return selections, found, nil
}

// placesIn lists what a path that a user names is in a root: by where it leads, and
// by its name, which is another one below a symlink that the root follows. It is
// none outside the root.
func placesIn(root, name string) ([]string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	real, err := resolve(abs)
	if err != nil {
		return nil, err
	}
	var places []string
	if config.Inside(real, root) {
		places = append(places, below(real, root))
	}
	for dir := abs; ; dir = filepath.Dir(dir) {
		if leads, err := filepath.EvalSymlinks(dir); err == nil && leads == root {
			if at := below(abs, dir); !slices.ContainsFunc(places, func(p string) bool { return p == "" || config.Inside(at, p) }) {
				places = append(places, at)
			}
		}
		if dir == filepath.Dir(dir) {
			return places, nil
		}
	}
}

func failingOf(ctx context.Context, q *queue.Queue, root state.Root, s queue.Selection, most int) (failingRoot, error) {
	failing := failingRoot{Root: root.Path, First: []failingFile{}}
	now := time.Now()
	for it, err := range q.Failing(ctx, s) {
		if err != nil {
			return failing, err
		}
		failing.Failing++
		if len(failing.First) >= most {
			continue
		}
		f := failingFile{Path: display(it.Path), Class: it.Class, Reason: it.Reason, Attempts: it.Attempts, RequestID: it.RequestID}
		switch {
		case it.State == queue.Failed:
		case it.NotBefore.After(now):
			f.NextTry = timestamp(it.NotBefore)
		default:
			f.NextTry = "at once"
		}
		failing.First = append(failing.First, f)
	}
	return failing, nil
}

// show lists what is failing.
func (r *retry) show(found []failingRoot) error {
	if r.json {
		enc := json.NewEncoder(r.out)
		enc.SetIndent("", "  ")
		return enc.Encode(found)
	}
	for _, root := range found {
		fmt.Fprintf(r.out, "%s: %s failing\n", root.Root, files(root.Failing))
		for _, f := range root.First {
			id, next := "", "tried again when it changes"
			if f.RequestID != "" {
				id = " (request id " + f.RequestID + ")"
			}
			if f.NextTry != "" {
				next = "next try " + f.NextTry
			}
			fmt.Fprintf(r.out, "  %s: %s%s; %s, %s, %s\n", f.Path, cmp.Or(f.Reason, "put off"), id, cmp.Or(f.Class, "no failure"), quantity(int64(f.Attempts), "attempt"), next)
		}
		if more := root.Failing - int64(len(root.First)); more > 0 {
			fmt.Fprintf(r.out, "  and %s more\n", humanize.Comma(more))
		}
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
