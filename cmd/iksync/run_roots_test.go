//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/uploader/emulator"
)

// TestARootThatVanishesIsPausedUntilItIsBack: nothing is inferred from its
// absence, also when another directory is in its place meanwhile.
func TestARootThatVanishesIsPausedUntilItIsBack(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("workers", "1")
	for i := range 20 {
		r.write(fmt.Sprintf("kept/%d.jpg", i))
	}
	d := r.start()
	r.inStep()
	r.inFlight("flying.jpg")
	for i := range 20 {
		r.write(fmt.Sprintf("waiting/%d.jpg", i))
	}
	waitFor(t, "they wait", func() bool {
		depths := r.depths()
		return depths[queue.Ready].Jobs+depths[queue.Leased].Jobs == 21
	})
	away := r.tree() + ".away"
	r.must(os.Rename(r.tree(), away))
	d.says("the root is paused", "it can't be reached")
	r.library.release()
	waitFor(t, "the one in flight ends", func() bool { return r.has("/photos/flying.jpg", "flying.jpg") })
	waitFor(t, "the others go back", func() bool {
		depths := r.depths()
		return depths[queue.Leased].Jobs == 0
	})
	if r.depths()[queue.Ready].Jobs == 0 { // what was claimed already comes from the open directory
		t.Error("no job is kept while the root is away")
	}
	r.must(os.Mkdir(r.tree(), 0o755))
	r.must(writeFile(filepath.Join(r.tree(), "strange.jpg"), "of another directory"))
	r.must(writeFile(filepath.Join(away, "meanwhile", "new.jpg"), "meanwhile/new.jpg"))
	r.must(os.RemoveAll(r.tree()))
	r.must(os.Rename(away, r.tree()))
	d.says("the root is back")
	r.gets("meanwhile/new.jpg")
	r.inStep()
	r.write("waiting/after.jpg")
	r.inStep()
	d.stop()
	if strings.Contains(d.log(), "no progress") {
		t.Error("it believed to make no progress")
	}
	r.nothingIsLeft()
}

// TestARootThatWasReplacedIsPausedUntilTheNewOneStays: an empty directory in its place
// waits, one with files is the root after a while, and what was recorded of the other
// is not taken for deleted.
func TestARootThatWasReplacedIsPausedUntilTheNewOneStays(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	root := r.addRoot("swapped", "    delete: delete\n    delete_after: 0s\n")
	write := func(name string) { r.must(writeFile(filepath.Join(root, name), name)) }
	for i := range 20 {
		write(fmt.Sprintf("kept/%d.jpg", i))
	}
	d := r.start()
	uploaded := func() int { return int(r.library.server.Stats().Assets) }
	waitFor(t, "they are uploaded", func() bool { return uploaded() == 20 })
	r.must(os.Rename(root, root+".away"))
	d.says("the root is paused")
	began := time.Now()
	r.must(os.Mkdir(root, 0o755))
	d.says("the root is paused still", "an empty directory is in its place")
	write("strange.jpg")
	waitFor(t, "the new one is the root", func() bool { return r.has("/swapped/strange.jpg", "strange.jpg") })
	if took := time.Since(began); took < 10*300*time.Millisecond {
		t.Errorf("another directory was taken for the root after %v", took)
	}
	d.says("is taken for the root")
	r.iksync("rescan", "--config", r.config)
	write("later.jpg")
	waitFor(t, "it is watched", func() bool { return r.has("/swapped/later.jpg", "later.jpg") })
	r.iksync("backfill", "--config", r.config)
	if n := uploaded(); n != 22 {
		t.Errorf("%d assets, should be 20 of the other directory and 2", n)
	}
	d.stop()
}

// TestARootThatIsMissingAtTheStartIsPickedUpWhenItIsThere: also one whose path
// leads through a symlink; its lock is then held.
func TestARootThatIsMissingAtTheStartIsPickedUpWhenItIsThere(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	real := filepath.Join(r.base, "disk")
	r.must(os.Remove(r.tree()))
	r.must(os.Symlink(real, r.tree()))
	there := r.addRoot("there", "")
	r.must(writeFile(filepath.Join(there, "a.jpg"), "a"))
	d := r.start()
	d.says("the root is not there")
	waitFor(t, "the other root is uploaded", func() bool { return r.has("/there/a.jpg", "a") })
	r.must(os.Mkdir(real, 0o755))
	r.write("b.jpg")
	d.says("is there now")
	r.gets("b.jpg")
	r.write("later.jpg")
	r.gets("later.jpg")
	cmd := r.command("iksync", []string{"run", "--config", r.config, "--state", filepath.Join(r.base, "other.db")})
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitBusy || !strings.Contains(string(out), real) && !strings.Contains(string(out), there) {
		t.Errorf("a second run: %v\n%s", err, out)
	}
	backfill := r.command("iksync", []string{"backfill", real, "--to", "/x", "--state", filepath.Join(r.base, "other.db")})
	if out, err := backfill.CombinedOutput(); backfill.ProcessState.ExitCode() != exitBusy {
		t.Errorf("a backfill of the root that came later: %v\n%s", err, out)
	}
	d.stop()
	if strings.Contains(d.log(), "no progress") {
		t.Error("it believed to make no progress")
	}
}

// shortOfWatches lets files come into 60 directories of which few are watched.
func (r *runRig) shortOfWatches(d *daemonProcess, texts ...string) {
	r.Helper()
	d.says(append(texts, "not every directory can be watched", "of 61 directories are watched (")...)
	r.inStep()
	for i := range 60 {
		r.write(fmt.Sprintf("%d/new.jpg", i))
		r.write(fmt.Sprintf("%d/deeper/new.jpg", i))
	}
	r.inStep()
	d.stop()
	if n := strings.Count(d.log(), "not every directory can be watched"); n > 6 {
		r.Errorf("the log says it %d times", n)
	}
}

func sixtyDirectories(t *testing.T) *runRig {
	t.Helper()
	r := newRunRig(t, emulator.Options{})
	r.set("rescan", "1h")
	for i := range 60 {
		r.write(fmt.Sprintf("%d/old.jpg", i))
	}
	return r
}

// TestMoreDirectoriesThanMaxWatchesAreScannedOftener: everything still arrives,
// and the log says how much is watched.
func TestMoreDirectoriesThanMaxWatchesAreScannedOftener(t *testing.T) {
	t.Parallel()
	r := sixtyDirectories(t)
	r.set("max_watches", "5")
	r.shortOfWatches(r.start(), "5 of 61 directories are watched (8 %), as max_watches says")
}

// TestMoreDirectoriesThanTheKernelWatchesAreScannedOftener has the kernel's own
// limit made low, in a user namespace.
func TestMoreDirectoriesThanTheKernelWatchesAreScannedOftener(t *testing.T) {
	t.Parallel()
	const limit = "ulimit -c 0; echo 7 > /proc/sys/user/max_inotify_watches"
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("there is no unshare(1)")
	}
	if out, err := exec.CommandContext(t.Context(), unshare, "-Ur", "sh", "-c", limit).CombinedOutput(); err != nil {
		t.Skipf("no user namespace can be had: %v: %s", err, out)
	}
	r := sixtyDirectories(t)
	iksync, err := exec.LookPath("iksync")
	r.must(err)
	d := r.begin(r.command("unshare", []string{"-Ur", "sh", "-c", limit + `; exec "$0" "$@"`, iksync, "run", "--config", r.config}))
	r.shortOfWatches(d, "cure: sysctl -w fs.inotify.max_user_watches=65536")
}
