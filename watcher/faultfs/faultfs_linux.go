package faultfs

import (
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// FS is a mounted file system. Its methods may be called from several goroutines;
// those that mount and unmount fail the test if they can't.
type FS struct {
	t      testing.TB
	faults *faults

	mu      sync.Mutex
	o       Options
	numbers numbers
	mounts  uint64
	mount   *mount // nil when it is not mounted
}

// mount is one mount of a file system.
type mount struct {
	disk   *disk
	dir    string
	server *fuse.Server
}

// Usable reports whether this process can mount a FUSE file system, and logs why not.
// Where FUSE is required it fails the test instead.
func Usable(t testing.TB) bool {
	t.Helper()
	f := &FS{t: t, faults: newFaults(), o: Options{Backing: t.TempDir(), Dir: t.TempDir()}}
	if err := f.begin(); err != nil {
		missing(t, err, t.Log)
		return false
	}
	f.Close()
	return true
}

func missing(t testing.TB, err error, otherwise func(...any)) {
	t.Helper()
	if os.Getenv(Required) == "required" {
		t.Fatalf("%s=required, and nothing can be mounted: %v", Required, err)
	}
	otherwise(fmt.Sprintf("no FUSE file system can be mounted: %v", err))
}

// New mounts a file system until the test ends. It skips the test where that is
// not possible, and fails it where that is required.
func New(t testing.TB, o Options) *FS {
	t.Helper()
	if o.Backing == "" {
		o.Backing = t.TempDir()
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	f := &FS{t: t, faults: newFaults(), o: o}
	if err := f.begin(); err != nil {
		missing(t, err, t.Skip)
	}
	t.Cleanup(f.Close)
	return f
}

// Dir is the mount point, or a path below it.
func (f *FS) Dir(path ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return filepath.Join(append([]string{f.o.Dir}, path...)...)
}

// Backing is the directory that is shown, or a path below it.
func (f *FS) Backing(path ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return filepath.Join(append([]string{f.o.Backing}, path...)...)
}

// Change changes options, from the next call on the mount on. Backing, Dir and Seed
// are those of the next mount; a number that a file has changes with Renumber only.
func (f *FS) Change(change func(*Options)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.o)
}

// Renumber assigns every inode number anew while the file system is mounted. With
// Stable, every number becomes another one that no file had.
func (f *FS) Renumber() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.numbers.shift += 1 << 32
	f.numbers.reset(f.o.Seed, f.mounts)
	f.mounts++
}

// Remount unmounts the file system and mounts it again. Whoever has a file or the
// directory open gets ENOTCONN from it then, as of a disk that was pulled out.
func (f *FS) Remount() {
	f.t.Helper()
	f.again(func(*Options) {})
}

// Swap mounts another backing at the mount point. The mount point is a plain, empty
// directory for a moment.
func (f *FS) Swap(backing string) {
	f.t.Helper()
	f.again(func(o *Options) { o.Backing = backing })
}

// MoveTo mounts the file system at another mount point, an existing directory.
func (f *FS) MoveTo(dir string) {
	f.t.Helper()
	f.again(func(o *Options) { o.Dir = dir })
}

func (f *FS) again(change func(*Options)) {
	f.t.Helper()
	f.Unmount()
	f.Change(change)
	if err := f.begin(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *FS) begin() error {
	server, err := f.serve()
	if err != nil {
		return err
	}
	// The first calls come, and need the lock.
	if err := server.WaitMount(); err != nil {
		f.Unmount()
		return fmt.Errorf("wait for the mount: %w", err)
	}
	return nil
}

func (f *FS) serve() (*fuse.Server, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := openDisk(f, f.o.Backing)
	if err != nil {
		return nil, err
	}
	if f.o.Inodes != Stable || f.numbers.of == nil {
		f.numbers.reset(f.o.Seed, f.mounts)
	}
	f.numbers.old = nil
	if f.o.ReuseInodes {
		f.numbers.old = d.alive()
	}
	f.mounts++
	server, err := fuse.NewServer(d, f.o.Dir, &fuse.MountOptions{
		Name: "faultfs", FsName: "faultfs", DirectMount: true, DisableXAttrs: true, DisableReadDirPlus: true, DisableSplice: true,
		AllowOther: os.Geteuid() == 0, Options: []string{"default_permissions"}, Logger: log.New(io.Discard, "", 0), MaxWrite: 1 << 20,
	})
	if err != nil {
		d.close()
		return nil, fmt.Errorf("mount %s at %s: %w", f.o.Backing, f.o.Dir, err)
	}
	f.mount = &mount{disk: d, dir: f.o.Dir, server: server}
	go server.Serve()
	return server, nil
}

// Unmount leaves the plain, empty directory of the mount point. Remount mounts the
// file system again.
func (f *FS) Unmount() {
	f.t.Helper()
	f.mu.Lock()
	m := f.mount
	f.mount = nil
	f.mu.Unlock() // calls that are under way need it
	if m == nil {
		return
	}
	if err := m.end(); err != nil {
		f.t.Fatal(err)
	}
}

// Close unmounts the file system for good; calls that hang end. A test's end does it too.
func (f *FS) Close() {
	f.t.Helper()
	f.Unmount()
	f.faults.release(true)
}

// end unmounts, by force if it is in use.
func (m *mount) end() error {
	if err := unix.Unmount(m.dir, 0); err == nil {
		m.server.Wait()
		close(m.disk.dead)
		m.disk.close()
		return nil
	}
	close(m.disk.dead) // whatever hangs, or comes, gets ENOTCONN
	// MNT_FORCE ends the connection, so the server ends whoever has files open.
	if err := unix.Unmount(m.dir, unix.MNT_FORCE|unix.MNT_DETACH); err == nil {
		m.server.Wait()
		m.disk.close()
		return nil
	}
	// Without privileges, the server goes on until the last file is closed.
	if out, err := exec.Command("fusermount3", "-u", "-z", m.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount %s: %w: %s", m.dir, err, out)
	}
	go func() {
		m.server.Wait()
		m.disk.close()
	}()
	return nil
}

// Fail lets calls of op at and below a path, relative to the root, fail; "" is all
// paths. Of several rules for a call the last one counts; errno 0 is an exception from
// earlier ones.
func (f *FS) Fail(path string, op Op, errno syscall.Errno) {
	f.faults.add(rule{path: path, op: op, errno: errno})
}

// Hang lets calls of op at and below a path wait until Release, Unmount or Close.
func (f *FS) Hang(path string, op Op) { f.faults.add(rule{path: path, op: op, hangs: true}) }

// Hung is how many calls wait.
func (f *FS) Hung() int {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	return f.faults.hung
}

// Release ends what Hang began: the calls that wait go on, and no others wait.
func (f *FS) Release() { f.faults.release(false) }

// Hide leaves paths out of listings. They can be looked up still.
func (f *FS) Hide(paths ...string) {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	for _, p := range paths {
		f.faults.hidden[clean(p)] = true
	}
}

// HideSome leaves a share of all paths, from 0 to 1, out of listings; the seed decides which.
func (f *FS) HideSome(seed uint64, share float64) {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	f.faults.seed, f.faults.share = seed, share
}

// Heal ends what Fail, Hang, Hide and HideSome began.
func (f *FS) Heal() {
	f.faults.release(true)
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	clear(f.faults.hidden)
	f.faults.share = 0
}

// BytesRead is how many bytes were read through the mount, by the path at which the
// file was opened. A file of which no byte was read is missing.
func (f *FS) BytesRead() map[string]int64 {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	return maps.Clone(f.faults.read)
}

// ForgetReads sets the counts of BytesRead to zero.
func (f *FS) ForgetReads() {
	f.faults.mu.Lock()
	defer f.faults.mu.Unlock()
	clear(f.faults.read)
}
