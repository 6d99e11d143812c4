package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/state"
	"iksync/uploader/emulator"
)

// disks are images of file systems, of which one at a time is mounted as the first root.
type disks struct {
	*removalRig
	mounted bool
}

// newDisks skips the test where XFS can't be made and mounted.
func newDisks(t *testing.T) *disks {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("IKSYNC_WANTS_XFS") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if os.Geteuid() != 0 {
		missing("only root mounts file systems")
	}
	for _, name := range []string{"mkfs.xfs", "mount", "umount"} {
		if _, err := exec.LookPath(name); err != nil {
			missing("%v", err)
		}
	}
	d := &disks{removalRig: newRemovalRig(t, emulator.Behaviour{}, "delete: delete")}
	t.Cleanup(d.unmount)
	d.format("probe")
	if out, err := d.tryMount("probe"); err != nil {
		missing("an image can't be mounted: %v\n%s", err, out)
	}
	d.unmount()
	return d
}

func (d *disks) image(name string) string { return filepath.Join(d.base, name+".img") }

func (d *disks) command(name string, args ...string) {
	d.Helper()
	if out, err := exec.CommandContext(d.Context(), name, args...).CombinedOutput(); err != nil {
		d.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func (d *disks) format(name string) {
	d.Helper()
	d.must(os.WriteFile(d.image(name), nil, 0o600))
	d.must(os.Truncate(d.image(name), 320<<20)) // mkfs.xfs makes no smaller ones
	d.command("mkfs.xfs", "-q", d.image(name))
}

// clone copies an image, with its ids.
func (d *disks) clone(from, to string) {
	d.Helper()
	d.command("cp", "--sparse=always", d.image(from), d.image(to))
}

func (d *disks) tryMount(name string) ([]byte, error) {
	out, err := exec.CommandContext(d.Context(), "mount", "-o", "loop,nodev,nosuid", d.image(name), d.tree()).CombinedOutput()
	d.mounted = err == nil
	return out, err
}

// swap mounts another image in place of the one that is mounted.
func (d *disks) swap(name string) {
	d.Helper()
	d.unmount()
	if out, err := d.tryMount(name); err != nil {
		d.Fatalf("mount %s: %v\n%s", name, err, out)
	}
}

func (d *disks) unmount() {
	if !d.mounted {
		return
	}
	d.mounted = false
	if out, err := exec.Command("umount", d.tree()).CombinedOutput(); err != nil { // not t.Context(), which has ended in a cleanup
		d.Errorf("unmount: %v\n%s", err, out)
	}
}

// TestASwappedDiskRemovesNothing of the recorded one, also when it has the same id, as the
// clone of a disk has.
func TestASwappedDiskRemovesNothing(t *testing.T) {
	t.Parallel()
	const n = 60
	name := func(i int) string { return fmt.Sprintf("d/%02d.jpg", i) }
	for _, c := range []struct {
		name  string
		other func(*disks)
	}{
		{"another disk", func(d *disks) {
			d.format("other")
			d.swap("other")
			d.write("other.jpg")
			d.write(name(0))
		}},
		{"a clone with other files", func(d *disks) {
			d.swap("other")
			d.remove("d")
			d.write("other.jpg")
		}},
		{"a clone with other content", func(d *disks) {
			d.swap("other")
			for i := range n {
				if d.remove(name(i)); i%2 == 0 {
					d.write(name(i), "of the clone, "+name(i))
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDisks(t)
			d.format("recorded")
			d.swap("recorded")
			for i := range n {
				d.write(name(i))
			}
			d.unmount()
			d.clone("recorded", "other")
			d.swap("recorded")
			d.backfill()
			if got := len(d.assets()); got != n {
				t.Fatalf("%d assets", got)
			}
			c.other(d)
			for range 2 {
				d.backfillAnyhow()
			}
			d.wantUntouched()
			d.swap("recorded")
			d.remove(name(1))
			d.backfill()
			if _, there := d.assets()["/photos/"+name(1)]; there || len(d.took()) != 1 {
				t.Errorf("when the recorded disk was back, the library was told %q", d.took())
			}
		})
	}
}

// TestTheRecordedIdentityOfXFSIsReplaced: earlier versions recorded the number of the device.
func TestTheRecordedIdentityOfXFSIsReplaced(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.format("recorded")
	d.swap("recorded")
	for i := range 12 {
		d.write(fmt.Sprintf("%02d.jpg", i))
	}
	d.backfill()
	var fs unix.Statfs_t
	d.must(unix.Statfs(d.tree(), &fs))
	var st unix.Stat_t
	d.must(unix.Stat(d.tree(), &st))
	old := fmt.Sprintf("%x:%x:0:%x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1]), st.Ino)
	db, err := state.Open(t.Context(), d.state)
	d.must(err)
	d.must(db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE roots SET identity = CAST(? AS BLOB)`, old)
	}))
	d.must(db.Close())
	d.remove("00.jpg")
	d.backfill()
	if n := len(d.assets()); n != 11 {
		t.Errorf("%d assets", n)
	}
	if db, err = state.OpenReadOnly(t.Context(), d.state); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	roots, err := db.RecordedRoots(t.Context())
	d.must(err)
	if id := string(roots[0].Identity); !strings.HasPrefix(id, "uuid:") {
		t.Errorf("the identity is %s", id)
	}
}
