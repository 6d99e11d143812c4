package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"iksync/queue"
	"iksync/state"
)

func (a *app) lookupCommand() *cobra.Command {
	r := &request{app: a}
	cmd := &cobra.Command{
		Use:   "lookup {PATH | FILEID | REMOTE-PATH | URL}...",
		Short: "Find the record of a file by its path, fileId or URL",
		Long: `lookup prints what is recorded of files, which are named by their path here, their fileId,
their path in the library, or their URL (also one with transformations or another
endpoint). It only reads, also beside a daemon. What is not recorded, or not any more since
its copy was removed from the library, ends it with exit code 1.`,
		Example: `  iksync lookup ~/Pictures/2026/cover.jpg
  iksync lookup 68f1d2a36c7cd75eb8000001
  iksync lookup 'https://ik.imagekit.io/demo/tr:w-200/photos/2026/cover.jpg?updatedAt=1'`,
		Args: someArguments("what to look for: a path, a fileId, a path in the library or a URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return r.lookup(cmd.Context(), args) },
	}
	r.flags(cmd)
	return cmd
}

func (r *request) lookup(ctx context.Context, args []string) error {
	return r.reading(ctx, func(db *state.DB, q *queue.Queue) error {
		roots, err := db.Roots(ctx)
		if err != nil {
			return err
		}
		byID := make(map[int64]state.Root)
		for _, root := range roots {
			byID[root.ID] = root
		}
		missing := 0
		for _, name := range args {
			f, err := find(ctx, db, roots, name)
			if err != nil {
				return err
			}
			if f == nil {
				missing++
				removed, err := findRemoved(ctx, q, roots, name)
				if err != nil {
					return err
				}
				if removed == nil {
					fmt.Fprintf(r.err, "iksync: %s is not recorded\n", display(name))
					continue
				}
				fmt.Fprintf(r.err, "iksync: %s is not recorded any more: %s, fileId %s, remote path %s, was removed from the library at %s; %s\n", display(name),
					display(strings.TrimSuffix(byID[removed.RootID].Path, "/")+"/"+removed.Path), removed.FileID, removed.RemotePath, timestamp(removed.At), whereabouts(removed.TrashPath))
				continue
			}
			if err := r.tell(byID[f.RootID], f); err != nil {
				return err
			}
		}
		if missing > 0 {
			return exit(exitFailed, nil)
		}
		return nil
	})
}

// find looks a record up by what a user has of it; nil when there is none.
func find(ctx context.Context, db *state.DB, roots []state.Root, name string) (*state.File, error) {
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return findURL(ctx, db, name)
	}
	if f, err := db.FileByAsset(ctx, name); err != nil || f != nil {
		return whole(ctx, db, f, err)
	}
	for _, root := range roots {
		in, err := placesIn(root.Path, name)
		if err != nil {
			return nil, usage("%s: %v", name, err)
		}
		for _, at := range in {
			if f, err := db.FileAt(ctx, root.ID, at); err != nil || f != nil {
				return f, err
			}
		}
	}
	f, err := db.RemoteOwner(ctx, name)
	return whole(ctx, db, f, err)
}

// findRemoved looks for what was removed from the library by what a user has of it; nil
// when there is nothing.
func findRemoved(ctx context.Context, q *queue.Queue, roots []state.Root, name string) (*queue.Removed, error) {
	if r, err := q.RemovedAsset(ctx, name); err != nil || r != nil {
		return r, err
	}
	for _, root := range roots {
		in, err := placesIn(root.Path, name)
		if err != nil {
			return nil, usage("%s: %v", name, err)
		}
		for _, at := range in {
			if r, err := q.RemovedAt(ctx, queue.Place{RootID: root.ID, Path: at}); err != nil || r != nil {
				return r, err
			}
		}
	}
	return nil, nil
}

// whole adds the response to a record.
func whole(ctx context.Context, db *state.DB, f *state.File, err error) (*state.File, error) {
	if err != nil || f == nil {
		return nil, err
	}
	return db.FileByID(ctx, f.ID)
}

// findURL finds the record that a URL of ImageKit's delivers: its path ends with that of
// the asset, after the endpoint and transformations.
func findURL(ctx context.Context, db *state.DB, text string) (*state.File, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, usage("%s: %v", text, err)
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	for len(parts) > 0 {
		f, err := db.RemoteOwner(ctx, "/"+strings.Join(parts, "/"))
		if err != nil || f != nil {
			return whole(ctx, db, f, err)
		}
		parts = parts[1:]
	}
	return nil, nil
}

// tell prints a record.
func (r *request) tell(root state.Root, f *state.File) error {
	if r.json {
		return json.NewEncoder(r.out).Encode(exportedOf(root, f))
	}
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(r.out, "  %-12s %s\n", what, value)
		}
	}
	if f.Path == "" {
		return errors.New("a record without a path: the state file is damaged")
	}
	fmt.Fprintf(r.out, "%s\n", display(strings.TrimSuffix(root.Path, "/")+"/"+f.Path))
	line("fileId", f.FileID)
	line("remote path", f.RemotePath)
	line("url", f.URL)
	line("version", f.VersionID)
	line("size", fmt.Sprintf("%d bytes", f.Stat.Size))
	line("hash", hashWord(f.Hash))
	line("uploaded", timestamp(f.UploadedAt))
	if f.Absent != state.Present {
		line("gone", f.Absent.String()+" since "+timestamp(f.AbsentAt))
	}
	return nil
}
