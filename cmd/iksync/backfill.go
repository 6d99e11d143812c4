package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

const (
	// maxAttempts is after how many failed attempts a file is listed as failed by
	// a command that is to end some day: with full jitter, some two minutes.
	maxAttempts = 8
	// grace is how long uploads in flight may finish after Ctrl-C.
	grace = 10 * time.Second
)

// backfill is one run of the command.
type backfill struct {
	*app
	configFile string
	adHoc      config.AdHoc
	workers    int
	params     *paramFlags
	stateFile  string
	emulated   bool
	emulator   emulatorFlags
	serve      bool
	newRoot    bool
	rehome     bool // move assets into the folders of their roots
	json       bool
	noProgress bool
}

func (a *app) backfillCommand() *cobra.Command {
	b := &backfill{app: a}
	cmd := &cobra.Command{
		Use:   "backfill {--config FILE [ROOT...] | DIR --to FOLDER | DIR --emulator}",
		Short: "Upload what is missing or changed, once, and record every fileId",
		Long: `backfill walks the roots, uploads what is missing or changed, records every
fileId, and ends. Interrupted at any point and started again, it continues where
it was. What was refused before is tried again. Where a daemon is running it does the
work, and backfill shows how it goes on.

ROOT is the path or the folder of a root in the configuration. Without --config,
DIR is the one root and the flags below describe it.`,
		Example: `  iksync backfill --config /etc/iksync/config.yaml
  IMAGEKIT_PRIVATE_KEY=... iksync backfill ~/Pictures --to /photos
  iksync backfill ~/Pictures --emulator    # try it without an account`,
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&b.configFile, "config", "", "configuration `file` (YAML)")
	fs.StringVar(&b.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	fs.BoolVar(&b.json, "json", false, "print the summary as JSON")
	fs.BoolVar(&b.noProgress, "no-progress", false, "no bars on a terminal")
	addWorkersFlag(fs, &b.workers)
	fs.BoolVar(&b.emulated, "emulator", false, "upload into the embedded emulator instead of ImageKit; with a state file of its own")
	fs.StringVar(&b.emulator.dir, "emulator-dir", "", "where the emulator keeps its files (default $XDG_STATE_HOME/iksync/emulator)")
	fs.BoolVar(&b.serve, "serve", false, "with --emulator: go on serving the files until Ctrl-C")
	addNewRootFlag(fs, &b.newRoot)
	b.rootFlags(fs, " (default with --emulator: /)")
	addLogLevelFlag(fs, &b.adHoc.LogLevel)
	b.params = addParamFlags(fs)
	return cmd
}

// addNewRootFlag adds the flag that decides about a root that is not recorded.
func addNewRootFlag(fs *pflag.FlagSet, newRoot *bool) {
	fs.BoolVar(newRoot, "new-root", false, "a directory that is not recorded is a new root, also if it looks like a recorded one at another path")
}

// rootFlags are the flags that describe a root in place of a configuration; folder is what
// is to be said of --to besides.
func (b *backfill) rootFlags(fs *pflag.FlagSet, folder string) {
	fs.StringVar(&b.adHoc.Folder, "to", "", "remote `folder` that mirrors DIR"+folder)
	fs.StringArrayVar(&b.adHoc.Exclude, "exclude", nil, "gitignore-style `pattern` of files to leave out (repeatable)")
	fs.StringArrayVar(&b.adHoc.Include, "include", nil, "gitignore-style `pattern` of the only files to take (repeatable)")
	fs.StringSliceVar(&b.adHoc.Types, "types", nil, "only these types: image, video, audio, any")
	fs.BoolVar(&b.adHoc.NoJunk, "no-junk", false, "also take files that the junk patterns leave out (iksync filters lists them)")
	fs.StringVar(&b.adHoc.MinSize, "min-size", "", "only files of at least this `size`, such as 10kB")
	fs.StringVar(&b.adHoc.MaxSize, "max-size", "", "only files of at most this `size`")
	fs.StringVar(&b.adHoc.MinAge, "min-age", "", "only files that were not modified for this `time`, such as 10m or 7d")
	fs.StringVar(&b.adHoc.Symlinks, "symlinks", "", "skip (default) or follow-inside: take those that lead to something inside DIR")
	fs.StringVar(&b.adHoc.Plan, "plan", "", "ImageKit plan whose size limits hold: free, lite or pro (default)")
}

func (b *backfill) run(ctx context.Context, args []string) (err error) {
	cfg, err := b.configure(args)
	if err != nil {
		return err
	}
	statePath, err := b.statePath(b.stateFile, cfg.State)
	if err != nil {
		return err
	}
	var emulator *embedded
	if b.emulated {
		dir, err := b.emulatorDir(b.emulator.dir)
		if err != nil {
			return err
		}
		if err := outsideRoots("the emulator's directory", dir, cfg.Roots); err != nil {
			return err
		}
		if emulator, err = startEmbedded(dir); err != nil {
			return exit(exitConfig, err)
		}
		defer func() { err = errors.Join(err, emulator.close()) }()
		cfg.UploadURL, cfg.APIURL = emulator.uploadURL(), emulator.apiURL()
		statePath = cmp.Or(b.stateFile, emulatorState(dir))
	}
	if err := outsideRoots("the state file", statePath, cfg.Roots); err != nil {
		return err
	}
	if !b.emulated {
		if daemon, err := control.NewClient(statePath).Status(ctx); err == nil {
			return b.handOver(ctx, cfg, statePath, daemon) // which has a key
		}
	}
	key := imagekit.NewKey("emulator")
	if !b.emulated {
		var warning string
		if key, warning, err = config.Key(cfg.KeyFile, b.getenv); err != nil {
			return exit(exitConfig, err)
		}
		if warning != "" {
			cfg.Warnings = append(cfg.Warnings, warning)
		}
	}
	client, err := imagekit.New(imagekit.Options{
		Key: key, UploadURL: cfg.UploadURL, APIURL: cfg.APIURL, UserAgent: "iksync/" + version, MaxConns: cfg.Workers,
		ReadsPerSecond: cfg.ReadsPerSecond, WritesPerSecond: cfg.WritesPerSecond,
	})
	if err != nil {
		return exit(exitConfig, err)
	}
	defer client.Close()
	result, err := b.sync(ctx, cfg, client, statePath)
	if err != nil {
		return err
	}
	result.emulator, result.serves = emulator, b.serve && ctx.Err() == nil
	if err := b.report(result); err != nil {
		return err
	}
	if result.serves {
		fmt.Fprintf(b.err, "Serving %s until Ctrl-C.\n", emulator.pageURL())
		<-ctx.Done()
	}
	return result.exit()
}

// configure reads the configuration, or makes it from the flags.
func (b *backfill) configure(args []string) (*config.Config, error) {
	if b.serve && !b.emulated {
		return nil, usage("--serve goes with --emulator")
	}
	if b.params.flags.Changed("workers") {
		b.adHoc.Workers = &b.workers
	}
	if b.configFile == "" {
		if len(args) != 1 {
			return nil, usage("name one directory, or a configuration with --config (see iksync backfill --help)")
		}
		if b.adHoc.Folder == "" {
			if !b.emulated {
				return nil, usage("name the remote folder that mirrors %s with --to, such as --to /photos", args[0])
			}
			b.adHoc.Folder = "/"
		}
		b.adHoc.Path = args[0]
		b.adHoc.Params = b.params.params()
		b.adHoc.UploadURL, b.adHoc.APIURL = b.getenv("IKSYNC_UPLOAD_URL"), b.getenv("IKSYNC_API_URL")
		cfg, err := b.adHoc.Config()
		if err != nil {
			return nil, misconfigured(err)
		}
		return cfg, nil
	}
	if name := b.describing(); name != "" {
		return nil, usage("--%s describes a DIR without a configuration; with --config it is said there", name)
	}
	cfg, err := config.Load(b.configFile)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	b.fromSurroundings(cfg, b.configFile)
	if err := cfg.Override(b.adHoc.Workers, b.adHoc.LogLevel); err != nil {
		return nil, misconfigured(err)
	}
	if len(args) > 0 {
		all := cfg.Roots
		cfg.Roots, err = pickRoots(all, args)
		cfg.OtherRoots = all
	}
	return cfg, err
}

// describing names a flag that was given and that describes the root in place of
// a configuration; "" when there is none.
func (b *backfill) describing() string {
	either := []string{"config", "state", "json", "no-progress", "workers", "emulator", "emulator-dir", "serve", "log-level", "remote", "all", "verify-bytes", "sample", "repair", "hash", "rebuild", "new-root"}
	var name string
	b.params.flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(either, f.Name) {
			name = f.Name
		}
	})
	return name
}

// folderOf brings a name to the form that folders have, where it can be one.
func folderOf(name string) string {
	folder, err := imagekit.CleanFolder(name)
	if err != nil {
		return name
	}
	return folder
}

// pickRoots keeps the roots that are named by path or folder, each once.
func pickRoots(roots []config.Root, names []string) ([]config.Root, error) {
	var picked []config.Root
	for _, name := range names {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, usage("root %s: %v", name, err)
		}
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			abs = real
		}
		found := false
		for _, r := range roots {
			if r.Path != abs && r.Folder != folderOf(name) {
				continue
			}
			found = true
			if !slices.ContainsFunc(picked, func(p config.Root) bool { return p.Path == r.Path }) {
				picked = append(picked, r)
			}
		}
		if !found {
			return nil, usage("the configuration has no root %s", name)
		}
	}
	return picked, nil
}

// sync does the work: the scanners queue what differs while the pool uploads.
func (b *backfill) sync(ctx context.Context, cfg *config.Config, client *imagekit.Client, statePath string) (*result, error) {
	db, err := openState(ctx, statePath)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	opened, err := openRoots(ctx, db, cfg.Roots, rootsOf(cfg, nil, b.newRoot))
	if err != nil {
		return nil, err
	}
	roots := opened.roots
	defer closeRoots(roots)
	undecided := opened.refuse()
	if undecided != nil && len(roots) == 0 {
		return nil, undecided
	}
	for i := range roots {
		lock, err := lockRoot(roots[i].config.Path)
		if err != nil {
			return nil, err
		}
		defer lock.Close()
	}
	show := newProgress(b.err, b.terminal && !b.noProgress && !b.json)
	defer show.stop()
	level, err := zap.ParseAtomicLevel(cfg.LogLevel)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	log := newLog(show.logOutput(), level, cfg.LogFormat, b.terminal, false)
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	opened.log(log)
	for i := range roots {
		if b.rehome {
			if _, err := newQueue(db).Rehome(ctx, roots[i].state.ID, roots[i].config.Folder); err != nil {
				return nil, exit(exitFailed, err)
			}
		}
	}
	q := newQueue(db)
	ids := rootIDs(roots)
	if _, err := q.Recover(ctx); err != nil {
		return nil, err
	}
	if _, err := q.Retry(ctx, queue.Selection{Roots: ids, Automatic: true}); err != nil {
		return nil, err
	}
	depths, err := q.Depths(ctx, ids)
	if err != nil {
		return nil, err
	}
	work := &work{began: time.Now(), leftover: depths[queue.Ready]}
	scanned := make(chan struct{})
	pool := uploader.New(db, q, b.poolOptions(cfg, client, roots, work, scanned, log))
	work.pool = pool
	for i := range roots {
		work.scanners = append(work.scanners, watcher.NewScanner(q, roots[i].scanOptions(cfg.Limits)))
	}
	show.start(work, log)
	stopping := context.AfterFunc(ctx, func() {
		log.Info("stopping: uploads in flight may finish; a second interrupt breaks them off", zap.Duration("within", grace))
	})
	defer stopping()

	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(scanned)
		for _, s := range work.scanners {
			if err := s.Run(gctx); err != nil && gctx.Err() == nil {
				return err
			}
		}
		work.counted.Store(true)
		return nil
	})
	group.Go(func() error { return pool.Run(gctx) })
	err = group.Wait()
	show.stop()
	result, err := b.gather(ctx, db, q, roots, work, err)
	if result != nil {
		result.undecided = undecided
	}
	return result, err
}

func (b *backfill) poolOptions(cfg *config.Config, client *imagekit.Client, roots []openRoot, w *work, idle <-chan struct{}, log *zap.Logger) uploader.Options {
	o := uploader.Options{Client: client, Workers: cfg.Workers, MaxAttempts: maxAttempts, Idle: idle, Settle: cfg.Settle, Grace: grace, Log: log,
		Probe: cfg.Probe, Bandwidth: uploader.NewBandwidth(cfg.Bandwidth)}
	for i := range roots {
		root := roots[i].uploadRoot(cfg.Limits)
		root.Calm = w.counted.Load
		o.Roots = append(o.Roots, root)
	}
	return o
}

// gather reads how it ended from the queue: what it says is what is true.
func (b *backfill) gather(ctx context.Context, db *state.DB, q *queue.Queue, roots []openRoot, w *work, cause error) (*result, error) {
	r := &result{work: w, statePath: db.Path(), cause: cause, interrupted: ctx.Err() != nil, seconds: time.Since(w.began).Seconds()}
	ctx = context.WithoutCancel(ctx)
	for i := range roots {
		r.roots = append(r.roots, rootSummary{Path: roots[i].config.Path, Folder: roots[i].config.Folder})
	}
	for _, s := range w.scanners {
		r.reports = append(r.reports, s.Report())
	}
	r.stats = w.pool.Stats()
	r.mismatches = w.pool.Mismatches()
	ids := rootIDs(roots)
	depths, err := q.Depths(ctx, ids)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	for i := range roots {
		if roots[i].config.Removal.RemovesFolders() {
			n, err := q.EmptiedFolders(ctx, roots[i].config.Folder)
			if err != nil {
				return nil, errors.Join(cause, err)
			}
			r.emptyFolders += n
		}
	}
	left, first := w.pool.Unremoved()
	r.unremoved = left
	for _, u := range first {
		r.unremovedFirst = append(r.unremovedFirst, failure{Path: display(u.Path), Class: "not_removed", Reason: u.Reason})
	}
	if r.unresolved, err = unresolvedChanges(ctx, q); err != nil {
		return nil, errors.Join(cause, err)
	}
	r.remaining = depths[queue.Ready].Jobs + depths[queue.Leased].Jobs
	for _, id := range ids {
		standing, err := q.Standing(ctx, id)
		if err != nil {
			return nil, errors.Join(cause, err)
		}
		r.gone += standing.Absent + standing.Kept
		if standing.Braked != "" {
			r.braked = append(r.braked, standing.Braked)
		}
	}
	for i := range roots {
		e, err := outsideFolder(ctx, q, &roots[i])
		if err != nil {
			return nil, errors.Join(cause, err)
		}
		if e != nil {
			r.elsewhere = append(r.elsewhere, *e)
		}
	}
	r.failed = make(map[string]int64)
	for item, err := range q.List(ctx, ids, queue.Failed) {
		if err != nil {
			return nil, errors.Join(cause, err)
		}
		r.failed[item.Class]++
		if len(r.failures) < maxListed {
			r.failures = append(r.failures, failure{Path: display(item.Path), Class: item.Class, Reason: item.Reason, RequestID: item.RequestID, Attempts: item.Attempts})
		}
	}
	r.held = make(map[string]int64)
	for item, err := range q.List(ctx, ids, queue.Held) {
		if err != nil {
			return nil, errors.Join(cause, err)
		}
		r.held[item.Class]++
		if len(r.holds) < maxListed {
			r.holds = append(r.holds, failure{Path: display(item.Path), Class: item.Class, Reason: item.Reason})
		}
	}
	return r, nil
}
