package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

// watchEvery is how often --watch draws anew.
const watchEvery = time.Second

// showing is one status.
type showing struct {
	*request
	watch bool
}

func (a *app) statusCommand() *cobra.Command {
	s := &showing{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how everything stands",
		Long: `status tells of every root whether it is in step, syncing or paused, and why; how many
files and bytes it has, how many are still to be sent and since when the oldest waits;
what fails and what is held, by reason; how much of it is watched, and when it was scanned
last. And of the uploads how many are on their way, how fast, and how long the rest takes.

It asks the running daemon. Without one it tells what the state file does, which it only
reads. With --watch it is drawn anew every second (with --json: a line every second).`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context()) },
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&s.watch, "watch", false, "draw it anew every second, until Ctrl-C")
	return cmd
}

func (s *showing) run(ctx context.Context) error {
	path, err := s.path()
	if err != nil {
		return err
	}
	if !s.watch {
		st, err := s.ask(ctx, path)
		if err != nil {
			return err
		}
		if s.json {
			enc := json.NewEncoder(s.out)
			enc.SetIndent("", "  ")
			return enc.Encode(st)
		}
		return printStatus(s.out, st)
	}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	clear := ""
	if f, ok := s.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		clear = "\x1b[H\x1b[2J"
	}
	for {
		st, err := s.ask(ctx, path)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var text strings.Builder
		if s.json {
			err = json.NewEncoder(&text).Encode(st)
		} else {
			text.WriteString(clear)
			err = printStatus(&text, st)
			if clear == "" {
				text.WriteString("\n")
			}
		}
		if err == nil {
			_, err = io.WriteString(s.out, text.String())
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// ask asks the daemon, else the state file.
func (s *showing) ask(ctx context.Context, path string) (*control.Status, error) {
	st, err := control.NewClient(path).Status(ctx)
	if err == nil {
		return st, nil
	}
	if !errors.Is(err, control.ErrNoDaemon) {
		return nil, unanswered(path, err)
	}
	err = s.reading(ctx, func(db *state.DB, q *queue.Queue) error {
		st, err = offline(ctx, db, q)
		return err
	})
	return st, err
}

// printStatus tells a status to people.
func printStatus(w io.Writer, s *control.Status) error {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprint(&b, s.State)
	if s.Why != "" {
		fmt.Fprintf(&b, " (%s)", s.Why)
	}
	if s.Running {
		fmt.Fprintf(&b, "; iksync %s, process %d, up %s", s.Version, s.PID, span(s.At.Sub(s.Started)))
	}
	fmt.Fprintln(&b)
	for i := range s.Roots {
		r := &s.Roots[i]
		fmt.Fprintf(&b, "\n%s -> %s: %s", r.Path, cmp.Or(r.Folder, "?"), r.State)
		if r.Why != "" {
			fmt.Fprintf(&b, " (%s)", r.Why)
		}
		fmt.Fprintln(&b)
		asOf := ""
		if s.Running && r.ID != 0 {
			asOf = " as of the last scan"
			if r.Scan.Last.IsZero() {
				asOf = " seen so far"
			}
		}
		line("files", "%s, %s%s", humanize.Comma(r.Files), humanize.Bytes(uint64(r.Bytes)), asOf)
		if r.Backlog > 0 || r.Settling > 0 {
			todo := fmt.Sprintf("%s, %s", humanize.Comma(r.Backlog), humanize.Bytes(uint64(r.BacklogBytes)))
			if !r.Oldest.IsZero() {
				todo += ", the oldest for " + span(s.At.Sub(r.Oldest))
			}
			if r.Settling > 0 {
				todo += fmt.Sprintf("; %s settling", humanize.Comma(r.Settling))
			}
			if r.NotCompared > 0 {
				todo += fmt.Sprintf("; %s of them not compared: metadata does not prove that they are as recorded", humanize.Comma(r.NotCompared))
			}
			line("to do", "%s", todo)
		}
		if len(r.Failing) > 0 {
			line("failing", "%s (iksync failures)", counts(r.Failing))
		}
		if len(r.Held) > 0 {
			line("held", "%s", counts(r.Held))
		}
		if len(r.Skipped) > 0 {
			line("skipped", "%s", counts(r.Skipped))
		}
		if r.Gone > 0 {
			line("gone", "%s not there, or not wanted, any more; the copies are in the library still", humanize.Comma(r.Gone))
		}
		if r.Unproven > 0 {
			line("unproven", "%s adopted without comparing contents (iksync verify --hash)", humanize.Comma(r.Unproven))
		}
		if due := r.Removals - r.HeldBack; due > 0 {
			line("removals", "%s of them to be removed when delete_after is over (iksync undo lists them)", humanize.Comma(due))
		}
		if r.HeldBack > 0 {
			line("held back", "%s of them to be removed: %s (iksync approve)", humanize.Comma(r.HeldBack), r.Braked)
		}
		if r.NamesChanged {
			line("names", "%s", namesChanged)
		}
		if s.Running {
			printWatch(line, r, s.At)
		} else if !r.Scan.Last.IsZero() {
			line("scanned", "%s ago", span(s.At.Sub(r.Scan.Last)))
		}
	}
	for i := range s.Unresolved {
		u := &s.Unresolved[i]
		fmt.Fprintf(&b, "\nunresolved: %s: nothing is sent, moved or removed there until ImageKit tells what became of it\n", changeOf(u))
	}
	if s.Running {
		printUploads(&b, &s.Uploads, s.At)
	}
	fmt.Fprintf(&b, "\nstate file: %s, %s\n", s.StateFile, humanize.Bytes(uint64(s.StateFileBytes)))
	_, err := io.WriteString(w, b.String())
	return err
}

// namesChanged says that a root sends other names than it is configured to.
const namesChanged = "ImageKit does not keep names as they are, so names: keep is as names: safe"

func printWatch(line func(string, string, ...any), r *control.RootStatus, now time.Time) {
	switch {
	case r.ID == 0: // not there
		return
	case r.Watch.Polling:
		line("watched", "no, it is polled: %s", r.Watch.Why)
	case r.Watch.Why != "":
		line("watched", "%s", r.Watch.Why)
	default:
		line("watched", "%s", quantity(r.Watch.Watched, "directory", "directories"))
	}
	if r.Watch.Overflows > 0 {
		line("overflows", "%s of the queue of events, each followed by a scan", humanize.Comma(r.Watch.Overflows))
	}
	scan := "never to its end"
	if !r.Scan.Last.IsZero() {
		scan = span(now.Sub(r.Scan.Last)) + " ago"
	}
	if r.Scan.Running {
		scan += fmt.Sprintf("; one goes on, %s seen", files(r.Scan.Seen))
	}
	if r.Scan.Unreadable > 0 {
		scan += fmt.Sprintf("; %s could not be looked at (the log names them)", humanize.Comma(r.Scan.Unreadable))
	}
	line("scanned", "%s", scan)
}

func printUploads(b *strings.Builder, u *control.Uploads, now time.Time) {
	fmt.Fprintf(b, "\nuploads: %d on their way", u.InFlight)
	if u.Window < u.Workers {
		fmt.Fprintf(b, " (%d instead of %d at once, as ImageKit bears them)", u.Window, u.Workers)
	}
	fmt.Fprintf(b, ", %s/s, %.1f files/s", humanize.Bytes(uint64(u.BytesPerSecond)), u.FilesPerSecond)
	if u.Limit > 0 {
		fmt.Fprintf(b, " (at most %s/s now)", humanize.Bytes(uint64(u.Limit)))
	}
	if u.ETA != nil {
		fmt.Fprintf(b, ", about %s left", span(time.Duration(*u.ETA*float64(time.Second))))
	}
	fmt.Fprintln(b)
	if u.Breaker != nil {
		fmt.Fprintf(b, "  all wait (%s) since %s: %s; one is tried in %s\n", u.Breaker.Class, u.Breaker.Since.Local().Format(time.DateTime), u.Breaker.Reason, span(max(u.Breaker.Next.Sub(now), 0)))
	}
	fmt.Fprintf(b, "  since the start: %s sent (%s), %s moved, %s tried again, %s given up\n",
		humanize.Comma(u.Uploaded), humanize.Bytes(uint64(u.UploadedBytes)), humanize.Comma(u.Moved), humanize.Comma(u.Retries), humanize.Comma(u.Failed))
	if !u.LastSuccess.IsZero() {
		fmt.Fprintf(b, "  last upload: %s ago\n", span(now.Sub(u.LastSuccess)))
	}
}

// span is a time in words, to two figures.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
