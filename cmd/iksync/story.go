package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/watcher"
)

// teller tells all about single files.
type teller struct {
	q    *queue.Queue
	root state.Root
	// cfg is the root as it is configured; nil when that is not known.
	cfg    *config.Root
	limits func(name string, size int64) (class, reason string)
	// running is the status of the daemon; nil when there is none.
	running *control.RootStatus
	events  []control.Sighting
	// away is why nothing can be told of what is on the disk: the root is not there, or
	// another directory is in its place; "" when it is there.
	away string
}

// sight is what is at a path on the disk.
type sight struct {
	size  int64
	mtime time.Time
	// untaken is why what is there is never taken, whatever the filters say; "" when
	// they decide.
	untaken string
	// isDir tells that it is a directory.
	isDir bool
	// empty tells that nothing at all is in the root.
	empty bool
}

// story tells all about a path.
func (t *teller) story(ctx context.Context, at string) (*control.Story, error) {
	s := &control.Story{RootID: t.root.ID, Root: display(t.root.Path), Path: display(at), Attempts: []control.Attempt{}, Events: t.events}
	if s.Events == nil {
		s.Events = []control.Sighting{}
	}
	if at == "" {
		s.DiskWhy, s.Filter.Taken = "it is a root", true
		s.Next = "iksync status tells how it stands; name a file in it to know more of that"
		return s, nil
	}
	h, err := t.q.History(ctx, queue.Place{RootID: t.root.ID, Path: at})
	if err != nil {
		return nil, err
	}
	standing, err := t.q.Standing(ctx, t.root.ID)
	if err != nil {
		return nil, err
	}
	s.Ignored = h.Ignored
	seen := t.disk(s, at, h)
	t.decide(s, at, &seen)
	if f := h.Record; f != nil {
		s.Record = &control.Record{FileID: f.FileID, VersionID: f.VersionID, RemotePath: f.RemotePath, URL: f.URL, ThumbnailURL: f.ThumbnailURL, FileType: f.FileType,
			Size: f.Stat.Size, Hash: hashWord(f.Hash), UploadedAt: f.UploadedAt, CheckedAt: f.CheckedAt, Gone: goneWord(f)}
		if at := f.Stat.Mtime(); f.Stat.MtimeNs != state.NoTime && at.Year() <= 9999 { // JSON holds no later one
			s.Record.ModifiedAt = at
		}
		if f.Absent != state.Present {
			s.Record.GoneAt = f.AbsentAt
		}
	}
	if r := h.Removed; r != nil {
		s.Removed = &control.Removed{FileID: r.FileID, RemotePath: r.RemotePath, TrashPath: r.TrashPath, At: r.At}
	}
	if h.Alias != nil {
		s.Same = display(h.Alias.Path)
	}
	if j := h.Job; j != nil {
		s.Job = &control.Job{State: j.State.String(), Attempts: j.Attempts, Class: j.Class, Reason: j.Reason, RequestID: j.RequestID}
		if j.State == queue.Ready && j.NotBefore.After(time.Now()) {
			s.Job.NotBefore = j.NotBefore
		}
	}
	for _, a := range h.Attempts {
		s.Attempts = append(s.Attempts, control.Attempt{Began: a.Began, Seconds: a.Ended.Sub(a.Began).Seconds(), Class: a.Class, Reason: a.Reason, RequestID: a.RequestID, Last: a.Dead})
	}
	s.Next, s.NextAt = t.next(s, h, &seen, &standing)
	return s, nil
}

// disk looks at the file itself, without leaving the root.
func (t *teller) disk(s *control.Story, at string, h *queue.History) (seen sight) {
	dir, err := os.OpenRoot(t.root.Path)
	if err == nil {
		defer dir.Close()
	} else if t.away == "" {
		t.away = "it can't be reached: " + err.Error()
	}
	if t.away != "" {
		s.DiskWhy = "not known; of the root: " + t.away
		return seen
	}
	link := symlinkOn(dir, at)
	var info fs.FileInfo
	if link != "" && t.follows() {
		info, err = dir.Stat(filepath.FromSlash(at))
	} else {
		info, err = dir.Lstat(filepath.FromSlash(at))
	}
	switch {
	case link == at && !t.follows():
		seen.untaken = "it is a symlink: " + t.unfollowed()
	case link != "" && !t.follows():
		seen.untaken = "it is below the symlink " + display(link) + ": " + t.unfollowed()
	case link != "" && err != nil: // the error is that of a way out of the root, or to nothing
		seen.untaken = "it is a symlink, or below one, that leads to nothing inside of the root: it is not followed"
	case errors.Is(err, fs.ErrNotExist) && watcher.IsEmpty(dir):
		seen.empty, s.DiskWhy = true, "no file is there, nor anything else in the root: perhaps it is not mounted"
		return seen
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		s.DiskWhy = "no file is there"
		return seen
	case err != nil:
		s.DiskWhy = err.Error()
		return seen
	case info.IsDir():
		seen.untaken, seen.isDir = "it is a directory", true
	case !info.Mode().IsRegular():
		seen.untaken = "it is " + kindOf(info.Mode()) + ": it is never opened"
	}
	if seen.untaken != "" {
		s.DiskWhy = seen.untaken
		return seen
	}
	st := state.StatOf(info)
	s.Disk = &control.Disk{Size: st.Size, ModifiedAt: info.ModTime()}
	if trust, err := t.q.Mounts().At(filepath.Join(t.root.Path, filepath.FromSlash(at))); err == nil {
		st.Mount, s.Identity = trust.Mount, trusted(trust)
	}
	if h.Record != nil {
		proof := state.Prove(h.Record.Content(), state.Content{Stat: st}, state.SamePath)
		s.Disk.Changed, s.Disk.Proof = proof != state.Equal, proof.String()
	}
	seen.size, seen.mtime = st.Size, info.ModTime()
	return seen
}

// symlinkOn is the first symlink on the way to a path, itself included; "" when there
// is none.
func symlinkOn(dir *os.Root, at string) string {
	for i := range len(at) + 1 {
		if i < len(at) && at[i] != '/' {
			continue
		}
		if info, err := dir.Lstat(filepath.FromSlash(at[:i])); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return at[:i]
		}
	}
	return ""
}

func (t *teller) follows() bool { return t.cfg != nil && t.cfg.Symlinks == watcher.FollowInside }

// unfollowed says why a symlink is not followed.
func (t *teller) unfollowed() string {
	if t.cfg == nil {
		return "it is followed only where the configuration says symlinks: follow-inside"
	}
	return "it is not followed (symlinks: skip)"
}

// kindOf names what is no file, directory or symlink.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// decide says what the filters say.
func (t *teller) decide(s *control.Story, at string, seen *sight) {
	if seen.untaken != "" && !seen.isDir {
		s.Filter.Why = "not asked: they decide about files"
		return
	}
	if t.cfg == nil {
		s.Filter.Why = "not known: name the configuration with --config"
		return
	}
	if seen.isDir {
		at += "/"
	}
	d := t.cfg.Filter.Path(at, seen.size, seen.mtime, time.Now())
	s.Filter = control.Decision{Taken: !d.Excluded, Why: d.String()}
	if s.Disk == nil || d.Excluded {
		return
	}
	if _, reason := t.limits(path.Base(at), seen.size); reason != "" {
		s.Filter = control.Decision{Why: reason}
	} else if _, err := t.cfg.RemotePath(at); err != nil {
		s.Filter = control.Decision{Why: err.Error()}
	}
}

// next says what will happen, and when.
func (t *teller) next(s *control.Story, h *queue.History, seen *sight, standing *queue.Standing) (string, time.Time) {
	switch {
	case h.Intent != nil:
		return "its asset is being moved, copied or removed in the library", time.Time{}
	case !h.Ignored.IsZero():
		return "nothing: it is left out until iksync ignore --undo", time.Time{}
	case t.away != "":
		return "nothing: its root is paused until it is there again, and nothing is inferred meanwhile", time.Time{}
	case h.Job != nil:
		return t.nextOfJob(h.Job)
	case h.MovesTo != "" && s.Disk == nil:
		return "its asset follows it to " + display(h.MovesTo) + ", where the file seems to be by now", time.Time{}
	case seen.empty && h.Record != nil && h.Record.Absent == state.Present:
		return "nothing: nothing is inferred from an empty root", time.Time{}
	case s.Disk == nil && h.Record != nil:
		return t.nextOfAbsent(h.Record, standing)
	case seen.isDir:
		return "nothing: name a file in it to know more of that", time.Time{}
	case seen.untaken != "":
		return "nothing: it is not taken", time.Time{}
	case s.Disk == nil && h.Removed != nil && h.Removed.TrashPath != "":
		return "nothing: there is no file, and its asset was moved to the trash", time.Time{}
	case s.Disk == nil && h.Removed != nil:
		return "nothing: there is no file, and its asset was deleted", time.Time{}
	case s.Disk == nil:
		return "nothing: there is no file, and nothing is recorded of this path (what was moved or renamed is recorded under its new path)", time.Time{}
	case t.cfg != nil && !s.Filter.Taken && h.Record != nil && h.Record.Absent != state.Present:
		return t.nextOfAbsent(h.Record, standing)
	case t.cfg != nil && !s.Filter.Taken:
		return "nothing: it is not taken", time.Time{}
	case h.Alias != nil && h.Record == nil:
		return "nothing: its content is in the library under the name of another file (duplicates: skip)", time.Time{}
	case h.Record != nil && !s.Disk.Changed:
		return "nothing: it is in step", time.Time{}
	case t.running == nil:
		return "it is queued by the next iksync run or backfill", time.Time{}
	case t.running.Settling > 0:
		return "it is queued once it has been quiet for the settle time, or found by the next scan", time.Time{}
	}
	return "it is found by the next scan: iksync rescan asks for one", time.Time{}
}

func (t *teller) nextOfJob(j *queue.Item) (string, time.Time) {
	const again = "when it changes, or on iksync retry; what ImageKit refused also when the daemon starts, and when its key or its limits change"
	switch {
	case j.State == queue.Failed:
		return "it was given up; it is tried again " + again, time.Time{}
	case j.State == queue.Held:
		return "it waits until it changes: " + j.Reason, time.Time{}
	case t.running == nil:
		return "the next iksync run or backfill goes on with it", j.NotBefore
	case j.State == queue.Leased:
		return "a worker has it: it is being sent, or about to be", time.Time{}
	case t.running.State == control.Paused || t.running.State == control.Waiting:
		return "it waits: " + t.running.State + ", " + t.running.Why, time.Time{}
	case j.NotBefore.After(time.Now()) && j.Class != "":
		return "it is tried again", j.NotBefore
	case j.NotBefore.After(time.Now()):
		return "it waits for others", j.NotBefore
	}
	return "it is sent when its turn comes", time.Time{}
}

func (t *teller) nextOfAbsent(f *state.File, standing *queue.Standing) (string, time.Time) {
	const choice = "iksync approve lets it go, iksync undo keeps it"
	held := standing.HoldsBack(f)
	switch {
	case f.Absent == state.Present:
		return "the next scan notes that it is not there", time.Time{}
	case f.Kept:
		return "its copy in the library is kept (iksync undo)", time.Time{}
	case t.cfg == nil && held:
		return "its copy in the library stays, or waits to be removed, as the root's policy says; a brake holds removals back (" + standing.Braked + "): " + choice, time.Time{}
	case t.cfg == nil:
		return "its copy in the library stays or goes as the root's policy says", time.Time{}
	}
	policy := t.cfg.Removal.Policy(f.Absent)
	switch {
	case policy == uploader.Keep:
		return "its copy in the library is kept", time.Time{}
	case held:
		return "its copy in the library is to be removed (" + policy.String() + "), but a brake holds it back (" + standing.Braked + "): " + choice, time.Time{}
	}
	return "its copy in the library is removed (" + policy.String() + "), unless it is back by then or iksync undo keeps it", f.AbsentAt.Add(t.cfg.Removal.After)
}

// story tells all about a path, as the daemon knows it.
func (o *operator) story(ctx context.Context, at queue.Place) (*control.Story, error) {
	g := o.current()
	if g == nil {
		return nil, errStarting
	}
	for i := range g.roots {
		root := &g.roots[i]
		if root.state.ID != at.RootID {
			continue
		}
		t := &teller{q: o.d.q, root: root.state, cfg: root.config, limits: g.cfg.Limits.Hold, away: g.watchers[i].Stats().Paused}
		st, err := o.status(ctx)
		if err != nil {
			return nil, err
		}
		for i := range st.Roots {
			if st.Roots[i].ID == at.RootID {
				t.running = &st.Roots[i]
			}
		}
		for _, s := range g.watchers[i].Seen(at.Path) {
			t.events = append(t.events, control.Sighting{At: s.At, What: s.What})
		}
		return t.story(ctx, at.Path)
	}
	return o.storyOfMissing(ctx, g, at)
}

// storyOfMissing tells about a path of a root that was not there when the daemon, or its
// present configuration, began.
func (o *operator) storyOfMissing(ctx context.Context, g *generation, at queue.Place) (*control.Story, error) {
	roots, err := o.d.db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		if root.ID != at.RootID || !slices.Contains(g.missing, root.Path) {
			continue
		}
		t := &teller{q: o.d.q, root: root, limits: g.cfg.Limits.Hold, away: "it was not there when iksync began"}
		for i := range g.cfg.Roots {
			if g.cfg.Roots[i].Path == root.Path {
				t.cfg = &g.cfg.Roots[i]
			}
		}
		return t.story(ctx, at.Path)
	}
	return nil, errors.New("the daemon does not have that root at present")
}
