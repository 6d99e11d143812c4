package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"iksync/cmd/iksync/internal/config"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// maxAgain bounds the folders that are listed once more.
const maxAgain = 200

// adopt is one run of the command.
type adopt struct {
	*backfill
	verifyBytes bool
	all         bool
	result      adopted
	differing   map[queue.Place]bool
}

// adopted is what came of it, in the form of --json.
type adopted struct {
	Adopted    int64        `json:"adopted"`
	Bytes      int64        `json:"bytes"`
	Known      int64        `json:"known"` // had their records before
	OnlyThere  int64        `json:"only_in_library"`
	OnlyHere   int64        `json:"only_here"`
	Differ     int64        `json:"differ"`
	There      []string     `json:"only_in_library_first"`
	Here       []string     `json:"only_here_first"`
	Different  []difference `json:"differ_first"`
	Unverified int64        `json:"could_not_be_compared"`
	APICalls   int64        `json:"api_calls"`
	State      string       `json:"state"`
}

// difference is one between here and the library.
type difference struct {
	Kind       string `json:"kind"`
	Root       string `json:"root,omitempty"`
	Path       string `json:"path,omitempty"`
	RemotePath string `json:"remote_path,omitempty"`
	FileID     string `json:"file_id,omitempty"`
	Detail     string `json:"detail"`
	Repair     string `json:"repair"`
}

func (a *app) adoptCommand() *cobra.Command {
	ad := &adopt{backfill: &backfill{app: a}, differing: make(map[queue.Place]bool)}
	cmd := &cobra.Command{
		Use:   "adopt {--config FILE [ROOT...] | DIR --to FOLDER}",
		Short: "Record files that are in the library already, without uploading them",
		Long: `adopt lists the library below the roots' folders and records the fileId of every
file that is just where the local one would go and has its size. Nothing is
uploaded, moved or deleted; the next backfill uploads what is left.

It is also how a lost state file is made anew: move away what is left of it, and
adopt. Sizes alone prove little: --verify-bytes downloads each file and compares
contents. Broken off and started again, it goes on where it was.`,
		RunE: func(cmd *cobra.Command, args []string) error { return ad.run(cmd.Context(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&ad.configFile, "config", "", "configuration `file` (YAML)")
	fs.StringVar(&ad.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	fs.BoolVar(&ad.json, "json", false, "print the result as JSON")
	fs.BoolVar(&ad.all, "all", false, fmt.Sprintf("name every file, not the first %d of a kind", maxListed))
	fs.BoolVar(&ad.verifyBytes, "verify-bytes", false, "download each file and compare its content")
	ad.rootFlags(fs)
	ad.params = addParamFlags(fs)
	return cmd
}

func (a *adopt) run(ctx context.Context, args []string) error {
	cfg, err := a.configure(args)
	if err != nil {
		return err
	}
	path, err := a.statePath(a.stateFile, cfg.State)
	if err != nil {
		return err
	}
	if err := outsideRoots("the state file", path, cfg.Roots); err != nil {
		return err
	}
	client, err := a.reader(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	db, err := openState(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	a.result.State = db.Path()
	err = a.adoptAll(ctx, cfg, db, client)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(a.err, "iksync: interrupted; started again, adopt goes on where it was")
		return exit(exitInterrupted, nil)
	case keyRefused(err):
		return exit(exitKey, fmt.Errorf("ImageKit refuses the private key: %w", err))
	case err != nil:
		return err
	}
	return a.report()
}

func (a *adopt) adoptAll(ctx context.Context, cfg *config.Config, db *state.DB, client *imagekit.Client) error {
	roots, err := openRoots(ctx, db, cfg.Roots)
	if err != nil {
		return err
	}
	defer closeRoots(roots)
	q := newQueue(db)
	if _, err := q.Recover(ctx); err != nil {
		return exit(exitFailed, err)
	}
	byID := make(map[int64]uploader.Root)
	for i := range roots {
		// The scan queues what has no record, each under its remote path: what is listed is looked for there.
		if err := watcher.NewScanner(q, roots[i].scanOptions(cfg.Limits)).Run(ctx); err != nil {
			return exit(exitFailed, err)
		}
		byID[roots[i].state.ID] = roots[i].uploadRoot(cfg.Limits)
	}
	for i := range roots {
		s := &uploader.Survey{Client: client, Queue: q, RootID: roots[i].state.ID, Folder: roots[i].config.Folder, Skip: roots[i].config.Removal.TrashFolder}
		visit := func(again bool) func([]queue.Found) error {
			return func(found []queue.Found) error { return a.page(ctx, s, q, byID, found, again) }
		}
		err := s.Run(ctx, visit(false))
		if err == nil {
			err = s.Again(ctx, maxAgain, visit(true))
		}
		if err == nil {
			err = q.EndSurvey(ctx, roots[i].state.ID)
		}
		a.result.APICalls += s.Calls
		if err != nil {
			return exit(exitFailed, err)
		}
	}
	for item, err := range q.List(ctx, rootIDs(roots), queue.Ready) {
		if err != nil {
			return exit(exitFailed, err)
		}
		if a.differing[queue.Place{RootID: item.RootID, Path: item.Path}] {
			continue
		}
		a.result.OnlyHere++
		a.name(&a.result.Here, display(item.Path))
	}
	return nil
}

// page takes a page of listed files.
func (a *adopt) page(ctx context.Context, s *uploader.Survey, q *queue.Queue, roots map[int64]uploader.Root, found []queue.Found, again bool) error {
	matched, err := q.MatchAll(ctx, found)
	if err != nil {
		return err
	}
	var take []*queue.Found
	for i := range matched {
		m := &matched[i]
		switch {
		case m.Match == queue.Adoptable:
			take = append(take, m.Found)
		case again: // counted before
		case m.Match == queue.Unknown:
			a.result.OnlyThere++
			a.name(&a.result.There, m.Found.RemotePath)
		case m.Match == queue.OtherSize:
			a.differs(m, fmt.Sprintf("%s here, %s in the library", humanize.Comma(m.Size), humanize.Comma(m.Found.Size)))
		default:
			a.result.Known++
		}
	}
	if a.verifyBytes {
		if take, err = a.compare(ctx, s, roots, matched); err != nil {
			return err
		}
	}
	done, err := q.Adopt(ctx, take)
	if err != nil {
		return err
	}
	for i, ok := range done {
		if ok {
			a.result.Adopted++
			a.result.Bytes += take[i].Size
		}
	}
	return nil
}

func (a *adopt) differs(m *queue.Matched, detail string) {
	if a.differing[m.Place] {
		return // a second listing shows it again
	}
	a.differing[m.Place] = true
	a.result.Differ++
	if a.all || len(a.result.Different) < maxListed {
		a.result.Different = append(a.result.Different, difference{
			Kind: "differs", Path: display(m.Place.Path), RemotePath: m.Found.RemotePath, FileID: m.Found.FileID, Detail: detail,
			Repair: "the next backfill uploads a new version",
		})
	}
}

// compare downloads what could be adopted, and keeps what has the content of the
// local file.
func (a *adopt) compare(ctx context.Context, s *uploader.Survey, roots map[int64]uploader.Root, matched []queue.Matched) ([]*queue.Found, error) {
	const atOnce = 4
	same := make([]bool, len(matched))
	why := make([]error, len(matched))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range matched {
		m := &matched[i]
		if m.Match != queue.Adoptable || a.differing[m.Place] {
			continue
		}
		root := roots[m.Place.RootID]
		group.Go(func() error {
			here, err := root.LocalContent(gctx, m.Place.Path, m.Size)
			if err == nil {
				m.Found.Hash, err = s.ContentOf(gctx, m.Found)
			}
			same[i], why[i] = err == nil && here == m.Found.Hash, err
			return gctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var take []*queue.Found
	for i := range matched {
		switch m := &matched[i]; {
		case m.Match != queue.Adoptable || a.differing[m.Place]:
		case same[i]:
			take = append(take, m.Found)
		case why[i] != nil:
			a.result.Unverified++
			fmt.Fprintf(a.err, "iksync: %s could not be compared: %v\n", display(m.Place.Path), why[i])
		default:
			a.differs(m, "the same size, and another content")
		}
	}
	return take, nil
}

func (a *adopt) name(list *[]string, path string) {
	if a.all || len(*list) < maxListed {
		*list = append(*list, path)
	}
}

func (a *adopt) report() error {
	r := &a.result
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Fprintf(a.out, "Adopted: %s, %s, with %s.\n", files(r.Adopted), humanize.Bytes(uint64(r.Bytes)), quantity(r.APICalls, "call")+" of the API")
	line := func(what string, n int64, detail string, first []string) {
		if n <= 0 {
			return
		}
		fmt.Fprintln(a.out, strings.TrimRight(fmt.Sprintf("  %-10s %8s  %s", what, humanize.Comma(n), detail), " "))
		for _, path := range first {
			fmt.Fprintf(a.out, "      %s\n", path)
		}
		if rest := n - int64(len(first)); rest > 0 && first != nil {
			fmt.Fprintf(a.out, "      and %s more (--all)\n", humanize.Comma(rest))
		}
	}
	line("known", r.Known, "recorded before", nil)
	var different []string
	for _, d := range r.Different {
		different = append(different, fmt.Sprintf("%s (%s): %s", d.Path, d.RemotePath, d.Detail))
	}
	line("differ", r.Differ, "the next backfill uploads new versions", different)
	line("only here", r.OnlyHere, "the next backfill uploads them", r.Here)
	line("only there", r.OnlyThere, "nothing is done about them", r.There)
	line("unclear", r.Unverified, "could not be compared, so not adopted", nil)
	_, err := fmt.Fprintf(a.out, "State file: %s\n", r.State)
	return err
}
