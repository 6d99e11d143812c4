package watcher_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
)

func TestAFileSystemThatRenumbersAllFilesProvesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		renumbered int // of six files that are otherwise unchanged
		proven     bool
	}{
		"all":     {6, false},
		"but one": {5, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			if trust, err := tr.db.Mounts().At(tr.dir); err != nil || !trust.Proven() {
				t.Skipf("files here are on %+v, %v", trust, err)
			}
			var paths []string
			for i := range 6 {
				paths = append(paths, fmt.Sprintf("f%d", i))
			}
			tr.write(paths...)
			for _, p := range paths {
				tr.must(os.Chtimes(tr.at(p), time.Unix(1, 0), time.Unix(1, 0)))
			}
			tr.scan()
			tr.upload(len(paths))
			before := tr.records()
			tr.must(tr.db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
				for i := range c.renumbered { // the numbers go round among those files
					if err := tx.Exec(`UPDATE files SET ino = ? WHERE path = ?`, int64(before[paths[(i+1)%c.renumbered]].Ino), []byte(paths[i])); err != nil {
						return err
					}
				}
				return nil
			}))
			tr.must(watcher.NewScanner(tr.q, tr.o).Run(t.Context()))
			for _, p := range paths {
				if m, err := tr.q.MoveTo(t.Context(), queue.Place{RootID: tr.o.Root.ID, Path: p}); err != nil || m != nil && !c.proven {
					t.Errorf("%s is a move: %v, %v", p, m, err)
				}
			}
			trust, err := tr.db.Mounts().At(tr.dir)
			if err != nil || trust.Proven() != c.proven {
				t.Errorf("afterwards: %+v, %v", trust, err)
			}
		})
	}
}
