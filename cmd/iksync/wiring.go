package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"iksync/cmd/iksync/internal/config"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
	"iksync/watcher"
)

// statePath finds the state file: flag, environment, configuration, default.
func (a *app) statePath(flag, configured string) (string, error) {
	if path := cmp.Or(flag, a.getenv("IKSYNC_STATE"), configured); path != "" {
		return path, nil
	}
	dir, err := a.stateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "iksync.db"), nil
}

// stateDir is where iksync keeps what nobody told it to keep elsewhere.
func (a *app) stateDir() (string, error) {
	if dir := a.getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "iksync"), nil
	}
	home := a.getenv("HOME")
	if home == "" {
		return "", exit(exitConfig, errors.New("there is no home directory to keep the state in: name a file with --state or IKSYNC_STATE"))
	}
	return filepath.Join(home, ".local", "state", "iksync"), nil
}

// emulatorDir is where the embedded emulator keeps its files.
func (a *app) emulatorDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	dir, err := a.stateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "emulator"), nil
}

// emulatorState is the state file of trials: never the real one.
func emulatorState(dir string) string { return filepath.Join(dir, "iksync.db") }

// openState opens the state file for writing; failures have their exit code.
func openState(ctx context.Context, path string) (*state.DB, error) {
	db, err := state.Open(ctx, path)
	var locked *state.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, exit(exitBusy, err)
	case err != nil && ctx.Err() != nil:
		return nil, exit(exitInterrupted, nil)
	case state.Unwritable(err), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return nil, exit(exitUnwritable, err) // may be cured by the next start
	case err != nil:
		return nil, exit(exitConfig, asOwner(path, err))
	}
	return db, nil
}

// readState opens the state file for reading; failures have their exit code.
func readState(ctx context.Context, path string) (*state.DB, error) {
	db, err := state.OpenReadOnly(ctx, path)
	if err != nil {
		return nil, exit(exitConfig, asOwner(path, err))
	}
	return db, nil
}

// unanswered is the end of a command that the daemon of a state file does not answer.
func unanswered(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return exit(exitConfig, asOwner(path, err))
	}
	return exit(exitFailed, err)
}

// asOwner adds to a refused access to the state file, or to the socket beside it, as whom it
// would not be refused.
func asOwner(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	abs, absErr := filepath.Abs(path)
	if absErr != nil {
		return err
	}
	info, statErr := os.Stat(abs)
	for errors.Is(statErr, fs.ErrPermission) && abs != filepath.Dir(abs) { // its directory is closed, too
		abs = filepath.Dir(abs)
		info, statErr = os.Stat(abs)
	}
	if statErr != nil {
		return err
	}
	if owner := ownerOf(info); owner != "" {
		return fmt.Errorf("%w: run it as %s, who owns %s", err, owner, abs)
	}
	return err
}

// outsideRoots refuses a file or directory of ours inside a watched tree,
// which is never written to.
func outsideRoots(what, path string, roots []config.Root) error {
	resolved, err := resolve(path)
	if err != nil {
		return exit(exitConfig, fmt.Errorf("%s %s: %w", what, path, err))
	}
	all := mounts()
	for i := range roots {
		switch root := roots[i].Path; {
		case config.Inside(resolved, root):
			return exit(exitConfig, fmt.Errorf("%s %s is inside the root %s, which is never written to: keep it elsewhere", what, resolved, root))
		case within(all, resolved, root):
			return exit(exitConfig, fmt.Errorf("%s %s is inside the root %s, by another mount or another name of its directory; a root is never written to: keep it elsewhere", what, resolved, root))
		}
	}
	return nil
}

// within reports whether a path, whose symlinks are resolved, is dir or leads into it,
// whatever it is called: a directory has other names through bind mounts, and where a
// file system ignores case.
func within(all []mount, path, dir string) bool {
	if config.Inside(path, dir) || mountedWithin(all, path, dir) {
		return true
	}
	is, err := os.Stat(dir)
	if err != nil {
		return false // told where the root is opened
	}
	for up := path; ; up = filepath.Dir(up) {
		if info, err := os.Stat(up); err == nil && os.SameFile(info, is) {
			return true
		}
		if up == filepath.Dir(up) {
			return false
		}
	}
}

// resolve makes a path absolute and follows its symlinks, those of the longest part
// that exists: the file itself may not be there yet, or any more.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for dir, rest := abs, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest), nil
		}
		if dir == filepath.Dir(dir) {
			return abs, nil
		}
	}
}

// openRoot is a configured root with what the parts need of it.
type openRoot struct {
	config *config.Root
	state  state.Root
	dir    *os.Root
}

// rootOptions say how configured roots become recorded ones.
type rootOptions struct {
	// configured are the paths of all configured roots: a recorded root at one of them is at no
	// other path.
	configured map[string]bool
	adHoc      bool // other roots are in use, too
	newRoot    bool // a root that is not recorded is new, whatever it looks like
	// busy, when not nil, reports that files of a root are being sent.
	busy func(rootID int64) bool
}

// rootsOf are the options for a configuration, of whose roots some are found under other paths.
func rootsOf(cfg *config.Config, found []config.Root, newRoot bool) *rootOptions {
	o := &rootOptions{configured: make(map[string]bool), adHoc: cfg.AdHoc, newRoot: newRoot}
	for _, r := range slices.Concat(cfg.Roots, cfg.OtherRoots, found) {
		o.configured[r.Path] = true
	}
	return o
}

// openedRoots are the configured roots as they were found.
type openedRoots struct {
	roots     []openRoot
	undecided []undecided // wait for somebody's decision
	busy      []int64     // ids of roots that wait until their previous directory is not used any more
	says      []string    // what is to be told of them
}

// log tells of the roots what is not as it was when they were recorded.
func (o *openedRoots) log(log *zap.Logger) {
	for _, text := range o.says {
		log.Warn("a root is recorded anew", zap.String("what", text))
	}
	for i := range o.undecided {
		log.Error("a root needs a decision, and waits", zap.String("root", o.undecided[i].config.Path), zap.String("why", o.undecided[i].why()))
	}
}

// refuse is the error of a command that can't go on without a decision; nil when there is no
// need of one.
func (o *openedRoots) refuse() error {
	var all []error
	for i := range o.undecided {
		all = append(all, errors.New(o.undecided[i].why()))
	}
	if len(all) == 0 {
		return nil
	}
	return exit(exitConfig, errors.Join(all...))
}

// openRoots records and opens the roots. The caller closes them.
func openRoots(ctx context.Context, db *state.DB, roots []config.Root, how *rootOptions) (*openedRoots, error) {
	o := &openedRoots{}
	for i := range roots {
		r := &roots[i]
		dir, err := os.OpenRoot(r.Path)
		if err != nil {
			closeRoots(o.roots)
			return nil, exit(exitConfig, fmt.Errorf("open root: %w", err))
		}
		var busy *rootBusyError
		recorded, open, says, err := recordRoot(ctx, db, r, dir, how)
		o.says = append(o.says, says...)
		switch {
		case errors.As(err, &busy):
			o.busy = append(o.busy, busy.id)
			_ = dir.Close() // opened for reading only
		case err != nil:
			closeRoots(append(o.roots, openRoot{dir: dir}))
			if state.Unwritable(err) {
				return nil, exit(exitUnwritable, err)
			}
			return nil, exit(exitConfig, err)
		case open != nil:
			o.undecided = append(o.undecided, *open)
			_ = dir.Close() // opened for reading only
		default:
			o.roots = append(o.roots, openRoot{config: r, state: recorded, dir: dir})
		}
	}
	return o, nil
}

func closeRoots(roots []openRoot) {
	for _, r := range roots {
		_ = r.dir.Close() // opened for reading only
	}
}

func rootIDs(roots []openRoot) []int64 {
	ids := make([]int64, len(roots))
	for i, r := range roots {
		ids[i] = r.state.ID
	}
	return ids
}

func newQueue(db *state.DB) *queue.Queue { return queue.New(db, imagekit.Alternate) }

// scanOptions is what the watcher needs of a root.
func (r *openRoot) scanOptions(limits watcher.Limits) watcher.Options {
	return watcher.Options{
		Root: r.state, Filter: r.config.Filter, Limits: limits, Symlinks: r.config.Symlinks,
		Remote: r.config.RemotePath,
	}
}

// uploadRoot is what the pool needs of a root.
func (r *openRoot) uploadRoot(limits watcher.Limits) uploader.Root {
	scan := r.scanOptions(limits)
	return uploader.Root{
		ID: r.state.ID, Dir: r.dir, Params: r.config.Params, Hold: limits.Hold,
		Follow: r.config.Symlinks == watcher.FollowInside,
		Folder: r.config.Folder, Names: r.config.Names, Removal: r.config.Removal, Duplicates: r.config.Duplicates,
		Identity: func() ([]byte, error) {
			if watcher.IsEmpty(r.dir) {
				return nil, errors.New("the root is empty: perhaps it is not mounted")
			}
			return watcher.Identity(r.config.Path)
		},
		Absence: func(path string) state.Absence { return scan.Absence(r.dir, path, time.Now()) },
	}
}

// onCopy runs fn on a copy of the state file, which is thrown away, also beside a
// process that has the original. A failure of fn is exit code 1.
func onCopy(ctx context.Context, cfg *config.Config, statePath string, newRoot bool, fn func(*state.DB, *queue.Queue, *openedRoots) error) (err error) {
	if err := outsideRoots("the directory for temporary files (TMPDIR)", os.TempDir(), cfg.Roots); err != nil {
		return err // before anything is made there
	}
	dir, err := os.MkdirTemp("", "iksync-")
	if err != nil {
		return exit(exitFailed, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := filepath.Join(dir, "iksync.db")
	if err := state.Copy(ctx, statePath, copied); err != nil {
		return exit(exitConfig, asOwner(statePath, err))
	}
	db, err := openState(ctx, copied)
	if err != nil {
		return err
	}
	defer db.Close()
	opened, err := openRoots(ctx, db, cfg.Roots, rootsOf(cfg, nil, newRoot))
	if err != nil {
		return err
	}
	defer closeRoots(opened.roots)
	q := newQueue(db)
	if _, err := q.Recover(ctx); err != nil {
		return exit(exitFailed, err)
	}
	err = fn(db, q, opened)
	var with *exitError
	if err != nil && !errors.As(err, &with) {
		err = exit(exitFailed, err)
	}
	return err
}

// fromSurroundings adds to a configuration what the environment and the place of its file say.
func (a *app) fromSurroundings(cfg *config.Config, configFile string) {
	cfg.UploadURL = cmp.Or(a.getenv("IKSYNC_UPLOAD_URL"), cfg.UploadURL)
	cfg.APIURL = cmp.Or(a.getenv("IKSYNC_API_URL"), cfg.APIURL)
	a.takeServiceKey(cfg, configFile)
}

// takeServiceKey lets a command that is given a service's configuration have the key
// from the file that systemd hands over to the service, if no other place has one.
func (a *app) takeServiceKey(cfg *config.Config, configFile string) {
	if cfg.KeyFile != "" || strings.TrimSpace(a.getenv(config.KeyVariable)) != "" || a.getenv("CREDENTIALS_DIRECTORY") != "" {
		return
	}
	own := serviceOf(configFile).key
	if _, err := os.Stat(own); own != "" && err == nil {
		cfg.KeyFile = own
	}
}

// clientOf makes a client for a command, of a checked configuration.
func (a *app) clientOf(cfg *config.Config) (*imagekit.Client, error) {
	key, warning, err := config.Key(cfg.KeyFile, a.getenv)
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	if warning != "" {
		fmt.Fprintf(a.err, "iksync: warning: %s\n", warning)
	}
	client, err := imagekit.New(imagekit.Options{
		Key: key, UploadURL: cfg.UploadURL, APIURL: cfg.APIURL, UserAgent: "iksync/" + version,
		ReadsPerSecond: cfg.ReadsPerSecond, WritesPerSecond: cfg.WritesPerSecond,
	})
	if err != nil {
		return nil, exit(exitConfig, err)
	}
	return client, nil
}
