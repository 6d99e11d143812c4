package watcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iksync/queue"
	"iksync/state"
	"iksync/watcher"
)

var oddNames = []string{
	"a", "a!", "a-", "a-b", "a.", "a.b", "a0", "A", "b", "\u00e4", "a\u0308", "\u65e5\u672c", "\xff", "a\xfe", "a\n", " ", "\\", "*", strings.Repeat("n", 255),
}

// mutate changes something in the tree at random. What can't be done, such as a
// file below a file, is left undone.
func mutate(rt *rapid.T, dir string, version int) {
	path := func(label string) string {
		return filepath.Join(append([]string{dir}, rapid.SliceOfN(rapid.SampledFrom(oddNames), 1, 3).Draw(rt, label)...)...)
	}
	content := []byte(strings.Repeat("x", rapid.IntRange(0, 3).Draw(rt, "size")))
	p := path("path")
	switch rapid.SampledFrom([]string{"write", "write", "write", "write", "edit", "touch", "remove", "rename", "to dir", "to file", "chmod", "link"}).Draw(rt, "what") {
	case "write":
		_ = os.MkdirAll(filepath.Dir(p), 0o755)
		_ = os.WriteFile(p, content, 0o644)
	case "edit":
		if f, err := os.OpenFile(p, os.O_WRONLY|os.O_TRUNC, 0); err == nil {
			_, _ = f.Write(content)
			_ = f.Close()
		}
	case "touch":
		_ = os.Chtimes(p, time.Time{}, time.Unix(int64(version), 0))
	case "remove":
		_ = os.RemoveAll(p)
	case "rename":
		_ = os.Rename(p, path("to"))
	case "to dir":
		if os.Remove(p) == nil {
			_ = os.Mkdir(p, 0o755)
			_ = os.WriteFile(filepath.Join(p, "in"), content, 0o644)
		}
	case "to file":
		if os.RemoveAll(p) == nil {
			_ = os.WriteFile(p, content, 0o644)
		}
	case "chmod":
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			_ = os.Chmod(p, 0o600|os.FileMode(version%2)*0o44)
		}
	case "link":
		_ = os.Link(p, path("to"))
	}
}

// Whatever happens to a tree, after a scan the queue holds exactly what differs
// from the records: what was done between the scans, or left undone, is no matter.
func TestAfterAScanTheQueueIsTheDifferenceOfDiskAndRecords(t *testing.T) {
	t.Parallel()
	db := watcher.OpenDB(t)
	base := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		// With a directory that stays: nothing is inferred from a root that is empty.
		if err := os.MkdirAll(filepath.Join(dir, "stays"), 0o755); err != nil {
			rt.Fatal(err)
		}
		tr := treeIn(t, db, dir)
		for step := range rapid.IntRange(1, 4).Draw(rt, "scans") {
			for i := range rapid.IntRange(0, 12).Draw(rt, "changes") {
				mutate(rt, dir, 20*step+i)
			}
			disk, records := tr.onDisk(), tr.records()
			var ready, held []string
			differs := func(p string, st state.Stat) bool { r, ok := records[p]; return !ok || !r.Same(st) }
			gone := 0
			for p, st := range disk {
				switch {
				case !differs(p, st):
				case st.Size == 0:
					held = append(held, p)
				default:
					ready = append(ready, p)
				}
			}
			for p := range records {
				if _, ok := disk[p]; !ok {
					gone++
				}
			}
			slices.Sort(ready)
			slices.Sort(held)
			for again := range 2 {
				r := tr.scan()
				if got := tr.jobs(queue.Ready); !slices.Equal(got, ready) {
					rt.Fatalf("ready are %q, should be %q", got, ready)
				}
				if got := tr.jobs(queue.Held); !slices.Equal(got, held) {
					rt.Fatalf("held are %q, should be %q", got, held)
				}
				if int(r.Files) != len(disk) || int(r.Gone) != gone || int(r.Queued+r.Waiting) != len(ready) || r.Problems != 0 {
					rt.Fatalf("%d files, %d gone, %d to do; the report is %+v", len(disk), gone, len(ready), r)
				}
				if again == 1 && r.Queued != 0 {
					rt.Fatalf("a second scan of the unchanged tree queued %d", r.Queued)
				}
			}
			tr.upload(rapid.SampledFrom([]int{0, 1, 3, all, all}).Draw(rt, "uploads"))
		}
		if t.Failed() { // by a helper that knows no rapid.T
			rt.FailNow()
		}
	})
}
