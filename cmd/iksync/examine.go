package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader/imagekit"
	"iksync/uploader/imagekit/names"
	"iksync/watcher"
)

const (
	// surveyTime is how long the directories of all roots are counted.
	surveyTime = 3 * time.Second
	// keyTime is how long ImageKit has to answer.
	keyTime = 15 * time.Second
	// recordSize is what a file takes in the state file and beside it, bytes.
	recordSize = 2 << 10
	// leastFree is what must be free besides, bytes.
	leastFree = 64 << 20
)

// examination looks whether iksync can work with a configuration. It changes nothing.
type examination struct {
	*app
	configFile string
	stateFile  string       // --state
	key        imagekit.Key // the zero value is looked for
	findings   []finding
}

// all checks everything that a configuration names.
func (e *examination) all(ctx context.Context, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		e.warn("configuration", "", "%s", w)
	}
	files := e.roots(ctx, cfg)
	e.state(ctx, cfg, files)
	e.secrets(cfg)
	e.commands(cfg)
	e.page(ctx, cfg)
	e.access(ctx, cfg)
}

// roots looks at the top of every root, counts the directories below, and returns how
// many files there are at least.
func (e *examination) roots(ctx context.Context, cfg *config.Config) (files int64) {
	counting, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	all := watcher.Survey{Whole: true} // that are to be watched
	for i := range cfg.Roots {
		r := &cfg.Roots[i]
		const do = "mount it, correct the path, or let this user read it (how: " + serviceText + ")"
		if _, err := config.RootPath(r.Path); err != nil {
			e.failed("root", exitConfig, do, "%v", err)
			continue
		}
		s, err := watcher.Count(counting, r.Path, r.Filter)
		if err != nil {
			e.failed("root", exitConfig, do, "%v", err)
			continue
		}
		files += s.Files
		if s.Dirs == 1 && s.Files == 0 && s.Whole {
			e.warn("root", "if it is to be mounted there, mount it: nothing is inferred from an empty root", "%s is empty", r.Path)
		} else {
			e.ok("root", "%s -> %s", r.Path, r.Folder)
		}
		if trust, err := state.TrustAt(r.Path); err == nil {
			e.note("identity", "%s: %s", r.Path, trusted(trust))
		}
		e.forService(counting, r.Path)
		if kind := watcher.NetworkFileSystem(r.Path); kind != "" {
			e.note("watches", "%s is on a file system of type %s, which does not announce what others change: it is scanned every %s", r.Path, kind, cfg.Poll)
			continue
		}
		if most := int64(cfg.MaxWatches); most > 0 && s.Dirs > most {
			e.warn("watches", "raise max_watches", "%s: %s of %s are watched, as max_watches says; the others are scanned every %s",
				r.Path, humanize.Comma(most), counted(s), cfg.Poll)
			s.Dirs = most
		}
		all.Dirs, all.Whole = all.Dirs+s.Dirs, all.Whole && s.Whole
	}
	if limit, known := watcher.WatchLimit(); known && all.Dirs > 0 {
		e.watches(all, limit, cfg.Poll)
	}
	return files
}

// trusted says what is inferred from the metadata of files.
func trusted(t state.Trust) string {
	if t.Proven() {
		return "renames are recognized without reading the files (" + t.Why + ")"
	}
	return "files are read before they are taken for unchanged under another inode number, or for renamed (" + t.Why + ")"
}

// forService looks whether the service whose configuration it is can read a root.
func (e *examination) forService(ctx context.Context, root string) {
	if serviceOf(e.configFile).unit == "" {
		return
	}
	for _, hidden := range []string{"/home", "/root", "/run/user"} {
		if config.Inside(root, hidden) {
			e.warn("root", "show it to the service with a drop-in, BindReadOnlyPaths="+root, "%s is hidden from the service, whose unit has ProtectHome=tmpfs", root)
		}
	}
	if unreadableFor(ctx, serviceUser, root) {
		e.warn("root", "let it read them: a group (usermod -aG), or an access list (setfacl -R -m u:"+serviceUser+":rX)", "the user %s, as whom the service runs, can't read %s", serviceUser, root)
	}
}

// watches compares the directories that are to be watched with what the system allows.
func (e *examination) watches(all watcher.Survey, limit int64, poll time.Duration) {
	if all.Dirs > limit {
		e.warn("watches", watcher.Cure(all.Dirs), "%s, of which this user may watch %s; the others are scanned every %s", counted(all), humanize.Comma(limit), poll)
		return
	}
	e.ok("watches", "%s; this user may watch %s", counted(all), humanize.Comma(limit))
}

func counted(s watcher.Survey) string {
	n := quantity(s.Dirs, "directory", "directories")
	if !s.Whole {
		return fmt.Sprintf("at least %s (counted for %s)", n, surveyTime)
	}
	return n
}

// state looks at the state file, or at where it is to be made for so many files.
func (e *examination) state(ctx context.Context, cfg *config.Config, files int64) {
	const check = "state file"
	path, err := e.stateOf(cfg)
	if err != nil {
		e.failed(check, exitConfig, "", "%v", err)
		return
	}
	if err := outsideRoots("the state file", path, cfg.Roots); err != nil {
		e.failed(check, exitConfig, "", "%v", err)
		return
	}
	place, err := state.Survey(path)
	var corrupt *state.CorruptError
	var linked *state.LinkedError
	switch {
	case errors.As(err, &corrupt), errors.As(err, &linked): // they say what to do
		e.failed(check, exitConfig, "", "%v", err)
		return
	case err != nil:
		e.failed(check, exitConfig, "let this user write there (the one that iksync runs as), or name another file with state", "%v", err)
		return
	}
	is := place.Path + " (not there yet)"
	if place.Exists {
		is = place.Path
		if err := e.open(ctx, cfg, place.Path); err != nil {
			e.failed(check, exitConfig, "", "%v", err)
			return
		}
	}
	if place.Free >= 0 {
		is += ", " + humanize.Bytes(uint64(place.Free)) + " free"
	}
	switch need := leastFree + files*recordSize; {
	case place.Free >= 0 && place.Free < need && !place.Exists:
		e.warn(check, "make room, or name a file on another disk with state", "%s: %s may take %s", is, quantity(files, "file"), humanize.Bytes(uint64(need)))
	case place.Free >= 0 && place.Free < leastFree:
		e.warn(check, "make room: uploads wait while it can't be written", "%s", is)
	default:
		e.ok(check, "%s", is)
	}
	if kind := watcher.NetworkFileSystem(place.Dir); kind != "" {
		e.warn(check, "keep it on a local disk: SQLite needs locks and a shared memory that network file systems don't have", "%s is on a file system of type %s", place.Dir, kind)
	}
	e.others(cfg, place)
}

// stateOf is where the state file of the configuration is.
func (e *examination) stateOf(cfg *config.Config) (string, error) {
	return e.statePath(e.stateFile, cmp.Or(cfg.State, serviceOf(e.configFile).state))
}

// open reads an existing state file; one that the next start brings up to date is good.
func (e *examination) open(ctx context.Context, cfg *config.Config, path string) error {
	db, err := state.OpenReadOnly(ctx, path)
	var version *state.VersionError
	if errors.As(err, &version) && version.Have < version.Want {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(e.recorded(ctx, cfg, db), e.names(ctx, cfg, db), db.Close())
}

// recorded compares the configured roots with the recorded ones.
func (e *examination) recorded(ctx context.Context, cfg *config.Config, db *state.DB) error {
	recorded, err := db.RecordedRoots(ctx)
	if err != nil {
		return err
	}
	how, q := rootsOf(cfg, nil, false), newQueue(db)
	for i := range cfg.Roots {
		r := cfg.Roots[i]
		if r.Path, err = config.RootPath(r.Path); err != nil {
			continue // told where the roots are looked at
		}
		if known := slices.IndexFunc(recorded, func(o state.RecordedRoot) bool { return o.Path == r.Path }); known >= 0 {
			outside, err := outsideFolder(ctx, q, &openRoot{config: &r, state: recorded[known].Root})
			if err != nil {
				return err
			}
			if outside != nil {
				e.note("root", "%s", outside.advice())
			}
			continue
		}
		dir, err := os.OpenRoot(r.Path)
		if err != nil {
			continue // the same
		}
		d, err := whichRoot(ctx, db, &r, dir, recorded, how)
		_ = dir.Close() // opened for reading only
		switch {
		case err != nil:
			return err
		case d.is != nil:
			e.note("root", "%s", relocated(d.is, r.Path))
		case len(d.may) > 0:
			open := undecided{config: &r, may: d.may}
			e.warn("root", "decide which it is; until then this root waits", "needs decision: %s", open.why())
		}
	}
	return nil
}

// names tells which roots can't send names as they are.
func (e *examination) names(ctx context.Context, cfg *config.Config, db *state.DB) error {
	roots, err := db.Roots(ctx)
	if err != nil {
		return err
	}
	q := newQueue(db)
	if err := q.ReadNames(ctx); err != nil {
		return err
	}
	for i := range cfg.Roots {
		for _, r := range roots {
			if cfg.Roots[i].Names == names.Keep && r.Path == cfg.Roots[i].Path && q.Names(r.ID) == queue.NamesChanged {
				e.warn("names", "nothing, or say names: safe", "%s: %s", r.Path, namesChanged)
			}
		}
	}
	return nil
}

// others tells who is at work there.
func (e *examination) others(cfg *config.Config, place state.Place) {
	var pid int
	if place.Holder != nil {
		pid = place.Holder.PID
		e.inUse(pid, "the state file")
	}
	for i := range cfg.Roots {
		if holder := rootHolder(cfg.Roots[i].Path); holder > 0 && holder != pid {
			e.inUse(holder, cfg.Roots[i].Path)
		}
	}
}

func (e *examination) inUse(pid int, what string) {
	who := "another iksync"
	if pid > 0 {
		who = fmt.Sprintf("another iksync (pid %d)", pid)
	}
	e.note("in use", "%s is using %s", who, what)
}

// secrets looks at the files that hold some: they must be readable for iksync, and not
// be uploaded.
func (e *examination) secrets(cfg *config.Config) {
	named := []string{cfg.KeyFile, cfg.Page.TokenFile}
	for _, h := range cfg.Hooks {
		named = append(named, h.SecretFile)
	}
	for _, file := range named {
		if file == "" {
			continue
		}
		real, err := resolve(file)
		if err != nil {
			continue // told where it is read
		}
		if slices.ContainsFunc(cfg.Roots, func(r config.Root) bool { return within(mounts(), real, r.Path) }) {
			e.failed("secrets", exitConfig, "keep it elsewhere", "%s is inside a root, whose files are uploaded", file)
		}
	}
	if cfg.KeyFile != "" && strings.TrimSpace(e.getenv(config.KeyVariable)) != "" { // else access reads it
		_, warning, err := config.Key(cfg.KeyFile, func(string) string { return "" })
		if err != nil {
			e.warn("key", "correct imagekit.private_key_file, or leave it out: where "+config.KeyVariable+" is not set nothing would be uploaded", "%v", err)
		}
		e.secret(warning, nil)
	}
	if cfg.Page.TokenFile != "" {
		_, warning, err := cfg.Page.Token("")
		e.secret(warning, err)
	}
	_, warnings, err := config.Ready(cfg.Hooks)
	for _, w := range warnings {
		e.secret(w, nil)
	}
	e.secret("", err)
}

// commands looks for the programs that are told of events.
func (e *examination) commands(cfg *config.Config) {
	for _, h := range cfg.Hooks {
		if len(h.Command) == 0 {
			continue
		}
		if _, err := exec.LookPath(h.Command[0]); err != nil {
			e.warn("on_event", "correct the path, or let the user that iksync runs as execute it: its events are lost", "%s can't be run: %v", h.Command[0], errors.Unwrap(err))
		}
	}
}

// page looks whether the page can be served where it is to be, or is by the daemon already.
func (e *examination) page(ctx context.Context, cfg *config.Config) {
	taken := unservable(cfg.Page)
	if taken == nil {
		return
	}
	path, err := e.stateOf(cfg)
	if err != nil {
		return // told where the state file is looked at
	}
	link, err := control.NewClient(path).Page(ctx)
	switch {
	case err == nil && leadsTo(link, cfg.Page):
	case errors.Is(err, fs.ErrPermission):
		e.note("page", "%v; whether it is this configuration's daemon that serves there can't be told: %v", taken, asOwner(path, err))
	default:
		e.warn("page", "write another address in http, or end what is there; iksync syncs without its page", "it can't be served: %v", taken)
	}
}

// unservable tries whether the page could be served at its address; nil when it could.
func unservable(p config.Page) error {
	switch p.Network {
	case "tcp":
		l, err := net.Listen(p.Network, p.Addr)
		if err != nil {
			return err
		}
		return l.Close()
	case "unix": // to listen would make the socket
		if c, err := net.Dial(p.Network, p.Addr); err == nil {
			return errors.Join(fmt.Errorf("another process listens at %s", p.Addr), c.Close())
		}
	}
	return nil
}

// leadsTo reports whether the link that a daemon gives is to the page at an address. The
// host may be named otherwise.
func leadsTo(link string, p config.Page) bool {
	if p.Network == "unix" {
		return strings.HasPrefix(link, "unix:"+p.Addr+"#")
	}
	u, err := url.Parse(link)
	_, port, split := net.SplitHostPort(p.Addr)
	return err == nil && split == nil && u.Port() == port
}

func (e *examination) secret(warning string, err error) {
	if err != nil {
		e.failed("secrets", exitConfig, "", "%v", err)
	}
	if warning != "" {
		e.warn("secrets", "", "%s", warning)
	}
}

// access asks ImageKit whether it takes the key.
func (e *examination) access(ctx context.Context, cfg *config.Config) {
	const check = "key"
	key, from := e.key, "the one that was typed"
	if key.IsZero() {
		var warning string
		var err error
		key, from, warning, err = e.findKey(cfg.KeyFile)
		if errors.Is(err, fs.ErrPermission) && from != cfg.KeyFile {
			e.note(check, "%s is for the service manager alone: run the check as root to try the key", from)
			return
		}
		if err != nil {
			do := ""
			if own := serviceOf(e.configFile).key; own != "" && cfg.KeyFile == "" {
				do = "the service takes it from " + own + " (mode 600): (umask 077; cat > " + own + "), then paste it, Enter, Ctrl-D"
			}
			e.failed(check, exitConfig, do, "%v", err)
			return
		}
		e.secret(warning, nil)
	}
	client, err := imagekit.New(imagekit.Options{Key: key, APIURL: cmp.Or(e.getenv("IKSYNC_API_URL"), cfg.APIURL), UserAgent: "iksync/" + version})
	if err != nil {
		e.failed(check, exitConfig, "", "%v", err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, keyTime)
	defer cancel()
	_, err = client.List(ctx, "/", 0, 1)
	var api *imagekit.Error
	switch refused := errors.As(err, &api); {
	case err == nil:
		e.ok(check, "ImageKit takes it (%s)", from)
	case errors.Is(err, context.DeadlineExceeded):
		e.warn(check, "try again; uploads wait meanwhile, and begin by themselves", "ImageKit has not answered within %s, so the key could not be tried", keyTime)
	case refused && api.Class == imagekit.Credentials:
		e.failed(check, exitKey, "copy it from ImageKit's dashboard, Developer options; it needs the right to read and write media", "ImageKit refuses it (%s): %v", from, err)
	case refused && (api.Class == imagekit.Offline || api.Class == imagekit.Transient || api.Class == imagekit.Throttled):
		e.warn(check, "try again; uploads wait meanwhile, and begin by themselves", "it could not be tried: %v", err)
	default:
		e.failed(check, exitFailed, "look at the account, and at IKSYNC_API_URL and imagekit.api_url if they are set", "it could not be tried: %v", err)
	}
}

// findKey finds the key as the other commands do, and tells where that was.
func (e *examination) findKey(file string) (key imagekit.Key, from, warning string, err error) {
	from = file
	credentials := e.getenv("CREDENTIALS_DIRECTORY")
	switch {
	case strings.TrimSpace(e.getenv(config.KeyVariable)) != "":
		from = config.KeyVariable
	case file == "" && credentials != "":
		from = filepath.Join(credentials, config.KeyCredential)
	case file == "":
		cfg := &config.Config{}
		e.takeServiceKey(cfg, e.configFile)
		file, from = cfg.KeyFile, cfg.KeyFile
	}
	key, warning, err = config.Key(file, e.getenv)
	return key, from, warning, err
}
