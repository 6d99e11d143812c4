package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/queue"
	"iksync/state"
)

// request is what the commands have in common that look at the state file, and let
// the daemon act that has it; without a daemon they act themselves.
type request struct {
	*app
	configFile string
	stateFile  string
	json       bool
	cfg        *config.Config // nil without --config
}

func (r *request) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.configFile, "config", "", "configuration `file`, which names the state file and the policies")
	cmd.Flags().StringVar(&r.stateFile, "state", "", "state `file` (default: the configuration's, else $XDG_STATE_HOME/iksync/iksync.db)")
	cmd.Flags().BoolVar(&r.json, "json", false, "print it as JSON")
}

// path finds the state file by flags and configuration.
func (r *request) path() (string, error) {
	configured := ""
	if r.configFile != "" {
		cfg, err := config.LoadForDaemon(r.configFile)
		if err != nil {
			return "", exit(exitConfig, err)
		}
		r.cfg, configured = cfg, cfg.State
	}
	return r.statePath(r.stateFile, configured)
}

// namedRoots keeps the roots that are named by path or folder; all without names.
func namedRoots(roots []state.Root, names []string) ([]state.Root, error) {
	if len(names) == 0 {
		return roots, nil
	}
	var picked []state.Root
	for _, name := range names {
		found := false
		abs, err := resolve(name)
		if err != nil {
			return nil, usage("root %s: %v", name, err)
		}
		for _, root := range roots {
			if root.Path != abs && root.Folder != folderOf(name) {
				continue
			}
			found = true
			if !slices.ContainsFunc(picked, func(p state.Root) bool { return p.ID == root.ID }) {
				picked = append(picked, root)
			}
		}
		if !found {
			return nil, usage("the state file has no root %s", name)
		}
	}
	return picked, nil
}

// act does it on the state file, or lets the daemon do it that has it.
func (r *request) act(ctx context.Context, path string, direct func(*queue.Queue) error, remote func(*control.Client) error) error {
	return r.actOn(ctx, path, func(db *state.DB) error { return direct(newQueue(db)) }, remote)
}

// actOn is act for what needs the state file itself.
func (r *request) actOn(ctx context.Context, path string, direct func(*state.DB) error, remote func(*control.Client) error) error {
	db, err := state.Open(ctx, path)
	var locked *state.LockedError
	if errors.As(err, &locked) {
		err := remote(control.NewClient(path))
		if errors.Is(err, control.ErrNoDaemon) {
			return exit(exitBusy, fmt.Errorf("%w; it takes no commands meanwhile: %w", locked, err))
		}
		if err != nil {
			return unanswered(path, err)
		}
		return nil
	}
	if err != nil {
		return exit(exitConfig, asOwner(path, err))
	}
	defer db.Close()
	err = direct(db)
	var with *exitError
	if err != nil && !errors.As(err, &with) {
		err = exit(exitFailed, err)
	}
	return err
}

// reading runs fn on the state file, which it only reads, also beside a daemon.
func (r *request) reading(ctx context.Context, fn func(*state.DB, *queue.Queue) error) error {
	path, err := r.path()
	if err != nil {
		return err
	}
	db, err := readState(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	err = fn(db, newQueue(db))
	var with *exitError
	if err != nil && !errors.As(err, &with) {
		err = exit(exitFailed, err)
	}
	return err
}

// places are what paths that a user names are in the roots of the state file.
func places(ctx context.Context, db *state.DB, names []string) ([]queue.Place, error) {
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	var found []queue.Place
	for _, name := range names {
		known := false
		for _, root := range roots {
			in, err := placesIn(root.Path, name)
			if err != nil {
				return nil, usage("%s: %v", name, err)
			}
			for _, at := range in {
				found, known = append(found, queue.Place{RootID: root.ID, Path: at}), true
			}
		}
		if !known {
			return nil, usage("%s is below no root of the state file", name)
		}
	}
	return found, nil
}
