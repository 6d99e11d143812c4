package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

func (a *app) rescanCommand() *cobra.Command {
	r := &request{app: a}
	cmd := &cobra.Command{
		Use:   "rescan [ROOT | PATH...]",
		Short: "Let the daemon look at the disk at once",
		Long: `rescan lets the running daemon scan all roots at once, or only what is named: a root (its
path or its folder), a directory in one, or a file. It returns when that has begun;
iksync status tells how it goes on. Without a daemon use iksync backfill.`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.rescan(cmd.Context(), args) },
	}
	r.flags(cmd)
	return cmd
}

func (r *request) rescan(ctx context.Context, args []string) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	at := []queue.Place{{}}
	if len(args) > 0 {
		err := r.reading(ctx, func(db *state.DB, _ *queue.Queue) error {
			at, err = rootsOrPlaces(ctx, db, args)
			return err
		})
		if err != nil {
			return err
		}
	}
	client := control.NewClient(path)
	for _, p := range at {
		switch err := client.Rescan(ctx, p); {
		case errors.Is(err, control.ErrNoDaemon):
			return exit(exitFailed, fmt.Errorf("%w: the next start scans everything; iksync backfill does it at once", err))
		case err != nil:
			return unanswered(path, err)
		}
	}
	if r.json {
		return json.NewEncoder(r.out).Encode(map[string]int{"rescans": len(at)})
	}
	_, err = fmt.Fprintln(r.out, "The daemon looks at it now.")
	return err
}

// rootsOrPlaces takes folders of roots, too.
func rootsOrPlaces(ctx context.Context, db *state.DB, names []string) ([]queue.Place, error) {
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	var found []queue.Place
	for _, name := range names {
		if picked, err := namedRoots(roots, []string{name}); err == nil {
			for _, root := range picked {
				found = append(found, queue.Place{RootID: root.ID})
			}
			continue
		}
		in, err := places(ctx, db, []string{name})
		if err != nil {
			return nil, err
		}
		found = append(found, in...)
	}
	return found, nil
}
