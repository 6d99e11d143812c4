package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// Kinds of differences.
const (
	diffLocal    = "not_in_step"        // disk and records differ: a backfill mends it
	diffMissing  = "missing_in_library" // recorded, and not in the library
	diffMoved    = "moved_in_library"   // somebody moved or renamed the asset
	diffReplaced = "other_file"         // another asset is at the path
	diffSize     = "other_size"         // the library has another content
	diffContent  = "other_content"      // the same by its bytes, of the same size
	diffUnclear  = "not_compared"       // contents could not be compared
)

// verification is one run of the command.
type verification struct {
	*backfill
	sample  int
	all     bool
	repair  bool
	hash    bool
	roots   map[int64]*config.Root
	forms   map[int64]*queue.Found // files that the library has under the other form of a record's name
	report  verified
	repairs []repair
	hashes  *hashCheck
}

// verified is what came of it, in the form of --json.
type verified struct {
	InStep    bool             `json:"in_step"`
	Files     int64            `json:"files"`
	Checked   int64            `json:"records_checked"`
	Differ    map[string]int64 `json:"differ"`
	First     []difference     `json:"differ_first"`
	OnlyThere int64            `json:"only_in_library"`
	There     []string         `json:"only_in_library_first"`
	Kept      int64            `json:"kept"` // copies of files that are gone
	Braked    []string         `json:"braked,omitempty"`
	Compared  int64            `json:"contents_compared"`
	// Proven are unproven records whose assets were found to have the content of their
	// files, and that are recorded as such; Unproven those that are left.
	Proven   int64 `json:"proven"`
	Unproven int64 `json:"unproven"`
	// Unverifiable are files with a pre-transformation: the library has other bytes.
	Unverifiable int64 `json:"can_not_be_compared"`
	// NotRecorded is why proofs could not be recorded.
	NotRecorded string `json:"not_recorded,omitempty"`
	APICalls    int64  `json:"api_calls"`
}

// repair mends one difference in the state file.
type repair struct {
	kind   string
	file   int64
	fileID string
	at     *queue.Location
	same   bool // the asset at the place has the content that is recorded
}

func (a *app) verifyCommand() *cobra.Command {
	v := &verification{backfill: &backfill{app: a}, roots: make(map[int64]*config.Root), forms: make(map[int64]*queue.Found)}
	v.report.Differ, v.report.First, v.report.There = make(map[string]int64), []difference{}, []string{} // in JSON none is null
	cmd := &cobra.Command{
		Use:   "verify {--config FILE [ROOT...] | DIR --to FOLDER} [--sample N]",
		Short: "Compare disk, records and library",
		Long: `verify compares what is on the disk, what is recorded, and what the library has:
every file by its listings, or with --sample N some records by asking for each. It
prints each difference and what mends it. Exit code 0: in step; 1: there are differences.

--hash downloads files and compares their contents with the recorded hashes: of records
that are unproven (adopted without comparing), and of assets in another version than
was recorded. With --all it is every record, with --sample every one of the sample. What is equal
is recorded as proven, also by a running daemon, so that verify goes on there when it is
broken off. What differs is other_content. A file with a pre-transformation can't be
compared.

--repair mends them: records follow assets that were moved in the dashboard, what is
missing or has another content is uploaded again, and the backfill that is due is
done. Nothing in the library is deleted by it, but for what the roots' policies say.

An asset that has another fileId, or was moved and changed, is downloaded then: without
the recorded content it gets a new version.

Without --repair and --hash it only reads, also beside a running daemon, and needs no write
access to the library.`,
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&v.configFile, "config", "", "configuration `file` (YAML)")
	fs.StringVar(&v.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	fs.IntVar(&v.sample, "sample", 0, "check `N` records of each root, any, instead of all")
	fs.BoolVar(&v.all, "all", false, fmt.Sprintf("check all records (the default), and name every difference, not the first %d", maxListed))
	fs.BoolVar(&v.hash, "hash", false, "download what is not proven, and compare contents")
	fs.BoolVar(&v.repair, "repair", false, "mend the differences")
	fs.BoolVar(&v.json, "json", false, "print the result as JSON")
	v.rootFlags(fs, "")
	v.params = addParamFlags(fs)
	return cmd
}

func (v *verification) run(ctx context.Context, args []string) (err error) {
	if v.sample < 0 || v.sample > 0 && v.all {
		return usage("give --all, or --sample and a number above 0")
	}
	cfg, err := v.configure(args)
	if err != nil {
		return err
	}
	path, err := v.statePath(v.stateFile, cfg.State)
	if err != nil {
		return err
	}
	client, err := v.clientOf(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	v.hashes = newHashCheck(v, client, path)
	err = onCopy(ctx, cfg, path, false, func(db *state.DB, q *queue.Queue, opened *openedRoots) error {
		if err := opened.refuse(); err != nil {
			return err
		}
		roots := opened.roots
		return v.compare(ctx, cfg, db, q, roots, client)
	})
	v.hashes.record(context.WithoutCancel(ctx))
	v.report.Unproven -= v.report.Proven
	if err != nil {
		if ctx.Err() != nil {
			if v.report.Proven > 0 {
				fmt.Fprintf(v.err, "iksync: interrupted; %s proven, and verify --hash goes on there\n", quantity(v.report.Proven, "record was", "records were"))
			}
			return exit(exitInterrupted, nil)
		}
		if keyRefused(err) {
			return exit(exitKey, fmt.Errorf("ImageKit refuses the private key: %w", err))
		}
		return err
	}
	v.report.InStep = len(v.report.Differ) == 0
	if err := v.print(); err != nil {
		return err
	}
	if v.report.NotRecorded != "" && (v.report.InStep || !v.repair) {
		return exit(exitFailed, nil)
	}
	if v.report.InStep {
		return nil
	}
	if !v.repair {
		return exit(exitFailed, nil)
	}
	return v.mend(ctx, cfg, path, client)
}

// compare makes the comparison, on a copy of the state file.
func (v *verification) compare(ctx context.Context, cfg *config.Config, db *state.DB, q *queue.Queue, roots []openRoot, client *imagekit.Client) error {
	for i := range roots {
		v.roots[roots[i].state.ID] = roots[i].config
		v.hashes.roots[roots[i].state.ID] = roots[i].uploadRoot(cfg.Limits)
		if err := q.EndSurvey(ctx, roots[i].state.ID); err != nil { // of the original
			return err
		}
		if err := v.library(ctx, db, q, client, &roots[i]); err != nil {
			return err
		}
	}
	unproven, err := q.Unproven(ctx)
	if err != nil {
		return err
	}
	for i := range roots {
		v.report.Unproven += unproven[roots[i].state.ID]
	}
	// The disk comes last: what it plans changes the copy.
	if err := v.disk(ctx, cfg, db, q, roots); err != nil {
		return err
	}
	return nil
}

// library compares the records of a root with the library.
func (v *verification) library(ctx context.Context, db *state.DB, q *queue.Queue, client *imagekit.Client, root *openRoot) error {
	s := &uploader.Survey{Client: client, Queue: q, RootID: root.state.ID, Folder: root.config.Folder, Skip: root.config.Removal.TrashFolder}
	defer func() { v.report.APICalls += s.Calls }()
	v.hashes.mounts = q.Mounts()
	if err := v.records(ctx, db, q, s, root); err != nil {
		return err
	}
	return v.hashes.compare(ctx, s)
}

func (v *verification) records(ctx context.Context, db *state.DB, q *queue.Queue, s *uploader.Survey, root *openRoot) error {
	if v.sample > 0 {
		for f, err := range q.Sample(ctx, root.state.ID, v.sample) {
			if err == nil {
				err = v.ask(ctx, s, f)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.Run(ctx, func(found []queue.Found) error { return v.page(ctx, db, q, s, found) }); err != nil {
		return err
	}
	// What no listing has shown is asked for by itself: no listing is a proof.
	for f, err := range q.Unseen(ctx, root.state.ID) {
		if err == nil {
			err = v.ask(ctx, s, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// page compares a page of listed files with their records.
func (v *verification) page(ctx context.Context, db *state.DB, q *queue.Queue, s *uploader.Survey, found []queue.Found) error {
	matched, err := q.MatchAll(ctx, found)
	if err != nil {
		return err
	}
	for i := range matched {
		m := &matched[i]
		if m.File == 0 {
			recorded, err := db.FileByAsset(ctx, m.Found.FileID)
			if err != nil {
				return err
			}
			if recorded != nil {
				continue // it was moved: its record is asked for
			}
			if other, err := q.FormOf(ctx, m.Found.RemotePath); err != nil {
				return err
			} else if other != 0 {
				v.forms[other] = m.Found // is what became of its asset, should that be gone
			}
			v.report.OnlyThere++
			if v.all || len(v.report.There) < maxListed {
				v.report.There = append(v.report.There, m.Found.RemotePath)
			}
			continue
		}
		v.report.Checked++
		if v.roots[m.Place.RootID] == nil {
			continue // of a root that is left out
		}
		d := difference{Root: v.roots[m.Place.RootID].Path, Path: display(m.Place.Path), RemotePath: m.Found.RemotePath, FileID: m.Found.FileID}
		switch m.Match {
		case queue.Recorded, queue.OtherFileID:
			if m.Match == queue.Recorded && !v.hash {
				continue
			}
			f, err := db.FileByID(ctx, m.File)
			if err != nil || f == nil {
				return err
			}
			if m.Match == queue.OtherFileID {
				err = v.replaced(ctx, s, d, f, m.Found)
			} else {
				err = v.hashes.check(ctx, s, d, f, m.Found)
			}
			if err != nil {
				return err
			}
		case queue.OtherSize:
			v.otherSize(d, m.File, m.Size, m.Found.Size, m.Found.FileID)
		}
	}
	return nil
}

// ask compares one record with what the library says of its fileId.
func (v *verification) ask(ctx context.Context, s *uploader.Survey, f *state.File) error {
	found, err := s.Details(ctx, f.FileID)
	if err != nil {
		return err
	}
	v.report.Checked++
	root := v.roots[f.RootID]
	if root == nil {
		return nil
	}
	d := difference{Root: root.Path, Path: display(f.Path), RemotePath: f.RemotePath, FileID: f.FileID}
	switch {
	case found == nil && v.forms[f.ID] != nil && v.forms[f.ID].Size == f.LibrarySize():
		at := v.forms[f.ID]
		v.report.OnlyThere--
		v.report.There = slices.DeleteFunc(v.report.There, func(remote string) bool { return remote == at.RemotePath })
		d.RemotePath, d.FileID = at.RemotePath, at.FileID
		return v.replaced(ctx, s, d, f, at)
	case found == nil:
		d.Kind, d.Detail, d.Repair = diffMissing, "the library has no file of that fileId", "it is uploaded again"
		v.add(d, repair{kind: diffMissing, file: f.ID, fileID: f.FileID})
	case found.RemotePath != f.RemotePath:
		return v.moved(ctx, s, d, f, found)
	case found.Size != f.LibrarySize():
		v.otherSize(d, f.ID, f.LibrarySize(), found.Size, f.FileID)
	case v.hash:
		return v.hashes.check(ctx, s, d, f, found)
	}
	return nil
}

func (v *verification) moved(ctx context.Context, s *uploader.Survey, d difference, f *state.File, found *queue.Found) (err error) {
	r := repair{kind: diffMoved, file: f.ID, fileID: f.FileID, at: &found.Location, same: found.VersionID == f.VersionID}
	d.Kind, d.Detail, d.Repair = diffMoved, "it is at "+found.RemotePath+" in the library", "its record follows it"
	if !r.same {
		d.Repair = "its record follows it, and it is uploaded as a new version if its content is another"
		if r.same, err = v.hashes.sameContent(ctx, s, f, found); err != nil {
			return err
		}
	}
	v.add(d, r)
	return nil
}

func (v *verification) replaced(ctx context.Context, s *uploader.Survey, d difference, f *state.File, found *queue.Found) error {
	same, err := v.hashes.sameContent(ctx, s, f, found)
	if err != nil {
		return err
	}
	d.Kind, d.Detail = diffReplaced, "another file of the same size is at its path"
	d.Repair = "its record takes the fileId if the content is the same; otherwise it is uploaded as a new version"
	v.add(d, repair{kind: diffReplaced, file: f.ID, fileID: f.FileID, at: &found.Location, same: same})
	return nil
}

func (v *verification) otherSize(d difference, file, here, there int64, fileID string) {
	d.Kind, d.Repair = diffSize, "it is uploaded as a new version"
	d.Detail = fmt.Sprintf("%s bytes are recorded, %s are in the library", humanize.Comma(here), humanize.Comma(there))
	v.add(d, repair{kind: diffSize, file: file, fileID: fileID})
}

func (v *verification) add(d difference, r repair) {
	v.report.Differ[d.Kind]++
	if v.all || len(v.report.First) < maxListed {
		v.report.First = append(v.report.First, d)
	}
	if r.kind != "" {
		v.repairs = append(v.repairs, r)
	}
}

// disk compares the disk with the records: what a backfill would do.
func (v *verification) disk(ctx context.Context, cfg *config.Config, db *state.DB, q *queue.Queue, roots []openRoot) error {
	o := uploader.Options{Log: zap.NewNop()}
	for i := range roots {
		s := watcher.NewScanner(q, roots[i].scanOptions(cfg.Limits))
		if err := s.Run(ctx); err != nil {
			return err
		}
		report := s.Report()
		v.report.Files += report.Files
		for _, problem := range report.Problem {
			v.add(difference{Kind: diffLocal, Root: roots[i].config.Path, Path: display(problem.Path), Detail: "unreadable: " + problem.Err.Error(), Repair: "make it readable"}, repair{})
		}
		o.Roots = append(o.Roots, roots[i].uploadRoot(cfg.Limits))
	}
	_, err := uploader.New(db, q, o).Plan(ctx, nil, func(s uploader.Step) {
		if s.Do == uploader.StepTouch {
			return
		}
		v.add(difference{Kind: diffLocal, Root: v.roots[s.RootID].Path, Path: display(s.Path), RemotePath: cmp.Or(s.Remote, s.FromRemote), Detail: toDo(s), Repair: "backfill"}, repair{})
	})
	if err != nil {
		return err
	}
	for item, err := range q.List(ctx, rootIDs(roots), queue.Failed) {
		if err != nil {
			return err
		}
		v.add(difference{Kind: diffLocal, Root: v.roots[item.RootID].Path, Path: display(item.Path), Detail: "failed: " + item.Reason, Repair: "backfill tries again"}, repair{})
	}
	for _, r := range roots {
		standing, err := q.Standing(ctx, r.state.ID)
		if err != nil {
			return err
		}
		if standing.Braked != "" {
			v.report.Braked = append(v.report.Braked, fmt.Sprintf("%s: %s", r.config.Path, standing.Braked))
		}
		v.report.Kept += standing.Absent + standing.Kept
	}
	return nil
}

// toDo says what a backfill would do.
func toDo(s uploader.Step) string {
	switch s.Do {
	case uploader.StepUpload:
		return "to be uploaded"
	case uploader.StepUpdate:
		return "to be uploaded as a new version"
	case uploader.StepMove, uploader.StepMoveFolder:
		if s.From == s.Path {
			return "to be renamed in the library, from " + s.FromRemote + ": " + s.Why
		}
		return "to be moved in the library, as here from " + display(s.From)
	case uploader.StepCopy:
		return "to be copied in the library, from " + s.FromRemote
	case uploader.StepAlias:
		return "to be recorded as the same as " + display(s.From)
	case uploader.StepTrash:
		return s.Why + ", its copy to be moved to the trash folder"
	case uploader.StepDelete:
		return s.Why + ", its copy to be deleted"
	}
	return strings.TrimSuffix(s.Do+": "+s.Why, ": ")
}

func (v *verification) print() error {
	r := &v.report
	if v.json {
		enc := json.NewEncoder(v.out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if r.InStep {
		fmt.Fprintf(v.out, "In step: %s; %s checked with %s of the API.\n", files(r.Files), quantity(r.Checked, "record"), quantity(r.APICalls, "call"))
	} else {
		fmt.Fprintf(v.out, "Not in step: %s in %s; %s checked with %s of the API.\n", quantity(sum(r.Differ), "difference"), files(r.Files),
			quantity(r.Checked, "record"), quantity(r.APICalls, "call"))
		fmt.Fprintf(v.out, "  %s\n", counts(r.Differ))
	}
	for _, d := range r.First {
		at := ""
		if d.RemotePath != "" {
			at = " (" + d.RemotePath + ")"
		}
		fmt.Fprintf(v.out, "      %s%s: %s; repair: %s\n", d.Path, at, d.Detail, d.Repair)
	}
	if rest := sum(r.Differ) - int64(len(r.First)); rest > 0 {
		fmt.Fprintf(v.out, "      and %s more (--all)\n", humanize.Comma(rest))
	}
	if v.hash {
		fmt.Fprintf(v.out, "  contents: %s compared, %s proven\n", files(r.Compared), quantity(r.Proven, "record"))
	}
	if r.Unverifiable > 0 {
		fmt.Fprintf(v.out, "  %s with a pre-transformation: the library has other bytes, which can't be compared\n", files(r.Unverifiable))
	}
	if r.Unproven > 0 {
		fmt.Fprintf(v.out, "  %s adopted without comparing contents (iksync verify --hash)\n", quantity(r.Unproven, "record was", "records were"))
	}
	if r.NotRecorded != "" {
		fmt.Fprintf(v.out, "  what was proven could not be recorded: %s\n", r.NotRecorded)
	}
	if r.Kept > 0 {
		fmt.Fprintf(v.out, "  %s gone or left out here; their copies are in the library\n", files(r.Kept))
	}
	for _, why := range r.Braked {
		fmt.Fprintf(v.out, "  nothing more is removed of %s (iksync approve)\n", why)
	}
	if r.OnlyThere > 0 {
		fmt.Fprintf(v.out, "  %s only in the library; nothing is done about them\n", files(r.OnlyThere))
	}
	for _, path := range r.There {
		fmt.Fprintf(v.out, "      %s\n", path)
	}
	return nil
}

// mend mends the records, and does the backfill that is due then.
func (v *verification) mend(ctx context.Context, cfg *config.Config, path string, client *imagekit.Client) error {
	if err := v.mendRecords(ctx, path); err != nil {
		return err
	}
	result, err := v.sync(ctx, cfg, client, path)
	if err != nil {
		return err
	}
	if v.json {
		return result.exit()
	}
	if err := v.backfill.report(result); err != nil {
		return err
	}
	return result.exit()
}

func (v *verification) mendRecords(ctx context.Context, path string) error {
	db, err := openState(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	q := newQueue(db)
	for _, r := range v.repairs {
		var err error
		switch r.kind {
		case diffMissing:
			err = q.LostAsset(ctx, r.file, r.fileID)
		case diffMoved:
			err = q.Locate(ctx, r.file, r.at)
			if errors.Is(err, state.ErrRemoteTaken) {
				err = q.LostAsset(ctx, r.file, r.fileID)
			} else if err == nil && !r.same {
				err = q.Suspect(ctx, r.file, r.fileID)
			}
		case diffReplaced:
			if !r.same {
				err = q.Suspect(ctx, r.file, r.fileID)
				break
			}
			err = q.Locate(ctx, r.file, r.at)
			if errors.Is(err, state.ErrRemoteTaken) {
				err = q.LostAsset(ctx, r.file, r.fileID)
			}
		case diffSize, diffContent:
			err = q.Suspect(ctx, r.file, r.fileID)
		}
		if err != nil {
			return exit(exitFailed, err)
		}
	}
	return nil
}
