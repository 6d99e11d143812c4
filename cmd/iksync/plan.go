package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
	"iksync/watcher"
)

// plan is one dry run.
type plan struct {
	*backfill
	remote bool
	all    bool
	totals planTotals
	lists  map[string][]string // lines by heading, the first of them
	roots  map[int64]*config.Root
}

// planTotals is what a plan comes to.
type planTotals struct {
	Files    int64            `json:"files"` // wanted, on the disk
	Bytes    int64            `json:"bytes"`
	InStep   int64            `json:"in_step"`
	Do       map[string]int64 `json:"do"`                 // files by what is done with them
	Send     int64            `json:"send_bytes"`         // by uploads and updates
	Skipped  map[string]int64 `json:"skipped"`            // by the rule that decided
	Waiting  map[string]int64 `json:"waiting"`            // by class
	Pending  int64            `json:"pending_removals"`   // wait for the end of their grace
	HeldBack int64            `json:"held_back_removals"` // and for somebody's approval
	Braked   []string         `json:"braked,omitempty"`
	Problems int64            `json:"unreadable"`
	Names    int64            `json:"changed_names"` // files whose name in the library is another
	APICalls int64            `json:"api_calls"`
	Roots    []string         `json:"roots,omitempty"` // what is to be told of the roots themselves
}

// planStep is a step in the form of --json.
type planStep struct {
	Do         string `json:"do"`
	Root       string `json:"root"`
	Path       string `json:"path"`
	PathBase64 string `json:"path_base64,omitempty"` // where it is not UTF-8
	From       string `json:"from,omitempty"`
	FromBase64 string `json:"from_base64,omitempty"`
	RemotePath string `json:"remote_path,omitempty"`
	FromRemote string `json:"from_remote_path,omitempty"`
	Bytes      int64  `json:"bytes,omitempty"`
	Files      int64  `json:"files,omitempty"`
	Why        string `json:"why,omitempty"`
	Name       string `json:"name,omitempty"` // "mapped" or "collision" where the remote name is another
	NotBefore  string `json:"not_before,omitempty"`
	HeldBack   bool   `json:"held_back,omitempty"` // until it is approved
}

func (a *app) planCommand() *cobra.Command {
	p := &plan{backfill: &backfill{app: a}, lists: make(map[string][]string), roots: make(map[int64]*config.Root)}
	p.totals.Do = make(map[string]int64)
	p.totals.Skipped, p.totals.Waiting = make(map[string]int64), make(map[string]int64)
	cmd := &cobra.Command{
		Use:   "plan {--config FILE [ROOT...] | DIR --to FOLDER}",
		Short: "Show what a backfill would do, and do nothing",
		Long: `plan does what backfill does, on a copy of the state file and without ImageKit, and
prints it: uploads, moves, copies, removals, what is skipped and why, and under
which name each file goes where that is another. It needs no key and no network;
with --remote it asks the library whether something is in the way.

--json prints a line for each step, and the totals last. It works beside a running
daemon. Files that changed are read, to see whether their content did.`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&p.configFile, "config", "", "configuration `file` (YAML)")
	fs.StringVar(&p.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	fs.BoolVar(&p.json, "json", false, "print JSON lines")
	fs.BoolVar(&p.all, "all", false, fmt.Sprintf("print every step, not the first %d of a kind", maxListed))
	fs.BoolVar(&p.remote, "remote", false, "ask the library whether something is in the way")
	addNewRootFlag(fs, &p.newRoot)
	p.rootFlags(fs, "")
	p.params = addParamFlags(fs)
	return cmd
}

func (p *plan) run(ctx context.Context, args []string) (err error) {
	cfg, err := p.configure(args)
	if err != nil {
		return err
	}
	statePath, err := p.statePath(p.stateFile, cfg.State)
	if err != nil {
		return err
	}
	var client *imagekit.Client
	if p.remote {
		if client, err = p.clientOf(cfg); err != nil {
			return err
		}
		defer client.Close()
	}
	err = onCopy(ctx, cfg, statePath, p.newRoot, func(db *state.DB, q *queue.Queue, opened *openedRoots) error {
		if err := p.rootNews(ctx, q, opened); err != nil {
			return err
		}
		return p.make(ctx, cfg, db, q, opened.roots, client)
	})
	if err == nil {
		return p.report()
	}
	if ctx.Err() != nil {
		return exit(exitInterrupted, nil)
	}
	return err
}

// make makes the plan on a copy of the state file.
func (p *plan) make(ctx context.Context, cfg *config.Config, db *state.DB, q *queue.Queue, roots []openRoot, client *imagekit.Client) error {
	ids := rootIDs(roots)
	if _, err := q.Retry(ctx, queue.Selection{Roots: ids, Automatic: true}); err != nil {
		return err
	}
	o := uploader.Options{Log: zap.NewNop()}
	for i := range roots {
		p.roots[roots[i].state.ID] = roots[i].config
		scan := roots[i].scanOptions(cfg.Limits)
		scan.Skipped = func(path, rule string) { p.skipped(roots[i].state.ID, path, rule) }
		s := watcher.NewScanner(q, scan)
		if err := s.Run(ctx); err != nil {
			return err
		}
		p.scanned(roots[i].state.ID, s.Report())
		o.Roots = append(o.Roots, roots[i].uploadRoot(cfg.Limits))
	}
	calls, err := uploader.New(db, q, o).Plan(ctx, client, p.step)
	if err != nil {
		return err
	}
	p.totals.APICalls = calls
	for item, err := range q.List(ctx, ids, queue.Held) {
		if err != nil {
			return err
		}
		p.totals.Waiting[item.Class]++
		p.say("waiting", planStep{Do: "wait", Root: p.roots[item.RootID].Path, Path: item.Path, Why: item.Reason},
			fmt.Sprintf("%s: %s", display(item.Path), item.Reason))
	}
	return p.removals(ctx, q, roots)
}

// rootNews tells of the roots what is not as it was when they were recorded.
func (p *plan) rootNews(ctx context.Context, q *queue.Queue, opened *openedRoots) error {
	p.totals.Roots = append(p.totals.Roots, opened.says...)
	for i := range opened.undecided {
		p.totals.Roots = append(p.totals.Roots, "needs decision: "+opened.undecided[i].why())
	}
	for i := range opened.roots {
		e, err := outsideFolder(ctx, q, &opened.roots[i])
		if err != nil {
			return err
		}
		if e != nil {
			p.totals.Roots = append(p.totals.Roots, e.advice())
		}
	}
	return nil
}

// removals tells what is absent and stays for now.
func (p *plan) removals(ctx context.Context, q *queue.Queue, roots []openRoot) error {
	for _, r := range roots {
		standing, err := q.Standing(ctx, r.state.ID)
		if err != nil {
			return err
		}
		if standing.Braked != "" {
			p.totals.Braked = append(p.totals.Braked, fmt.Sprintf("%s: %s", r.config.Path, standing.Braked))
		}
		for f, err := range q.AbsentFiles(ctx, r.state.ID) {
			if err != nil {
				return err
			}
			policy := r.config.Removal.Policy(f.Absent)
			if policy == uploader.Keep || f.Kept {
				p.totals.Do["keep"]++
				p.say("kept", planStep{Do: "keep", Root: r.config.Path, Path: f.Path, RemotePath: f.RemotePath, Why: f.Absent.String()},
					fmt.Sprintf("%s: %s; the library's copy stays at %s", display(f.Path), f.Absent, f.RemotePath))
				continue
			}
			at := f.AbsentAt.Add(r.config.Removal.After)
			step := planStep{Do: policy.String() + "_later", Root: r.config.Path, Path: f.Path, RemotePath: f.RemotePath, Why: f.Absent.String(), NotBefore: timestamp(at)}
			heading, when := "removed later", policy.String()
			if standing.Braked != "" && f.AbsentAt.After(standing.Approved) {
				p.totals.HeldBack++
				step.HeldBack = true
				heading, when = "held back", policy.String()+" when it is approved,"
			} else {
				p.totals.Pending++
			}
			p.say(heading, step, fmt.Sprintf("%s: %s; %s not before %s", display(f.Path), f.Absent, when, at.UTC().Format(time.RFC3339)))
		}
	}
	return nil
}

func (p *plan) skipped(rootID int64, path, rule string) {
	p.totals.Skipped[rule]++
	p.say("skipped", planStep{Do: "skip", Root: p.roots[rootID].Path, Path: path, Why: rule}, fmt.Sprintf("%s: %s", display(path), rule))
}

func (p *plan) scanned(rootID int64, r watcher.Report) {
	p.totals.Files += r.Files
	p.totals.Bytes += r.Bytes
	p.totals.InStep += r.InStep
	p.totals.Problems += r.Problems
	for _, problem := range r.Problem {
		p.say("unreadable", planStep{Do: "unreadable", Root: p.roots[rootID].Path, Path: problem.Path, Why: problem.Err.Error()},
			fmt.Sprintf("%s: %v", display(problem.Path), problem.Err))
	}
}

// step takes a step of the plan.
func (p *plan) step(s uploader.Step) {
	root := p.roots[s.RootID]
	p.totals.Do[s.Do] += s.Files
	p.totals.Send += s.Size
	out := planStep{Do: s.Do, Root: root.Path, Path: s.Path, From: s.From, RemotePath: s.Remote, FromRemote: s.FromRemote, Bytes: s.Size, Files: s.Files, Why: s.Why}
	line := ""
	switch s.Do {
	case uploader.StepUpload, uploader.StepUpdate:
		line = fmt.Sprintf("%s -> %s, %s", display(s.Path), s.Remote, humanize.Bytes(uint64(s.Size)))
		if s.Why != "" {
			line += "; " + s.Why
		}
	case uploader.StepMove, uploader.StepMoveFolder:
		if s.From == s.Path {
			line = fmt.Sprintf("%s: %s -> %s; %s", display(s.Path), s.FromRemote, s.Remote, s.Why)
			break
		}
		line = fmt.Sprintf("%s -> %s: %s -> %s", display(s.From), display(s.Path), s.FromRemote, s.Remote)
		if s.Do == uploader.StepMoveFolder {
			line += fmt.Sprintf(" as a whole, %s", files(s.Files))
		}
	case uploader.StepCopy:
		line = fmt.Sprintf("%s -> %s, from %s", display(s.Path), s.Remote, s.FromRemote)
	case uploader.StepAlias:
		line = fmt.Sprintf("%s: %s", display(s.Path), s.Remote)
	case uploader.StepTrash, uploader.StepDelete:
		line = fmt.Sprintf("%s: %s", s.FromRemote, s.Why)
	default:
		line = display(s.Path)
		if s.Why != "" {
			line += ": " + s.Why
		}
	}
	p.name(root, s, &out)
	p.say(headings[s.Do], out, line)
}

var headings = map[string]string{
	uploader.StepUpload: "upload", uploader.StepUpdate: "update", uploader.StepTouch: "touched", uploader.StepMove: "move", uploader.StepMoveFolder: "move folder",
	uploader.StepCopy: "copy", uploader.StepAlias: "the same", uploader.StepTrash: "to the trash", uploader.StepDelete: "delete", uploader.StepUnreadable: "unreadable",
}

// name notes when a file goes under another name than its own.
func (p *plan) name(root *config.Root, s uploader.Step, out *planStep) {
	if s.Do != uploader.StepUpload && s.Do != uploader.StepMove && s.Do != uploader.StepCopy {
		return
	}
	if s.Remote == path.Join("/", root.Folder, s.Path) {
		return
	}
	p.totals.Names++
	why := "mapped"
	if wanted, err := root.RemotePath(s.Path); err == nil && names.Key(wanted) != names.Key(s.Remote) {
		why = "collision"
	}
	out.Name = why
	p.list("names", fmt.Sprintf("%s -> %s (%s)", display(s.Path), s.Remote, map[string]string{
		"mapped": "characters that ImageKit does not keep", "collision": "another file has the name",
	}[why]))
}

// say tells a step: at once as JSON, or in its list.
func (p *plan) say(heading string, step planStep, line string) {
	if p.json {
		step.PathBase64, step.FromBase64 = bytesOf(step.Path), bytesOf(step.From)
		p.encode(step)
		return
	}
	p.list(heading, line)
}

// bytesOf gives a path's bytes for JSON, which would change those that are not UTF-8;
// "" for a path that it holds as it is.
func bytesOf(path string) string {
	if utf8.ValidString(path) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(path))
}

func (p *plan) list(heading, line string) {
	if p.json {
		return
	}
	if p.all || len(p.lists[heading]) < maxListed {
		p.lists[heading] = append(p.lists[heading], line)
	}
}

func (p *plan) encode(v any) {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a reader that has gone ends the process
}

// report prints the totals, and the lists.
func (p *plan) report() error {
	t := &p.totals
	if p.json {
		p.encode(map[string]any{"totals": t})
		return nil
	}
	fmt.Fprintf(p.out, "%s, %s; %s in step. Nothing was changed.\n", files(t.Files), humanize.Bytes(uint64(t.Bytes)), humanize.Comma(t.InStep))
	for _, text := range t.Roots {
		fmt.Fprintf(p.out, "  %s\n", text)
	}
	section := func(heading string, n int64, detail string) {
		if n == 0 {
			return
		}
		fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf("  %-13s %8s  %s", heading, humanize.Comma(n), detail), " "))
		lines := p.lists[heading]
		for _, line := range lines {
			fmt.Fprintf(p.out, "      %s\n", line)
		}
		if more := n - int64(len(lines)); more > 0 && len(lines) >= maxListed {
			fmt.Fprintf(p.out, "      and %s more (--all)\n", humanize.Comma(more))
		}
	}
	section("upload", t.Do[uploader.StepUpload], "")
	section("update", t.Do[uploader.StepUpdate], "new versions of files that are there")
	section("touched", t.Do[uploader.StepTouch], "read, found the same, not sent")
	section("move folder", t.Do[uploader.StepMoveFolder], "files whose folder is moved as a whole")
	section("move", t.Do[uploader.StepMove], "renamed or moved in the library; no byte sent")
	section("copy", t.Do[uploader.StepCopy], "the library has their content; no byte sent")
	section("the same", t.Do[uploader.StepAlias], "as other files: recorded with their fileIds, not sent")
	section("to the trash", t.Do[uploader.StepTrash], "")
	section("delete", t.Do[uploader.StepDelete], "for good")
	section("removed later", t.Pending, "when their grace (delete_after) is over")
	section("held back", t.HeldBack, "until they are approved (iksync approve)")
	section("kept", t.Do["keep"], "gone or left out; the library's copies stay")
	section("names", t.Names, "go under another name")
	section("waiting", sum(t.Waiting), counts(t.Waiting))
	section("skipped", sum(t.Skipped), counts(t.Skipped))
	section("unreadable", t.Problems+t.Do[uploader.StepUnreadable], "")
	for _, why := range t.Braked {
		fmt.Fprintf(p.out, "  nothing more is removed of %s (iksync approve)\n", why)
	}
	_, err := fmt.Fprintf(p.out, "To send: %s in %s, %s in all.\n", humanize.Bytes(uint64(t.Send)),
		files(t.Do[uploader.StepUpload]+t.Do[uploader.StepUpdate]), quantity(t.APICalls, "call")+" of the API")
	return err
}
