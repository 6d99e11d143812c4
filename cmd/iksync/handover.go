package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
)

// handed is a backfill that the daemon does.
type handed struct {
	InStep        bool                 `json:"in_step"`
	Interrupted   bool                 `json:"interrupted"`
	Error         string               `json:"error,omitempty"`
	Daemon        int                  `json:"daemon"` // its process id
	Uploaded      int64                `json:"uploaded"`
	UploadedBytes int64                `json:"uploaded_bytes"`
	Roots         []control.RootStatus `json:"roots"`

	Unresolved []control.Unresolved `json:"unresolved,omitempty"`
}

// handOver lets the daemon that has the state file do the work, shows how it goes on,
// and returns when it is done. before is how the daemon stands.
func (b *backfill) handOver(ctx context.Context, cfg *config.Config, statePath string, before *control.Status) error {
	for _, r := range before.Roots {
		if r.State == control.Undecided && slices.ContainsFunc(cfg.Roots, func(c config.Root) bool { return display(c.Path) == r.Path }) {
			return exit(exitConfig, errors.New(r.Why))
		}
	}
	ids, err := recordedRoots(ctx, cfg, statePath)
	if err != nil {
		return err
	}
	client := control.NewClient(statePath)
	marks, err := client.Backfill(ctx, ids)
	if err != nil {
		return unanswered(statePath, err)
	}
	fmt.Fprintf(b.err, "The daemon (process %d) does it; Ctrl-C ends only this view.\n", before.PID)
	h, err := b.follow(ctx, client, marks, before)
	if err != nil {
		return err
	}
	return b.told(h)
}

// recordedRoots are the ids of the configured roots.
func recordedRoots(ctx context.Context, cfg *config.Config, statePath string) ([]int64, error) {
	db, err := readState(ctx, statePath)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	recorded, err := db.Roots(ctx)
	if err != nil {
		return nil, exit(exitFailed, err)
	}
	var ids []int64
	for i := range cfg.Roots {
		known := false
		for _, r := range recorded {
			if r.Path == cfg.Roots[i].Path {
				ids, known = append(ids, r.ID), true
			}
		}
		if !known {
			return nil, exit(exitFailed, fmt.Errorf("the daemon that is running does not have the root %s: reload it with the configuration that does", cfg.Roots[i].Path))
		}
	}
	return ids, nil
}

// follow shows how the daemon goes on until it has done what was asked for.
func (b *backfill) follow(ctx context.Context, client *control.Client, marks map[int64]int64, before *control.Status) (*handed, error) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var scanned time.Time // when all had been seen
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return &handed{Interrupted: true, Daemon: before.PID}, nil
		case <-ticker.C:
		}
		s, err := client.Status(ctx)
		if ctx.Err() != nil {
			continue
		}
		if err != nil {
			return nil, exit(exitFailed, fmt.Errorf("the daemon has ended meanwhile; what is left is in the queue: %w", err))
		}
		h := &handed{Daemon: s.PID, Uploaded: s.Uploads.Uploaded - before.Uploads.Uploaded, UploadedBytes: s.Uploads.UploadedBytes - before.Uploads.UploadedBytes,
			InStep: len(s.Unresolved) == 0, Unresolved: s.Unresolved}
		scans, done := true, true
		for _, r := range s.Roots {
			mark, ours := marks[r.ID]
			if !ours {
				continue
			}
			h.Roots = append(h.Roots, r)
			if r.State == control.Paused || r.State == control.Waiting {
				h.InStep, h.Error = false, r.Path+" is "+r.State+": "+r.Why
				return h, nil
			}
			scans = scans && r.Scan.Completed >= mark
			// What has come since is none of ours.
			done = done && r.Settling == 0 && (r.Backlog <= r.Again || !scanned.IsZero() && r.Oldest.After(scanned))
			h.InStep = h.InStep && len(r.Failing) == 0 && r.Scan.Unreadable == 0
		}
		if scans && scanned.IsZero() {
			scanned = s.At
		}
		if scans && done {
			b.line("")
			return h, nil
		}
		if b.terminal || time.Since(said) >= logEvery {
			said = time.Now()
			b.line(goingOn(h.Roots, s, scans))
		}
	}
}

// line shows one line of progress, on a terminal in the place of the last one.
func (b *backfill) line(text string) {
	switch {
	case b.json || b.noProgress:
	case b.terminal:
		fmt.Fprint(b.err, "\r\x1b[K"+text)
	case text != "":
		fmt.Fprintln(b.err, text)
	}
}

func goingOn(roots []control.RootStatus, s *control.Status, scanned bool) string {
	var todo, bytes, seen int64
	for _, r := range roots {
		todo, bytes, seen = todo+r.Backlog, bytes+r.BacklogBytes, seen+r.Scan.Seen
	}
	text := fmt.Sprintf("%s to go (%s), %s/s", files(todo), humanize.Bytes(uint64(bytes)), humanize.Bytes(uint64(s.Uploads.BytesPerSecond)))
	if !scanned {
		return text + fmt.Sprintf(" (still counting: %s seen)", humanize.Comma(seen))
	}
	if s.Uploads.ETA != nil {
		text += ", about " + span(time.Duration(*s.Uploads.ETA*float64(time.Second))) + " left"
	}
	return text
}

// told tells how it ended.
func (b *backfill) told(h *handed) error {
	if b.json {
		if h.Roots == nil {
			h.Roots = []control.RootStatus{}
		}
		enc := json.NewEncoder(b.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(h); err != nil {
			return err
		}
	}
	switch {
	case h.Interrupted:
		fmt.Fprintln(b.err, "The daemon goes on.")
		return exit(exitInterrupted, nil)
	case h.Error != "":
		return exit(exitFailed, errors.New(h.Error))
	}
	var failing, unreadable int64
	for _, r := range h.Roots {
		failing, unreadable = failing+sum(r.Failing), unreadable+r.Scan.Unreadable
	}
	if !b.json {
		how := "In step."
		if !h.InStep {
			how = fmt.Sprintf("Not in step: %s failing (iksync failures), %s that could not be looked at.", files(failing), quantity(unreadable, "path"))
		}
		fmt.Fprintf(b.out, "%s The daemon has uploaded %s (%s) meanwhile.\n", how, files(h.Uploaded), humanize.Bytes(uint64(h.UploadedBytes)))
		for i := range h.Unresolved {
			fmt.Fprintf(b.out, "unresolved: %s\n", changeOf(&h.Unresolved[i]))
		}
		for _, r := range h.Roots {
			if r.Braked != "" {
				fmt.Fprintf(b.out, "Nothing of %s is removed: %s (iksync approve)\n", r.Path, r.Braked)
			}
		}
	}
	if !h.InStep {
		return exit(exitFailed, nil)
	}
	return nil
}
