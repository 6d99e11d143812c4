//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"iksync/uploader/emulator"
)

// pace lets a writer do its next step after a little while each.
func pace(every time.Duration, steps int, step func(i int) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := range steps {
		if err := step(i); err != nil {
			return err
		}
		<-ticker.C
	}
	return nil
}

// writers are the ways in which programs write, each in a directory of its own.
type writers struct {
	scratch string // for what is prepared elsewhere
	settle  time.Duration
	paused  atomic.Bool // what grows was kept from growing for longer than settle
}

// How often a path gets another content.
const (
	saves        = 4
	recreations  = 8
	replacements = 6
	slowSteps    = 60
	bigSteps     = 40
)

// contents is how many contents of a path may have settled, and been uploaded.
func (w *writers) contents(path string) int {
	switch by, _, _ := strings.Cut(path, "/"); {
	case by == "editor":
		return saves
	case by == "again":
		return recreations
	case by == "replace":
		return replacements
	case by == "slow" && w.paused.Load():
		return slowSteps
	case by == "big" && w.paused.Load():
		return bigSteps
	}
	return 1
}

func (w *writers) all() map[string]func(dir string) error {
	return map[string]func(string) error{
		"mkdir": w.mkdirStorm, "tar": w.tar, "git": w.gitClone, "cp": w.copyTree, "rsync": w.rsync, "browser": w.browser, "editor": w.editor,
		"link": w.hardLink, "slow": w.slow, "big": w.big, "rename": w.renameDirs, "again": w.deleteAndRecreate, "replace": w.replace, "touch": w.touch,
	}
}

func (w *writers) mkdirStorm(dir string) error {
	for i := range 40 {
		if err := writeFile(fmt.Sprintf("%s/%d/a/b/c/d/e/f%d.jpg", dir, i, i), fmt.Sprintf("storm %d", i)); err != nil {
			return err
		}
	}
	return nil
}

// source makes a tree outside the root.
func (w *writers) source(name string) (string, error) {
	dir := filepath.Join(w.scratch, name)
	for i := range 120 {
		if err := writeFile(fmt.Sprintf("%s/%d/%d/deep/er/%d.jpg", dir, i%4, i%9, i), fmt.Sprintf("%s %d", name, i)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}

func (w *writers) tar(dir string) error {
	source, err := w.source("tar")
	archive := filepath.Join(w.scratch, "tar.tar")
	return errors.Join(err, command("tar", "-cf", archive, "-C", source, "."), command("tar", "-xf", archive, "-C", dir))
}

func (w *writers) gitClone(dir string) error {
	if _, err := exec.LookPath("git"); err != nil {
		return nil // the others write as it does
	}
	source, err := w.source("git")
	return errors.Join(err, command("git", "-C", source, "init", "-q"), command("git", "-C", source, "add", "."),
		command("git", "-C", source, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "a"),
		command("git", "clone", "-q", "file://"+source, filepath.Join(dir, "clone")))
}

func (w *writers) copyTree(dir string) error {
	source, err := w.source("cp")
	return errors.Join(err, command("cp", "-r", source, filepath.Join(dir, "copy")))
}

func (w *writers) rsync(dir string) error {
	return pace(5*time.Millisecond, 60, func(i int) error {
		temp, final := fmt.Sprintf("%s/.%d.jpg.aB3x%02d", dir, i, i), fmt.Sprintf("%s/%d.jpg", dir, i)
		return errors.Join(os.WriteFile(temp, fmt.Appendf(nil, "rsync %d", i), 0o600), os.Chmod(temp, 0o644),
			os.Chtimes(temp, time.Unix(1e9, 0), time.Unix(1e9, 0)), os.Rename(temp, final))
	})
}

func (w *writers) browser(dir string) error {
	final := filepath.Join(dir, "download.jpg")
	if err := os.WriteFile(final, nil, 0o644); err != nil { // keeps the name
		return err
	}
	part, err := os.Create(final + ".part")
	if err != nil {
		return err
	}
	err = pace(20*time.Millisecond, 60, func(i int) error {
		_, err := fmt.Fprintf(part, "piece %d of the download\n", i)
		return err
	})
	return errors.Join(err, part.Close(), os.Rename(part.Name(), final))
}

func (w *writers) editor(dir string) error {
	final := filepath.Join(dir, "text.txt")
	return pace(w.settle/2, saves, func(i int) error {
		f, err := os.Create(filepath.Join(dir, "text.txt.new"))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "saved %d times", i+1)
		return errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), final))
	})
}

func (w *writers) hardLink(dir string) error {
	return pace(5*time.Millisecond, 30, func(i int) error {
		temp := fmt.Sprintf("%s/%d.jpg.filepart", dir, i)
		return errors.Join(os.WriteFile(temp, fmt.Appendf(nil, "linked %d", i), 0o644), os.Link(temp, fmt.Sprintf("%s/%d.jpg", dir, i)), os.Remove(temp))
	})
}

// grow appends to a file in steps. When this process was kept from running for
// so long that the file settled between, that is another content.
func (w *writers) grow(path string, steps, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	last := time.Now() // before the last write, so that no delay is overlooked
	err = pace(w.settle/20, steps, func(i int) error {
		now := time.Now()
		_, err := f.Write(bytes.Repeat([]byte{byte(i)}, size))
		if time.Since(last) > w.settle/2 {
			w.paused.Store(true)
		}
		last = now
		return err
	})
	return errors.Join(err, f.Close())
}

func (w *writers) slow(dir string) error {
	return w.grow(filepath.Join(dir, "slow.jpg"), slowSteps, 1000)
}
func (w *writers) big(dir string) error {
	return w.grow(filepath.Join(dir, "big.mp4"), bigSteps, 1<<20)
}

func (w *writers) renameDirs(dir string) error {
	fill := func(name string) error {
		var err error
		for i := range 10 {
			err = errors.Join(err, writeFile(fmt.Sprintf("%s/%s/sub/%d.jpg", dir, name, i), fmt.Sprintf("%s %d", name, i)))
		}
		return err
	}
	to := func(a, b string) error { return os.Rename(filepath.Join(dir, a), filepath.Join(dir, b)) }
	// Before they settle, and again; then later, when they may have.
	return errors.Join(fill("early"), to("early", "early2"), to("early2", "early3"), fill("late"), fill("early3/more"),
		pace(w.settle, 4, func(i int) error {
			return errors.Join(to(fmt.Sprintf("late%s", suffix(i)), fmt.Sprintf("late%s", suffix(i+1))), fill(fmt.Sprintf("late%s/add%d", suffix(i+1), i)))
		}))
}

func suffix(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprint(i)
}

func (w *writers) deleteAndRecreate(dir string) error {
	return pace(w.settle/3, recreations, func(n int) error {
		err := os.RemoveAll(filepath.Join(dir, "album"))
		for i := range 10 {
			err = errors.Join(err, writeFile(fmt.Sprintf("%s/album/%d.jpg", dir, i), fmt.Sprintf("%d, the %d. time", i, n)))
		}
		return err
	})
}

func (w *writers) replace(dir string) error {
	x, z := filepath.Join(dir, "x"), filepath.Join(dir, "z")
	return pace(w.settle/3, replacements, func(i int) error {
		file, folder := x, z // in the end x is a directory and z a file
		if i%2 == 1 {
			file, folder = z, x
		}
		return errors.Join(os.RemoveAll(file), os.RemoveAll(folder), os.WriteFile(file, fmt.Appendf(nil, "file %d", i), 0o644),
			writeFile(filepath.Join(folder, "y.jpg"), fmt.Sprintf("inside %d", i)))
	})
}

func (w *writers) touch(dir string) error {
	file := filepath.Join(dir, "touched.jpg")
	return errors.Join(os.WriteFile(file, []byte("touched"), 0o644), pace(w.settle*2/3, 6, func(i int) error {
		at := time.Unix(int64(1e9+i), 0)
		return errors.Join(os.Chmod(file, 0o600+os.FileMode(i)), os.Chtimes(file, at, at))
	}))
}

// work lets all of them write at once below tree.
func (w *writers) work(tree string) error {
	var group errgroup.Group
	for name, write := range w.all() {
		dir := filepath.Join(tree, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		group.Go(func() error { return write(dir) })
	}
	return group.Wait()
}

// once wants every file uploaded once, and those that had several contents no
// more often than they settled.
func (w *writers) once(r *runRig) {
	r.Helper()
	if w.paused.Load() {
		r.Log("this machine was too busy to write without a pause: what grew may have settled between")
	}
	for path, a := range r.assets() {
		if most := w.contents(path[len(r.roots[0].folder)+1:]); a.Versions > most {
			r.Errorf("%s was uploaded %d times, not %d", path, a.Versions, most)
		}
	}
}

// TestEveryWayOfWritingEndsInTheLibraryOnce: whatever programs do at once in the
// tree, events alone (the rescan is an hour away) bring every final content
// into the library, and each once.
func TestEveryWayOfWritingEndsInTheLibraryOnce(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.set("rescan", "1h")
	r.set("settle", "600ms")
	w := &writers{scratch: t.TempDir(), settle: 600 * time.Millisecond}
	d := r.start()
	d.says(`"scanned"`)
	r.must(w.work(r.tree()))
	r.inStep("/photos/rename/", "/photos/again/", "/photos/replace/", "/photos/editor/text.txt.new")
	d.stop()
	w.once(r)
	r.nothingIsLeft()
}

// burst is the size of the burst of small files.
func burst() int {
	if testing.Short() {
		return 3000
	}
	if raceDetector {
		return 8000
	}
	return 50000
}

// tinyEventQueue makes the kernel's queues of events tiny for watchers that are
// made before the returned function is called.
func tinyEventQueue(t *testing.T) (restore func()) {
	t.Helper()
	const file = "/proc/sys/fs/inotify/max_queued_events"
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("64"), 0o644)
	}
	if err != nil {
		t.Logf("the kernel's queue of events stays as it is: %v", err)
		return nil
	}
	restore = func() {
		if err := os.WriteFile(file, before, 0o644); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// TestABurstThatOverflowsTheKernelsQueueLosesNothing: while some writers go on
// as before, tens of thousands of files come faster than events can be read.
func TestABurstThatOverflowsTheKernelsQueueLosesNothing(t *testing.T) {
	r := newRunRig(t, emulator.Options{Discard: true})
	r.set("rescan", "1h")
	r.set("workers", "16")
	restore := tinyEventQueue(t)
	d := r.start()
	d.says(`"scanned"`)
	if restore != nil {
		restore() // the daemon has its queue; others get theirs as they are used to
	}
	t.Parallel() // not before: a watcher of another test would get such a queue
	w := &writers{scratch: t.TempDir(), settle: 300 * time.Millisecond}
	d.signal(syscall.SIGSTOP) // so that the queue overflows also where events are read as fast as they come
	for i := range 500 {
		r.write(fmt.Sprintf("at-once-%d.jpg", i))
	}
	d.signal(syscall.SIGCONT)
	var group errgroup.Group
	const hands = 4
	for hand := range hands {
		group.Go(func() error {
			for i := hand; i < burst(); i += hands {
				path := fmt.Sprintf("%s/burst/%03d/%d/%d.jpg", r.tree(), i%250, i%4, i)
				if err := writeFile(path, fmt.Sprintf("%d of the burst", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error { return w.work(r.tree()) })
	r.must(group.Wait())
	r.inStep("/photos/rename/", "/photos/again/", "/photos/replace/", "/photos/editor/text.txt.new")
	if restore != nil {
		d.says("more happened at once than the kernel's queue of events holds")
	}
	if strings.Contains(d.log(), "the root is polled") {
		t.Error("events that were lost by overflows are taken for events that never come")
	}
	d.stop()
	w.once(r)
	r.nothingIsLeft()
}

// TestKilledDaemonsConverge: kill -9 in the middle of a backlog, with writers at
// work, loses nothing and makes no second asset.
func TestKilledDaemonsConverge(t *testing.T) {
	t.Parallel()
	const backlog, kills, later = 1200, 3, 300
	r := newRunRig(t, emulator.Options{})
	for i := range backlog {
		r.write(fmt.Sprintf("old/%d/%d.jpg", i%20, i))
	}
	var group errgroup.Group
	for kill := range kills {
		d := r.start()
		group.Go(func() error {
			return pace(time.Millisecond, later, func(i int) error {
				path := fmt.Sprintf("%s/new/%d/%d/%d.jpg", r.tree(), kill, i%10, i)
				return writeFile(path, path)
			})
		})
		r.library.hold(-1)
		r.came(1 + rand.N(backlog/kills/2))
		r.killed = true
		d.kill()
	}
	d := r.start()
	r.must(group.Wait())
	r.inStep()
	d.stop()
	if assets := len(r.assets()); assets != backlog+kills*later {
		t.Errorf("the library holds %d assets, not %d", assets, backlog+kills*later)
	}
	t.Logf("%d uploads were sent twice", r.library.server.Stats().Versions)
	r.nothingIsLeft()
}
