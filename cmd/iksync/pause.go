package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

// pausing is one pause or resume.
type pausing struct {
	*request
	until string
}

func (a *app) pauseCommand() *cobra.Command {
	p := &pausing{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "pause [ROOT...] [--until TIME]",
		Short: "Let uploads wait",
		Long: `pause lets the daemon send, move and remove nothing of the roots until iksync resume, or
until a time. It goes on watching, so that nothing is missed. What is on its way is
finished. A pause lasts across restarts. ROOT is a root's path or folder; without one
it is every root.

TIME is a time of the day (18:00, the next one), a date and time ("2026-12-24 18:00") or
a duration (90m, 8h).

It works beside a running daemon; without one the next heeds it. iksync backfill, which
somebody asks for, does not. Beside a paused daemon, which would have to do the work, it
ends with exit code 1 and says what is paused: end that with iksync resume first.`,
		Example: `  iksync pause --until 18:00
  iksync pause /photos`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.pause(cmd.Context(), args) },
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&p.until, "until", "", "when the uploads go on by themselves: a `time`")
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	p := &pausing{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "resume [ROOT...]",
		Short: "End a pause",
		Long: `resume ends what iksync pause began. ROOT is a root's path or folder; without one it is
every root.`,
		RunE: func(cmd *cobra.Command, args []string) error { return p.resume(cmd.Context(), args) },
	}
	p.flags(cmd)
	return cmd
}

// named are the roots that are asked for.
func (p *pausing) named(ctx context.Context, args []string) (path string, roots []state.Root, err error) {
	if path, err = p.path(); err != nil {
		return "", nil, err
	}
	err = p.reading(ctx, func(db *state.DB, _ *queue.Queue) error {
		all, err := db.Roots(ctx)
		if err != nil {
			return err
		}
		roots, err = namedRoots(all, args)
		return err
	})
	return path, roots, err
}

func idsOf(roots []state.Root) []int64 {
	ids := make([]int64, len(roots))
	for i := range roots {
		ids[i] = roots[i].ID
	}
	return ids
}

func (p *pausing) pause(ctx context.Context, args []string) error {
	var until time.Time
	if p.until != "" {
		var err error
		if until, err = parseUntil(p.until, time.Now()); err != nil {
			return err
		}
	}
	path, roots, err := p.named(ctx, args)
	if err != nil {
		return err
	}
	err = p.act(ctx, path, func(q *queue.Queue) error { return q.Pause(ctx, idsOf(roots), until) },
		func(c *control.Client) error { return c.Pause(ctx, idsOf(roots), until) })
	if err != nil {
		return err
	}
	how := "until iksync resume"
	if !until.IsZero() {
		how = "until " + until.Format(time.DateTime)
	}
	return p.say(roots, "paused", until, "Paused "+how+": ")
}

func (p *pausing) resume(ctx context.Context, args []string) error {
	path, roots, err := p.named(ctx, args)
	if err != nil {
		return err
	}
	err = p.act(ctx, path, func(q *queue.Queue) error { return q.Resume(ctx, idsOf(roots)) },
		func(c *control.Client) error { return c.Resume(ctx, idsOf(roots)) })
	if err != nil {
		return err
	}
	return p.say(roots, "resumed", time.Time{}, "Resumed: ")
}

func (p *pausing) say(roots []state.Root, what string, until time.Time, words string) error {
	paths := make([]string, len(roots))
	for i, r := range roots {
		paths[i] = display(r.Path)
	}
	if p.json {
		said := map[string]any{what: paths}
		if !until.IsZero() {
			said["until"] = timestamp(until)
		}
		return json.NewEncoder(p.out).Encode(said)
	}
	_, err := fmt.Fprintln(p.out, words+strings.Join(paths, ", "))
	return err
}

// parseUntil reads a time of the day, a date with time, or a duration.
func parseUntil(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	if t, err := time.ParseInLocation("15:04", text, now.Location()); err == nil {
		at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
		if !at.After(now) {
			at = time.Date(now.Year(), now.Month(), now.Day()+1, t.Hour(), t.Minute(), 0, 0, now.Location())
		}
		return at, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339, time.DateOnly} {
		at, err := time.ParseInLocation(layout, text, now.Location())
		if err != nil {
			continue
		}
		if !at.After(now) {
			return time.Time{}, usage("--until %s is over", text)
		}
		return at, nil
	}
	return time.Time{}, usage("--until %q is no time: say 18:00, \"2026-12-24 18:00\" or 8h", text)
}
