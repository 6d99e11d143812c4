package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

func (a *app) whyCommand() *cobra.Command {
	r := &request{app: a}
	cmd := &cobra.Command{
		Use:     "why PATH",
		Aliases: []string{"history"},
		Short:   "Tell everything about one file, and what will happen next",
		Long: `why tells everything about one file: which filter decided, how it is on the disk and in
its record, what the daemon has noticed of late, every attempt that did not succeed with
ImageKit's answer and request id, its fileId and URL, what was removed from the library,
and what will happen next and when.

It asks the running daemon. Without one it reads the state file; the filters are then
those of --config. "iksync history" is the same.`,
		Args: oneArgument("the file to tell about"),
		RunE: func(cmd *cobra.Command, args []string) error { return r.why(cmd.Context(), args[0]) },
	}
	r.flags(cmd)
	return cmd
}

func (r *request) why(ctx context.Context, name string) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	return r.reading(ctx, func(db *state.DB, q *queue.Queue) error {
		at, err := places(ctx, db, []string{name})
		if err != nil {
			return err
		}
		client := control.NewClient(path)
		for i, p := range at {
			s, err := client.Story(ctx, p)
			if errors.Is(err, control.ErrNoDaemon) {
				s, err = r.storyOffline(ctx, db, q, p)
			}
			if err != nil {
				return unanswered(path, err)
			}
			if r.json {
				enc := json.NewEncoder(r.out)
				enc.SetIndent("", "  ")
				err = enc.Encode(s)
			} else {
				if i > 0 {
					fmt.Fprintln(r.out)
				}
				err = r.printStory(s)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *request) storyOffline(ctx context.Context, db *state.DB, q *queue.Queue, at queue.Place) (*control.Story, error) {
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	t := &teller{q: q}
	for _, root := range roots {
		if root.ID == at.RootID {
			t.root = root
		}
	}
	if r.cfg != nil {
		t.limits = r.cfg.Limits.Hold
		for i := range r.cfg.Roots {
			if r.cfg.Roots[i].Path == t.root.Path {
				t.cfg = &r.cfg.Roots[i]
			}
		}
	}
	return t.story(ctx, at.Path)
}

func (r *request) printStory(s *control.Story) error {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(r.out, "  %-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(r.out, "%s in %s\n", s.Path, s.Root)
	switch {
	case s.Disk == nil:
		line("disk", "%s", s.DiskWhy)
	case s.Disk.Proof == state.NotCompared.String():
		line("disk", "%s, modified %s: perhaps as recorded, not compared", size(s.Disk.Size), timestamp(s.Disk.ModifiedAt))
	case s.Disk.Changed:
		line("disk", "%s, modified %s: not as recorded", size(s.Disk.Size), timestamp(s.Disk.ModifiedAt))
	default:
		line("disk", "%s, modified %s", size(s.Disk.Size), timestamp(s.Disk.ModifiedAt))
	}
	if s.Identity != "" {
		line("identity", "%s", s.Identity)
	}
	if s.Filter.Why != "" {
		line("filters", "%s", s.Filter.Why)
	}
	if !s.Ignored.IsZero() {
		line("ignored", "since %s", timestamp(s.Ignored))
	}
	if f := s.Record; f != nil {
		line("uploaded", "%s, %s", timestamp(f.UploadedAt), size(f.Size))
		line("fileId", "%s", f.FileID)
		line("library", "%s", f.RemotePath)
		line("url", "%s", f.URL)
		if f.Hash != "" {
			line("hash", "%s", f.Hash)
		}
		if f.Gone != "" {
			line("gone", "%s since %s", f.Gone, timestamp(f.GoneAt))
		}
	}
	if r := s.Removed; r != nil {
		line("removed", "%s from the library: %s, fileId %s; %s", timestamp(r.At), r.RemotePath, r.FileID, whereabouts(r.TrashPath))
	}
	if s.Same != "" {
		line("same as", "%s", s.Same)
	}
	for _, e := range s.Events {
		line("noticed", "%s %s", timestamp(e.At), e.What)
	}
	for _, a := range s.Attempts {
		id := ""
		if a.RequestID != "" {
			id = " (request id " + a.RequestID + ")"
		}
		line("tried", "%s: %s: %s%s", timestamp(a.Began), a.Class, a.Reason, id)
	}
	if j := s.Job; j != nil {
		line("queue", "%s, %s", j.State, quantity(int64(j.Attempts), "attempt"))
	}
	if s.NextAt.After(time.Now()) {
		line("next", "%s, not before %s", s.Next, timestamp(s.NextAt))
	} else {
		line("next", "%s", s.Next)
	}
	return nil
}

// whereabouts says what became of an asset that was removed.
func whereabouts(trash string) string {
	if trash == "" {
		return "it was deleted"
	}
	return "it is in the trash as " + trash
}

func size(n int64) string {
	if n < 1000 {
		return quantity(n, "byte")
	}
	return fmt.Sprintf("%s bytes (%s)", humanize.Comma(n), humanize.Bytes(uint64(n)))
}
