package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

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
	rebuild     bool
	all         bool
	result      adopted
	roots       map[int64]uploader.Root
	failed      bool                 // some files could not be looked at; they were named
	differing   map[queue.Place]bool // also those that could not be read or compared
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
	Unreadable int64        `json:"unreadable"` // here
	Unverified int64        `json:"could_not_be_compared"`
	// Unverifiable are those adopted files that have a pre-transformation: the library has
	// other bytes than are here.
	Unverifiable int64 `json:"can_not_be_compared"`
	// Unproven are the roots' records that were adopted without comparing contents, by
	// this run and earlier ones.
	Unproven int64  `json:"unproven"`
	APICalls int64  `json:"api_calls"`
	State    string `json:"state"`
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
	ad := &adopt{backfill: &backfill{app: a}, roots: make(map[int64]uploader.Root), differing: make(map[queue.Place]bool)}
	ad.result.There, ad.result.Here, ad.result.Different = []string{}, []string{}, []difference{} // in JSON no list is null
	cmd := &cobra.Command{
		Use:   "adopt {--config FILE [ROOT...] | DIR --to FOLDER}",
		Short: "Record files that are in the library already, without uploading them",
		Long: `adopt lists the library below the roots' folders and records the fileId of every
file that is just where the local one would go and has its size. Nothing is
uploaded, moved or deleted; the next backfill uploads what is left. The local
files are read, so that a later chmod or restored copy sends nothing.

It is also how a lost or damaged state file is made anew: --rebuild keeps what is
left of it under another name and begins with an empty one.

Sizes alone prove little, so the records are unproven: they are no source of a move
or copy. --verify-bytes downloads each file and compares contents before it is
recorded; iksync verify --hash does so later. With a pre-transformation
(transformation.pre) the library has other bytes than the disk: such files are
adopted by their names alone, and can't be proven.

Broken off and started again, adopt goes on where it was.`,
		RunE: func(cmd *cobra.Command, args []string) error { return ad.run(cmd.Context(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&ad.configFile, "config", "", "configuration `file` (YAML)")
	fs.StringVar(&ad.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	fs.BoolVar(&ad.json, "json", false, "print the result as JSON")
	fs.BoolVar(&ad.all, "all", false, fmt.Sprintf("name every file, not the first %d of a kind", maxListed))
	fs.BoolVar(&ad.verifyBytes, "verify-bytes", false, "download each file and compare its content")
	fs.BoolVar(&ad.rebuild, "rebuild", false, "set a damaged state file aside first, and make it anew")
	ad.rootFlags(fs, "")
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
	client, err := a.clientOf(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	if a.rebuild {
		if err := a.setAside(ctx, path); err != nil {
			return err
		}
	}
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
	if err := a.report(); err != nil || !a.failed {
		return err
	}
	return exit(exitFailed, nil)
}

// setAside renames a damaged state file. A sound one is left alone: it knows more
// than the library tells.
func (a *adopt) setAside(ctx context.Context, path string) error {
	db, err := state.Open(ctx, path)
	var corrupt *state.CorruptError
	switch {
	case err == nil:
		if err := db.Close(); err != nil {
			return exit(exitFailed, err)
		}
		fmt.Fprintf(a.err, "iksync: state file %s is sound, or new: it is used as it is\n", path)
		return nil
	case !errors.As(err, &corrupt) || !corrupt.Ours:
		return nil // told when it is opened
	}
	aside, err := state.SetAside(path, time.Now())
	if err != nil {
		return exit(exitConfig, err)
	}
	fmt.Fprintf(a.err, "iksync: the damaged state file is %s now\n", aside)
	return nil
}

func (a *adopt) adoptAll(ctx context.Context, cfg *config.Config, db *state.DB, client *imagekit.Client) error {
	opened, err := openRoots(ctx, db, cfg.Roots, rootsOf(cfg, nil, false))
	if err != nil {
		return err
	}
	roots := opened.roots
	defer closeRoots(roots)
	if err := opened.refuse(); err != nil {
		return err
	}
	for _, text := range opened.says {
		fmt.Fprintf(a.err, "iksync: %s\n", text)
	}
	q := newQueue(db)
	if _, err := q.Recover(ctx); err != nil {
		return exit(exitFailed, err)
	}
	unread := false
	for i := range roots {
		// The scan queues what has no record, each under its remote path: what is listed is looked for there.
		scanner := watcher.NewScanner(q, roots[i].scanOptions(cfg.Limits))
		if err := scanner.Run(ctx); err != nil {
			return exit(exitFailed, err)
		}
		for _, problem := range scanner.Report().Problem {
			unread = true
			fmt.Fprintf(a.err, "iksync: %s can't be read: %v\n", display(problem.Path), problem.Err)
		}
		a.roots[roots[i].state.ID] = roots[i].uploadRoot(cfg.Limits)
	}
	for i := range roots {
		s := &uploader.Survey{Client: client, Queue: q, RootID: roots[i].state.ID, Folder: roots[i].config.Folder, Skip: roots[i].config.Removal.TrashFolder}
		visit := func(again bool) func([]queue.Found) error {
			return func(found []queue.Found) error { return a.page(ctx, s, db, q, found, again) }
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
	unproven, err := q.Unproven(ctx)
	if err != nil {
		return exit(exitFailed, err)
	}
	for _, id := range rootIDs(roots) {
		a.result.Unproven += unproven[id]
	}
	for item, err := range q.List(ctx, rootIDs(roots), queue.Ready) {
		if err != nil {
			return exit(exitFailed, err)
		}
		at := queue.Place{RootID: item.RootID, Path: item.Path}
		if a.differing[at] {
			continue
		}
		recorded, err := db.FileAt(ctx, at.RootID, at.Path)
		if err != nil {
			return exit(exitFailed, err)
		}
		if recorded != nil {
			a.differs(at, difference{
				RemotePath: recorded.RemotePath, FileID: recorded.FileID, Detail: "it is not as it was recorded",
				Repair: "the next backfill compares it, and uploads a new version of what has changed",
			})
			continue
		}
		a.result.OnlyHere++
		a.name(&a.result.Here, display(item.Path))
	}
	if unread || a.result.Unreadable > 0 || a.result.Unverified > 0 {
		a.failed = true
	}
	return nil
}

// page takes a page of listed files.
func (a *adopt) page(ctx context.Context, s *uploader.Survey, db *state.DB, q *queue.Queue, found []queue.Found, again bool) error {
	matched, err := q.MatchAll(ctx, found)
	if err != nil {
		return err
	}
	var take []*queue.Matched
	for i := range matched {
		m := &matched[i]
		switch {
		case m.Match != queue.Unknown && a.roots[m.Place.RootID].Dir == nil: // of a root that is left out
		case m.Match == queue.Adoptable, m.Match == queue.OtherSize && m.File == 0 && a.prepares(m.Place):
			if !a.differing[m.Place] {
				take = append(take, m)
			}
		case m.Match == queue.OtherSize && m.File == 0:
			a.differs(m.Place, difference{
				RemotePath: m.Found.RemotePath, FileID: m.Found.FileID, Repair: newVersion,
				Detail: fmt.Sprintf("%s here, %s in the library", quantity(m.Size, "byte"), humanize.Comma(m.Found.Size)),
			})
		case m.Match == queue.OtherSize:
			a.differs(m.Place, difference{
				RemotePath: m.Found.RemotePath, FileID: m.Found.FileID, Repair: "iksync verify --repair",
				Detail: fmt.Sprintf("%s recorded, %s in the library", quantity(m.Size, "byte"), humanize.Comma(m.Found.Size)),
			})
		case m.Match == queue.OtherFileID:
			a.differs(m.Place, difference{
				RemotePath: m.Found.RemotePath, FileID: m.Found.FileID, Repair: "iksync verify --repair",
				Detail: "recorded with another fileId",
			})
		case again: // counted before
		case m.Match == queue.Unknown:
			recorded, err := db.FileByAsset(ctx, m.Found.FileID)
			if err != nil {
				return err
			}
			if recorded != nil && a.roots[recorded.RootID].Dir != nil {
				a.differs(queue.Place{RootID: recorded.RootID, Path: recorded.Path}, difference{
					RemotePath: recorded.RemotePath, FileID: recorded.FileID, Detail: "it is at " + m.Found.RemotePath + " in the library", Repair: "iksync verify --repair",
				})
				continue
			}
			a.result.OnlyThere++
			a.name(&a.result.There, m.Found.RemotePath)
		default:
			a.result.Known++
		}
	}
	adoptions, err := a.read(ctx, s, q.Mounts(), take)
	if err != nil {
		return err
	}
	done, err := q.Adopt(ctx, adoptions)
	if err != nil {
		return err
	}
	for i, ok := range done {
		if ok {
			a.result.Adopted++
			a.result.Bytes += adoptions[i].Stat.Size
			if a.prepares(adoptions[i].Place) {
				a.result.Unverifiable++
			}
		}
	}
	return nil
}

// prepares reports whether ImageKit stores another content than the file of a place has.
func (a *adopt) prepares(at queue.Place) bool {
	params := a.roots[at.RootID].Params(at.Path)
	return params.Prepares()
}

// newVersion is how most differences end.
const newVersion = "the next backfill uploads a new version"

func (a *adopt) differs(at queue.Place, d difference) {
	if a.differing[at] {
		return // a second listing shows it again
	}
	a.differing[at] = true
	a.result.Differ++
	if a.all || len(a.result.Different) < maxListed {
		d.Kind, d.Root, d.Path = "differs", a.roots[at.RootID].Dir.Name(), display(at.Path)
		a.result.Different = append(a.result.Different, d)
	}
}

// reading is what became of a file that could be adopted.
type reading struct {
	queue.Adoption
	err       error // the local file can't be read, or changes
	different bool
	unclear   error // why the library's file can't be compared
}

// read reads the files that could be adopted, and with --verify-bytes those of the library.
// It returns what is adopted, and tells of the others.
func (a *adopt) read(ctx context.Context, s *uploader.Survey, mounts *state.Mounts, take []*queue.Matched) ([]queue.Adoption, error) {
	const atOnce = 4
	readings := make([]reading, len(take))
	calls := make([]int64, len(take)) // s counts for one goroutine alone
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, m := range take {
		r := &readings[i]
		r.Adoption = queue.Adoption{Found: m.Found, Place: m.Place}
		root := a.roots[m.Place.RootID]
		group.Go(func() error {
			if r.Stat, r.Hash, r.err = root.LocalContent(gctx, mounts, m.Place.Path, m.SeenAt); r.err == nil && !r.Stat.Same(m.Stat) {
				r.err = errChangedSince
			}
			if r.err != nil || !a.verifyBytes || a.prepares(m.Place) {
				return gctx.Err()
			}
			own := uploader.Survey{Client: s.Client}
			there, err := own.ContentOf(gctx, m.Found)
			calls[i] = own.Calls
			r.Proven, r.different, r.unclear = err == nil && there == r.Hash, err == nil && there != r.Hash, err
			var api *imagekit.Error
			if errors.As(err, &api) && api.Class == imagekit.Offline {
				return fmt.Errorf("the library's files can't be downloaded: %w", err) // none can
			}
			return gctx.Err()
		})
	}
	err := group.Wait()
	for _, n := range calls {
		s.Calls += n
	}
	if err != nil {
		return nil, err
	}
	var adoptions []queue.Adoption
	for i := range readings {
		r := &readings[i]
		switch {
		case r.err != nil:
			a.result.Unreadable++
			a.differing[r.Place] = true
			fmt.Fprintf(a.err, "iksync: %s is not adopted: %v\n", display(r.Place.Path), r.err)
		case r.unclear != nil:
			a.result.Unverified++
			a.differing[r.Place] = true
			fmt.Fprintf(a.err, "iksync: %s could not be compared: %v\n", display(r.Place.Path), r.unclear)
		case r.different:
			a.differs(r.Place, difference{
				RemotePath: r.Found.RemotePath, FileID: r.Found.FileID, Detail: "the same size, and another content", Repair: newVersion,
			})
		default:
			adoptions = append(adoptions, r.Adoption)
		}
	}
	return adoptions, nil
}

// errChangedSince says that a file is not as the scan saw it.
var errChangedSince = errors.New("the file changed since it was scanned; run adopt again")

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
		different = append(different, fmt.Sprintf("%s (%s): %s", d.Path, d.RemotePath, d.Detail+"; "+d.Repair))
	}
	line("differ", r.Differ, "not adopted", different)
	line("only here", r.OnlyHere, "the next backfill uploads them", r.Here)
	line("only there", r.OnlyThere, "nothing is done about them", r.There)
	line("unreadable", r.Unreadable, "not adopted: these files can't be read here, or change", nil)
	line("unclear", r.Unverified, "could not be compared, so not adopted: the next backfill uploads new versions", nil)
	line("by name", r.Unverifiable, "adopted, can't be compared: with transformation.pre the library has other bytes", nil)
	line("unproven", r.Unproven, "of the records: adopted without comparing contents; iksync verify --hash compares them", nil)
	_, err := fmt.Fprintf(a.out, "State file: %s\n", r.State)
	return err
}
