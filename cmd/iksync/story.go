package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/imagekit"
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
}

// story tells all about a path.
func (t *teller) story(ctx context.Context, at string) (*control.Story, error) {
	h, err := t.q.History(ctx, queue.Place{RootID: t.root.ID, Path: at})
	if err != nil {
		return nil, err
	}
	s := &control.Story{RootID: t.root.ID, Root: display(t.root.Path), Path: display(at), Attempts: []control.Attempt{}, Events: t.events, Ignored: h.Ignored}
	if s.Events == nil {
		s.Events = []control.Sighting{}
	}
	st, mtime := t.disk(s, at, h)
	t.decide(s, at, st, mtime)
	if f := h.Record; f != nil {
		s.Record = &control.Record{FileID: f.FileID, VersionID: f.VersionID, RemotePath: f.RemotePath, URL: f.URL, ThumbnailURL: f.ThumbnailURL, FileType: f.FileType,
			Size: f.Stat.Size, Hash: hashWord(f.Hash), UploadedAt: f.UploadedAt, CheckedAt: f.CheckedAt, Gone: goneWord(f)}
		if f.Stat.MtimeNs != state.NoTime {
			s.Record.ModifiedAt = time.Unix(0, f.Stat.MtimeNs)
		}
		if f.Absent != state.Present {
			s.Record.GoneAt = f.AbsentAt
		}
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
	s.Next, s.NextAt = t.next(s, h)
	return s, nil
}

// disk looks at the file itself, without leaving the root.
func (t *teller) disk(s *control.Story, at string, h *queue.History) (size int64, mtime time.Time) {
	dir, err := os.OpenRoot(t.root.Path)
	if err != nil {
		s.DiskWhy = err.Error()
		return 0, time.Time{}
	}
	defer dir.Close()
	info, err := dir.Lstat(filepath.FromSlash(at))
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		info, err = dir.Stat(filepath.FromSlash(at))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.DiskWhy = "no file is there"
		return 0, time.Time{}
	case err != nil:
		s.DiskWhy = err.Error()
		return 0, time.Time{}
	case !info.Mode().IsRegular():
		s.DiskWhy = "it is no regular file"
		return 0, time.Time{}
	}
	st := state.StatOf(info)
	s.Disk = &control.Disk{Size: st.Size, ModifiedAt: info.ModTime(), Changed: h.Record != nil && !h.Record.Stat.Same(st)}
	return st.Size, info.ModTime()
}

// decide says what the filters say.
func (t *teller) decide(s *control.Story, at string, size int64, mtime time.Time) {
	if t.cfg == nil {
		s.Filter.Why = "not known: name the configuration with --config"
		return
	}
	d := t.cfg.Filter.Path(at, size, mtime, time.Now())
	s.Filter = control.Decision{Taken: !d.Excluded, Why: d.String()}
	if s.Disk == nil || d.Excluded {
		return
	}
	if _, reason := t.limits(path.Base(at), size); reason != "" {
		s.Filter = control.Decision{Why: reason}
	} else if _, err := imagekit.RemotePath(t.cfg.Folder, at); err != nil {
		s.Filter = control.Decision{Why: err.Error()}
	}
}

// next says what will happen, and when.
func (t *teller) next(s *control.Story, h *queue.History) (string, time.Time) {
	switch {
	case h.Intent != nil:
		return "its asset is being moved, copied or removed in the library", time.Time{}
	case !h.Ignored.IsZero():
		return "nothing: it is left out until iksync ignore --undo", time.Time{}
	case h.Job != nil:
		return t.nextOfJob(h.Job)
	case s.Disk == nil && h.Record != nil:
		return t.nextOfAbsent(h.Record)
	case s.Disk == nil:
		return "nothing: there is no file, and none was uploaded", time.Time{}
	case t.cfg != nil && !s.Filter.Taken && h.Record != nil && h.Record.Absent != state.Present:
		return t.nextOfAbsent(h.Record)
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

func (t *teller) nextOfAbsent(f *state.File) (string, time.Time) {
	switch {
	case f.Absent == state.Present:
		return "the next scan notes that it is not there", time.Time{}
	case f.Kept:
		return "its copy in the library is kept (iksync undo)", time.Time{}
	case t.cfg == nil:
		return "its copy in the library stays or goes as the root's policy says", time.Time{}
	}
	policy := t.cfg.Removal.Policy(f.Absent)
	if policy == uploader.Keep {
		return "its copy in the library is kept", time.Time{}
	}
	return "its copy in the library is removed (" + policy.String() + "), if no brake holds it back", f.AbsentAt.Add(t.cfg.Removal.After)
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
		t := &teller{q: o.d.q, root: root.state, cfg: root.config, limits: g.cfg.Limits.Hold}
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
	return nil, errors.New("the daemon does not have that root at present")
}
