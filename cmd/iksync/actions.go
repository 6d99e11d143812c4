package main

import (
	"context"
	"fmt"
	"slices"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
)

// actions is what the daemon does for whoever may use its socket.
func (o *operator) actions() control.Actions {
	q := o.d.q
	return control.Actions{
		Undo: q.Undo, Approve: q.Approve, Retry: q.Retry,
		Pause: q.Pause, Resume: q.Resume,
		Relocate: o.relocate,
		Ignore:   o.ignore, Rescan: o.rescan, Backfill: o.backfill, Prove: q.Prove,
		Status: o.status, Story: o.story, Page: o.pageLink,
	}
}

// ignore leaves files out, or takes them up again.
func (o *operator) ignore(ctx context.Context, at queue.Place, undo bool) (int64, error) {
	if !undo {
		return o.d.q.Ignore(ctx, at)
	}
	n, err := o.d.q.Unignore(ctx, at)
	if err != nil {
		return 0, err
	}
	return n, o.rescan(ctx, at)
}

// rescan asks for a look at a place; the root 0 is every root.
func (o *operator) rescan(_ context.Context, at queue.Place) error {
	g := o.current()
	if g == nil {
		return errStarting
	}
	found := false
	for i, w := range g.watchers {
		if id := g.roots[i].state.ID; at.RootID != 0 && id != at.RootID {
			continue
		}
		found = true
		w.RescanAt(at.Path)
	}
	if !found {
		return fmt.Errorf("no configured root of this daemon is there")
	}
	return nil
}

// backfill scans the roots anew and tries what was refused again, and returns which
// scan of each (by root) will have seen what is there now.
func (o *operator) backfill(ctx context.Context, roots []int64) (map[int64]int64, error) {
	g := o.current()
	if g == nil {
		return nil, errStarting
	}
	marks := make(map[int64]int64)
	for i, w := range g.watchers {
		id := g.roots[i].state.ID
		if !slices.Contains(roots, id) {
			continue
		}
		if p := o.d.q.PausedUntil(id); p != nil {
			return nil, fmt.Errorf("%s is paused: end that with iksync resume", g.roots[i].config.Path)
		}
		s := w.Stats()
		marks[id] = s.Scans + 1
		if s.Scanning {
			marks[id]++ // the one that goes on may be past what has changed
		}
	}
	for _, id := range roots {
		if _, ok := marks[id]; !ok {
			return nil, fmt.Errorf("the daemon does not have that root (number %d) at present", id)
		}
	}
	if _, err := o.d.q.Retry(ctx, queue.Selection{Roots: roots, Automatic: true}); err != nil {
		return nil, err
	}
	for i, w := range g.watchers {
		if slices.Contains(roots, g.roots[i].state.ID) {
			w.RescanAt("")
		}
	}
	return marks, nil
}
