//go:build failpoints && unix

package main

import (
	"maps"
	"strings"
	"testing"

	"iksync/state"
	"iksync/state/failpoint"
)

// relocationPoints are the failpoints that TestFailpointsOfRelocation reaches.
var relocationPoints = []string{failpoint.RelocateCommit, failpoint.RelocateAfter, failpoint.DistrustCommit, failpoint.RehomeCommit, failpoint.RehomedCommit}

// TestFailpointsOfRelocation lets a backfill die and fail while a root gets another path or
// folder, and wants the next to put all right: nothing is sent again, and no fileId changes.
func TestFailpointsOfRelocation(t *testing.T) {
	t.Parallel()
	folder := func(to string) func(*relocation) []string {
		return func(r *relocation) []string {
			r.roots[0].folder = to
			r.configure()
			ids := make(map[string]string)
			for remote, id := range r.ids {
				ids[to+strings.TrimPrefix(remote, "/photos")] = id
			}
			r.ids = ids
			return []string{"relocate", "--folder", to, "--config", r.config}
		}
	}
	backfill := func(r *relocation) []string { return []string{"backfill", "--config", r.config, "--no-progress"} }
	for _, c := range []struct {
		name   string
		points []string
		change func(*relocation) []string // returns the command
	}{
		{"renamed", []string{failpoint.RelocateCommit, failpoint.RelocateAfter}, func(r *relocation) []string {
			r.moveTree(r.rename)
			return backfill(r)
		}},
		{"copied", []string{failpoint.RelocateCommit, failpoint.RelocateAfter}, func(r *relocation) []string {
			r.moveTree(r.copyAway)
			return backfill(r)
		}},
		{"on another machine", []string{failpoint.DistrustCommit}, func(r *relocation) []string {
			path := r.tree()
			r.rename(path, path+"-away")
			r.copyAway(path+"-away", path)
			db, err := state.Open(t.Context(), r.state)
			r.must(err)
			r.must(db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.Exec(`UPDATE roots SET identity = CAST('uuid:1:2' AS BLOB)`) }))
			r.must(db.Close())
			return backfill(r)
		}},
		{"folder renamed", []string{failpoint.RehomeCommit, failpoint.RehomedCommit, failpoint.IntendAfter, failpoint.LibraryRenameFolder, failpoint.LibraryRenamedTree, failpoint.NoteJobCommit, failpoint.MovedTreeCommit}, folder("/images")},
		{"folder moved and renamed", []string{failpoint.RehomedCommit, failpoint.LibraryRenamedTree, failpoint.LibraryMoveFolder, failpoint.LibraryMovedTree, failpoint.MovedTreeCommit}, folder("/all/images")},
	} {
		for _, point := range c.points {
			for _, action := range []string{"kill", "error"} {
				t.Run(c.name+" "+point+" "+action, func(t *testing.T) {
					t.Parallel()
					r := newRelocation(t)
					args := c.change(r)
					cmd := r.command("iksync", args, "IKSYNC_FAILPOINTS="+point+"="+action+"@1")
					out, _ := cmd.CombinedOutput()
					if !strings.Contains(string(out), "failpoint "+point+": "+action) {
						t.Fatalf("it was not reached:\n%s", out)
					}
					r.killed = true
					if args[0] == "relocate" {
						r.ends(0, args...) // asked for again, as one does who has seen it fail
					}
					for range 2 {
						r.backfillAnyhow()
					}
					if n := r.uploads(); n != relocated12 {
						t.Errorf("%d uploads, and not %d", n, relocated12)
					}
					if ids := r.fileIDs(); !maps.Equal(ids, r.ids) {
						t.Errorf("the records are of %v, and should be of %v", ids, r.ids)
					}
				})
			}
		}
	}
}
