package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
)

// removals is one undo or approve.
type removals struct {
	*request
	all bool
	yes bool
}

func (a *app) undoCommand() *cobra.Command {
	r := &removals{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "undo [--all | PATH...]",
		Short: "Keep the library's copies of files that are gone, before they are removed",
		Long: `undo keeps the library's copies of files that are gone or left out by the filters,
of which the policies (delete, filtered) would remove the copies once delete_after is over.
PATH is a local file or directory, as it was. Without arguments undo lists them.

It works beside a running daemon. A file that is back at its place needs no undo.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.undo(cmd.Context(), args) },
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.all, "all", false, "keep all of them")
	return cmd
}

func (a *app) approveCommand() *cobra.Command {
	r := &removals{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "approve [--yes] [ROOT...]",
		Short: "Show what would be removed from the library, and let it go",
		Long: `approve shows which copies of files that are gone wait to be removed from the
library, and why they are held back: more than max_delete in an hour, or another
directory in the place of the root. With --yes, or a yes at the prompt, what is
gone by now may be removed when its grace (delete_after) is over, and the brake is
taken off. ROOT is a root's path or folder; without one it is every root.

It works beside a running daemon.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.approve(cmd.Context(), args) },
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.yes, "yes", false, "approve without asking")
	return cmd
}

// absentRoot is what is absent of a root.
type absentRoot struct {
	id     int64
	Root   string       `json:"root"`
	Absent int64        `json:"absent"`
	Kept   int64        `json:"kept"`
	Braked string       `json:"braked,omitempty"`
	First  []absentFile `json:"first"`
}

type absentFile struct {
	Path       string `json:"path"`
	RemotePath string `json:"remote_path"`
	FileID     string `json:"file_id"`
	Why        string `json:"why"`
	Since      string `json:"since"`
	Kept       bool   `json:"kept,omitempty"`
	Then       string `json:"then"` // the policy
	NotBefore  string `json:"not_before,omitempty"`
}

// look reads what is absent of the roots that are asked for, "" for all.
func (r *removals) look(ctx context.Context, path string, names []string) ([]absentRoot, error) {
	db, err := readState(ctx, path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	q := newQueue(db)
	recorded, err := db.Roots(ctx)
	if err != nil {
		return nil, exit(exitFailed, err)
	}
	if recorded, err = namedRoots(recorded, names); err != nil {
		return nil, err
	}
	var found []absentRoot
	for _, root := range recorded {
		standing, err := q.Standing(ctx, root.ID)
		if err != nil {
			return nil, exit(exitFailed, err)
		}
		a := absentRoot{id: root.ID, Root: root.Path, Absent: standing.Absent, Kept: standing.Kept, Braked: standing.Braked, First: []absentFile{}}
		for f, err := range q.AbsentFiles(ctx, root.ID) {
			if err != nil {
				return nil, exit(exitFailed, err)
			}
			if len(a.First) >= maxListed && !r.json {
				break
			}
			a.First = append(a.First, r.describe(root, f))
		}
		found = append(found, a)
	}
	return found, nil
}

// describe tells of an absent file what will become of its copy.
func (r *removals) describe(root state.Root, f *state.File) absentFile {
	a := absentFile{
		Path: display(f.Path), RemotePath: f.RemotePath, FileID: f.FileID, Why: f.Absent.String(), Since: timestamp(f.AbsentAt), Kept: f.Kept, Then: "as configured",
	}
	if r.cfg == nil {
		return a
	}
	for i := range r.cfg.Roots {
		if r.cfg.Roots[i].Path != root.Path {
			continue
		}
		removal := r.cfg.Roots[i].Removal
		policy := removal.Policy(f.Absent)
		a.Then = policy.String()
		if policy != uploader.Keep && !f.Kept {
			a.NotBefore = timestamp(f.AbsentAt.Add(removal.After))
		}
	}
	return a
}

// show prints what is absent.
func (r *removals) show(found []absentRoot) error {
	if r.json {
		enc := json.NewEncoder(r.out)
		enc.SetIndent("", "  ")
		return enc.Encode(found)
	}
	for _, a := range found {
		fmt.Fprintf(r.out, "%s: %s gone or left out", a.Root, files(a.Absent))
		if a.Kept > 0 {
			fmt.Fprintf(r.out, ", and %s whose copies are kept", humanize.Comma(a.Kept))
		}
		fmt.Fprintln(r.out)
		if a.Braked != "" {
			fmt.Fprintf(r.out, "  nothing is removed: %s\n", a.Braked)
		}
		for _, f := range a.First {
			then := f.Then
			switch {
			case f.Kept:
				then = "kept"
			case f.NotBefore != "":
				then += ", not before " + f.NotBefore
			}
			fmt.Fprintf(r.out, "  %s (%s): %s since %s; %s\n", f.Path, f.RemotePath, f.Why, f.Since, then)
		}
		if more := a.Absent + a.Kept - int64(len(a.First)); more > 0 {
			fmt.Fprintf(r.out, "  and %s more\n", humanize.Comma(more))
		}
	}
	return nil
}

func (r *removals) undo(ctx context.Context, args []string) error {
	if r.all && len(args) > 0 {
		return usage("name paths, or --all, and not both")
	}
	path, err := r.path()
	if err != nil {
		return err
	}
	found, err := r.look(ctx, path, nil)
	if err != nil {
		return err
	}
	if !r.all && len(args) == 0 {
		return r.show(found)
	}
	var places []queue.Place
	for _, arg := range args {
		abs, err := resolve(arg)
		if err != nil {
			return usage("%s: %v", arg, err)
		}
		known := false
		for _, a := range found {
			if config.Inside(abs, a.Root) {
				places, known = append(places, queue.Place{RootID: a.id, Path: below(abs, a.Root)}), true
			}
		}
		if !known {
			return usage("%s is below no root of the state file", arg)
		}
	}
	if r.all {
		for _, a := range found {
			places = append(places, queue.Place{RootID: a.id})
		}
	}
	var kept int64
	err = r.act(ctx, path, func(q *queue.Queue) error {
		for _, at := range places {
			n, err := q.Undo(ctx, at)
			if err != nil {
				return err
			}
			kept += n
		}
		return nil
	}, func(c *control.Client) error {
		for _, at := range places {
			n, err := c.Undo(ctx, at)
			if err != nil {
				return err
			}
			kept += n
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case r.json:
		err = json.NewEncoder(r.out).Encode(map[string]int64{"kept": kept})
	case kept == 0:
		_, err = fmt.Fprintln(r.out, "Nothing there waits to be removed from the library.")
	case kept == 1:
		_, err = fmt.Fprintln(r.out, "The copy of 1 file stays in the library.")
	default:
		_, err = fmt.Fprintf(r.out, "The copies of %s stay in the library.\n", files(kept))
	}
	return err
}

// below is a path inside a root as records and jobs have it.
func below(path, root string) string {
	return strings.TrimPrefix(filepath.ToSlash(strings.TrimPrefix(path, root)), "/")
}

func (r *removals) approve(ctx context.Context, args []string) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	found, err := r.look(ctx, path, args)
	if err != nil {
		return err
	}
	if err := r.show(found); err != nil {
		return err
	}
	waits := slices.ContainsFunc(found, func(a absentRoot) bool { return r.waits(&a) })
	switch {
	case r.yes:
	case !waits:
		return r.approved("Nothing waits to be removed from the library.")
	case !r.agreed():
		fmt.Fprintln(r.err, "Nothing was approved. Say it with: iksync approve --yes")
		return nil
	}
	err = r.act(ctx, path, func(q *queue.Queue) error {
		for _, a := range found {
			if err := q.Approve(ctx, a.id); err != nil {
				return err
			}
		}
		return nil
	}, func(c *control.Client) error {
		for _, a := range found {
			if err := c.Approve(ctx, a.id); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !waits:
		return r.approved("Nothing waits to be removed from the library.")
	}
	return r.approved("Approved: what is gone by now is removed when its grace is over.")
}

// approved tells people what came of it.
func (r *removals) approved(what string) error {
	if r.json {
		return nil
	}
	_, err := fmt.Fprintln(r.out, what)
	return err
}

// waits reports whether something of a root is to be removed, as far as is known.
func (r *removals) waits(a *absentRoot) bool {
	if a.Absent == 0 || r.cfg == nil {
		return a.Absent > 0 || a.Braked != ""
	}
	for i := range r.cfg.Roots {
		if root := &r.cfg.Roots[i]; root.Path == a.Root {
			return a.Braked != "" || root.Removal.Policy(state.Gone) != uploader.Keep || root.Removal.Policy(state.Filtered) != uploader.Keep
		}
	}
	return true
}

// agreed asks on a terminal.
func (r *removals) agreed() bool {
	if !r.terminal || r.json {
		return false
	}
	fmt.Fprint(r.err, "Let these go? [y/N] ")
	line, _ := bufio.NewReader(r.in).ReadString('\n') // an end is a no
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y")
}
