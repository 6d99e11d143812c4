//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iksync/uploader/emulator"
	"iksync/watcher/faultfs"
)

// TestADiskThatIsAwayTwiceLosesNothing: when it was back its files were seen, but none
// could be compared yet, since no inode number was as recorded.
func TestADiskThatIsAwayTwiceLosesNothing(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
	disk := faultfs.New(t, faultfs.Options{Dir: r.tree(), Inodes: faultfs.Random, CtimeIsMtime: true})
	recorded, other := disk.Backing(), t.TempDir()
	wantAll := func(when string) {
		t.Helper()
		for i := range 12 {
			if path := fmt.Sprintf("d/%02d.jpg", i); !r.has("/photos/"+path, path) {
				t.Errorf("%s, %s is not in the library", when, path)
			}
		}
	}
	old := time.Unix(1_700_000_000, 0)
	for i := range 12 {
		path := fmt.Sprintf("d/%02d.jpg", i)
		r.write(path)
		r.must(os.Chtimes(disk.Dir(path), old, old))
	}
	r.backfill()
	r.must(writeFile(filepath.Join(other, "d/0.jpg"), "of the other disk"))

	disk.Swap(other)
	r.backfillAnyhow()
	wantAll("away")
	disk.Swap(recorded)
	disk.Fail("", faultfs.Open, unix.EIO)
	r.backfillAnyhow()
	wantAll("back and not readable")
	disk.Heal()
	disk.Swap(other)
	for range 2 {
		r.backfillAnyhow()
	}
	wantAll("away again")
}
