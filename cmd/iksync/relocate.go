package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"iksync/cmd/iksync/internal/config"
	"iksync/cmd/iksync/internal/control"
	"iksync/state"
	"iksync/watcher"
)

// relocating is one relocate.
type relocating struct {
	*request
	newRoot bool
	folder  bool
}

func (a *app) relocateCommand() *cobra.Command {
	r := &relocating{request: &request{app: a}}
	cmd := &cobra.Command{
		Use:   "relocate {OLD NEW | --new-root NEW | --folder ROOT}",
		Short: "Record that a root is at another path, is a new one, or has another folder",
		Long: `relocate OLD NEW records that the directory of a root, which was at OLD, is at NEW: a disk is
mounted elsewhere, or the directory was renamed. The records move with it, so that nothing
is sent again. iksync sees that by itself if NEW is the same directory of the same disk, or has most
of the recorded files; otherwise the root "needs a decision", and waits.

--new-root NEW records that NEW is none of the recorded roots: its files are uploaded.

--folder ROOT moves the assets of a root whose folder was changed in the configuration into the
new folder. Their fileIds stay; their URLs change. If all of the old folder is the root's, and
the new folder is not in the library yet, the folder is moved as a whole, with everything in it.
Otherwise the assets are moved one by one. ROOT is the root's path or folder. Without
a daemon this is a backfill of the root that also moves its assets.

relocate works beside a running daemon, which goes on with the root within seconds.`,
		Example: `  iksync relocate /media/disk/photos /mnt/photos --config /etc/iksync/config.yaml
  iksync relocate --folder /photos --config /etc/iksync/config.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args) },
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&r.newRoot, "new-root", false, "NEW is a new root, whatever it looks like")
	cmd.Flags().BoolVar(&r.folder, "folder", false, "move the assets of ROOT into its folder")
	return cmd
}

func (r *relocating) run(ctx context.Context, args []string) error {
	want := 2
	if r.newRoot || r.folder {
		want = 1
	}
	switch {
	case r.newRoot && r.folder:
		return usage("--new-root and --folder are different things: name one")
	case len(args) != want:
		return usage("name %d paths, and %d were given (see iksync relocate --help)", want, len(args))
	}
	path, err := r.path()
	if err != nil {
		return err
	}
	if (r.newRoot || r.folder) && r.cfg == nil {
		return usage("name the configuration with --config: it has the root's folder")
	}
	if r.folder {
		return r.rehome(ctx, path, args[0])
	}
	wish := control.Relocation{NewRoot: r.newRoot}
	to, err := config.RootPath(args[want-1])
	if err != nil {
		return exit(exitConfig, err)
	}
	wish.To = []byte(to)
	if !r.newRoot {
		from, err := resolve(args[0])
		if err != nil {
			return usage("%s: %v", args[0], err)
		}
		wish.From = []byte(from)
	}
	var done string
	err = r.actOn(ctx, path, func(db *state.DB) (err error) {
		done, err = relocateIn(ctx, db, wish, r.cfg)
		return err
	}, func(c *control.Client) (err error) {
		done, err = c.Relocate(ctx, wish)
		return err
	})
	if err != nil {
		return err
	}
	return r.say(done)
}

func (r *relocating) say(done string) error {
	if r.json {
		return json.NewEncoder(r.out).Encode(map[string]string{"done": done})
	}
	_, err := fmt.Fprintln(r.out, done)
	return err
}

// rehome moves the assets of a root into its folder.
func (r *relocating) rehome(ctx context.Context, path, name string) error {
	picked, err := pickRoots(r.cfg.Roots, []string{name})
	if err != nil {
		return err
	}
	done, err := control.NewClient(path).Relocate(ctx, control.Relocation{To: []byte(picked[0].Path), Folder: true})
	switch {
	case err == nil:
		return r.say(done)
	case !errors.Is(err, control.ErrNoDaemon):
		return unanswered(path, err)
	}
	b := &backfill{app: r.app, configFile: r.configFile, stateFile: r.stateFile, json: r.json, rehome: true, params: &paramFlags{flags: new(cobra.Command).Flags()}}
	return b.run(ctx, []string{picked[0].Path})
}

// relocateIn does what is asked for in a state file.
func relocateIn(ctx context.Context, db *state.DB, wish control.Relocation, cfg *config.Config) (string, error) {
	from, to := string(wish.From), string(wish.To)
	recorded, err := db.RecordedRoots(ctx)
	if err != nil {
		return "", err
	}
	at := func(path string) *state.RecordedRoot {
		if i := slices.IndexFunc(recorded, func(r state.RecordedRoot) bool { return r.Path == path }); i >= 0 {
			return &recorded[i]
		}
		return nil
	}
	var folder string
	if cfg != nil {
		for i := range cfg.Roots {
			switch resolved, err := filepath.EvalSymlinks(cfg.Roots[i].Path); {
			case err == nil && resolved == to, cfg.Roots[i].Path == to:
				folder = cfg.Roots[i].Folder
			case from != "" && cfg.Roots[i].Path == from:
				return "", exit(exitConfig, fmt.Errorf("%s is configured still: correct its path in the configuration first", from))
			}
		}
	}
	if wish.NewRoot {
		if at(to) != nil {
			return "", exit(exitConfig, fmt.Errorf("%s is a recorded root already", to))
		}
		if folder == "" {
			return "", exit(exitConfig, fmt.Errorf("%s is no root of the configuration", to))
		}
		if _, err := db.EnsureRoot(ctx, to, folder); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s is recorded as a new root.", to), nil
	}
	root := at(from)
	if root == nil {
		return "", exit(exitConfig, fmt.Errorf("the state file has no root %s (iksync status lists them)", from))
	}
	if folder == "" {
		folder = root.Folder
	}
	here, err := watcher.Identify(to)
	if err != nil {
		return "", exit(exitConfig, err)
	}
	same, proven := here.Is(root.Identity)
	_, err = db.RelocateRoot(ctx, root.Root, to, folder, same && proven)
	if errors.Is(err, state.ErrRootsChanged) && at(to) != nil {
		return "", exit(exitConfig, fmt.Errorf("%s is a recorded root with files of its own, so it can't be %s as well", to, from))
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is recorded as the root that was at %s.", to, display(from)), nil
}

// relocate does what is asked for of the daemon, which goes on with the root by itself.
func (o *operator) relocate(ctx context.Context, wish control.Relocation) (string, error) {
	g := o.current()
	if g == nil {
		return "", errStarting
	}
	if wish.Folder {
		for i := range g.roots {
			if r := &g.roots[i]; r.config.Path == string(wish.To) {
				n, err := o.d.q.Rehome(ctx, r.state.ID, r.config.Folder)
				return fmt.Sprintf("The daemon moves %s into %s.", quantity(n, "asset", "assets"), r.config.Folder), err
			}
		}
		return "", fmt.Errorf("the daemon does not have the root %s at present", wish.To)
	}
	recorded, err := o.d.db.Roots(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range recorded {
		if r.Path == string(wish.From) && o.d.uses(r.ID) {
			return "", fmt.Errorf("files are being sent from %s still: try again in a while", r.Path)
		}
	}
	return relocateIn(ctx, o.d.db, wish, g.cfg)
}
