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
	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
)

// failureClasses are the classes that a job's last failure can be of.
var failureClasses = []string{
	imagekit.File.String(), imagekit.Transient.String(), imagekit.FileThrottled.String(), imagekit.Throttled.String(),
	imagekit.Account.String(), imagekit.Credentials.String(), imagekit.Offline.String(),
	"unreadable", "changing", "accepted", "conflict", "vanished", "wrong_answer", queue.ClassAltered,
}

// knownClass refuses a class that there is not.
func knownClass(class string) error {
	if slices.Contains(failureClasses, class) {
		return nil
	}
	return usage("unknown class %q: one of %s", class, strings.Join(failureClasses, ", "))
}

// failures is one `iksync failures`.
type failures struct {
	*request
	class string
}

func (a *app) failuresCommand() *cobra.Command {
	f := &failures{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "failures [PATH] [--class CLASS]",
		Short: "List the files that fail, with the reason",
		Long: `failures lists the files that ImageKit refused, that could not be read, or that are
tried again, with the reason, ImageKit's request id, and when they are tried next:
all, or those below PATH, or those of a class. It only reads, also beside a daemon.

The classes are
` + strings.Join(failureClasses, ", ") + `.

iksync retry tries them at once; iksync ignore leaves them out; iksync why tells all
about one of them.`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args, cmd.Flags().Changed("class"))
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.class, "class", "", "only those whose last failure was of this `class`")
	return cmd
}

func (f *failures) run(ctx context.Context, args []string, byClass bool) error {
	if byClass {
		if err := knownClass(f.class); err != nil {
			return err
		}
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	most := maxListed
	if f.json {
		most = math.MaxInt
	}
	_, found, err := f.failing(ctx, path, args, f.class, most)
	if err != nil {
		return err
	}
	return f.show(found)
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

// failing says what is asked for, each selection of one root, and reads what is failing
// of it; of each it names so many files at most.
func (r *request) failing(ctx context.Context, path string, args []string, class string, most int) ([]queue.Selection, []failingRoot, error) {
	db, err := readState(ctx, path)
	if err != nil {
		return nil, nil, err
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
			if class != "" {
				s.Classes = []string{class}
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
func (f *failures) show(found []failingRoot) error {
	if f.json {
		enc := json.NewEncoder(f.out)
		enc.SetIndent("", "  ")
		return enc.Encode(found)
	}
	for _, root := range found {
		fmt.Fprintf(f.out, "%s: %s failing\n", root.Root, files(root.Failing))
		for _, file := range root.First {
			id, next := "", "tried again when it changes"
			if file.RequestID != "" {
				id = " (request id " + file.RequestID + ")"
			}
			if file.NextTry != "" {
				next = "next try " + file.NextTry
			}
			fmt.Fprintf(f.out, "  %s: %s%s; %s, %s, %s\n", file.Path, cmp.Or(file.Reason, "put off"), id, cmp.Or(file.Class, "no failure"), quantity(int64(file.Attempts), "attempt"), next)
		}
		if more := root.Failing - int64(len(root.First)); more > 0 {
			fmt.Fprintf(f.out, "  and %s more\n", humanize.Comma(more))
		}
	}
	return nil
}
