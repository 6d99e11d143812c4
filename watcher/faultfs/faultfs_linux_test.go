package faultfs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"iksync/watcher/faultfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func inos(t *testing.T, f *faultfs.FS, names ...string) []uint64 {
	t.Helper()
	var all []uint64
	for _, name := range names {
		all = append(all, stat(t, f.Dir(name)).Ino)
	}
	return all
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// until waits until a call hangs, or the like.
func until(t *testing.T, what func() bool) {
	t.Helper()
	for !what() {
		if t.Context().Err() != nil {
			t.Fatal("waited in vain")
		}
		runtime.Gosched()
	}
}

func TestBothSidesAreOneTree(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("a/b.txt"), "through the mount")
	if got := read(t, f.Backing("a/b.txt")); got != "through the mount" {
		t.Errorf("the backing has %q", got)
	}
	open, err := os.Open(f.Dir("a/b.txt"))
	must(t, err)
	defer open.Close()
	write(t, f.Backing("a/b.txt"), "behind it, longer than before")
	if got := read(t, f.Dir("a/b.txt")); got != "behind it, longer than before" {
		t.Errorf("the mount has %q", got)
	}
	must(t, os.Rename(f.Backing("a"), f.Backing("c")))
	if got := read(t, f.Dir("c/b.txt")); got != "behind it, longer than before" {
		t.Errorf("at the new place is %q", got)
	}
	if _, err := os.Stat(f.Dir("a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("at the old place: %v", err)
	}
	must(t, os.Remove(f.Backing("c/b.txt")))
	if info, err := open.Stat(); err != nil || info.Size() != 29 {
		t.Errorf("the open file after its removal: %v, %v", info, err)
	}
}

func TestOperations(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("f"), "12345678")
	must(t, os.Link(f.Dir("f"), f.Dir("g")))
	if a, b := stat(t, f.Dir("f")), stat(t, f.Dir("g")); a.Ino != b.Ino || a.Nlink != 2 || a.Ino != stat(t, f.Backing("f")).Ino {
		t.Errorf("two names: %+v and %+v", a, b)
	}
	must(t, os.Symlink("f", f.Dir("s")))
	if to, err := os.Readlink(f.Dir("s")); err != nil || to != "f" {
		t.Errorf("the symlink: %q, %v", to, err)
	}
	must(t, os.Truncate(f.Dir("f"), 4))
	must(t, os.Chmod(f.Dir("f"), 0o600))
	old := time.Unix(-1, 500)
	must(t, os.Chtimes(f.Dir("f"), old, old))
	info, err := os.Stat(f.Backing("f"))
	must(t, err)
	if info.Size() != 4 || info.Mode() != 0o600 || !info.ModTime().Equal(old) || stat(t, f.Dir("f")).Mtim.Sec != -1 {
		t.Errorf("after truncate, chmod and utimes: %v %v %v", info.Size(), info.Mode(), info.ModTime())
	}
	a, err := os.OpenFile(f.Dir("f"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = a.WriteString("abc")
	must(t, errors.Join(err, a.Sync(), a.Close()))
	if got := read(t, f.Dir("g")); got != "1234abc" {
		t.Errorf("after an append: %q", got)
	}
	must(t, os.Mkdir(f.Dir("d"), 0o755))
	must(t, os.Rename(f.Dir("g"), f.Dir("d/h")))
	must(t, unix.Renameat2(unix.AT_FDCWD, f.Dir("d/h"), unix.AT_FDCWD, f.Dir("s"), unix.RENAME_EXCHANGE))
	if got := list(t, f.Dir()); !slices.Equal(got, []string{"d", "f", "s"}) || read(t, f.Dir("s")) != "1234abc" {
		t.Errorf("there are %q", got)
	}
	must(t, os.Remove(f.Dir("d/h")))
	must(t, os.Remove(f.Dir("d")))
	out, err := exec.Command("cp", "-a", f.Dir("f"), f.Dir("copy")).CombinedOutput()
	if err != nil || read(t, f.Backing("copy")) != "1234abc" {
		t.Errorf("cp -a: %v %s", err, out)
	}
}

func TestInodesInOrder(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{Inodes: faultfs.InOrder})
	for _, name := range []string{"a", "b", "c"} {
		write(t, f.Backing(name), name)
	}
	if got := inos(t, f, "a", "b", "c", "a", ""); !slices.Equal(got, []uint64{2, 3, 4, 2, 1}) {
		t.Errorf("the numbers are %v", got)
	}
	f.Remount()
	if got := inos(t, f, "c", "a", "b"); !slices.Equal(got, []uint64{2, 3, 4}) {
		t.Errorf("after a mount, in another order, they are %v", got)
	}
	must(t, os.Rename(f.Dir("c"), f.Dir("d")))
	if got := inos(t, f, "d"); got[0] != 2 {
		t.Errorf("a renamed file has %v", got)
	}
	f.Renumber()
	if got := inos(t, f, "b", "d"); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("numbered again, they are %v", got)
	}
	// What is open is numbered again too.
	open, err := os.Open(f.Dir("d"))
	must(t, err)
	f.Renumber()
	var st unix.Stat_t
	must(t, unix.Fstat(int(open.Fd()), &st))
	must(t, open.Close())
	if st.Ino != 3 && st.Ino != 2 || st.Ino != inos(t, f, "d")[0] {
		t.Errorf("an open file has %d", st.Ino)
	}
}

func TestInodesStableAndRandom(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{RootInode: 128})
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		write(t, f.Backing(name), name)
	}
	before := inos(t, f, names...)
	f.Remount()
	slices.Reverse(names)
	after := inos(t, f, names...)
	slices.Reverse(after)
	if !slices.Equal(before, after) || before[0] != stat(t, f.Backing("a")).Ino || inos(t, f, "")[0] != 128 {
		t.Errorf("stable numbers were %v, and are %v", before, after)
	}
	f.Renumber()
	if again := inos(t, f, "e"); again[0] == before[4] {
		t.Errorf("numbered again, it is %v", again)
	}

	random := faultfs.Options{Backing: f.Backing(), Inodes: faultfs.Random, Seed: 7}
	g := faultfs.New(t, random)
	first := inos(t, g, names...)
	g.Remount()
	if second := inos(t, g, names...); slices.Equal(first, second) {
		t.Errorf("random numbers are %v on both mounts", first)
	}
	if got := inos(t, faultfs.New(t, random), names...); !slices.Equal(got, first) {
		t.Errorf("with one seed the numbers are %v and %v", first, got)
	}
}

func TestReuseInodes(t *testing.T) {
	for _, how := range []faultfs.Inodes{faultfs.Stable, faultfs.InOrder, faultfs.Random} {
		f := faultfs.New(t, faultfs.Options{Inodes: how, ReuseInodes: true})
		write(t, f.Dir("a"), "a")
		write(t, f.Dir("b"), "b")
		before := inos(t, f, "a", "b")
		must(t, os.Remove(f.Dir("a")))
		write(t, f.Dir("c"), "c")
		must(t, os.Remove(f.Backing("b")))
		write(t, f.Backing("d"), "d")
		if got := inos(t, f, "c", "d"); !slices.Equal(got, before) {
			t.Errorf("%v: the numbers were %v, those of the new files are %v", how, before, got)
		}
		write(t, f.Dir("e"), "e")
		if got := inos(t, f, "c", "d", "e"); got[2] == got[0] || got[2] == got[1] {
			t.Errorf("%v: two files have one number: %v", how, got)
		}
	}
}

func TestTimes(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("a"), "a")
	at := time.Unix(1_700_000_001, 123_456_789)
	must(t, os.Chtimes(f.Dir("a"), at, at))
	if st := stat(t, f.Dir("a")); st.Mtim.Nano() != at.UnixNano() || st.Ctim.Nano() == st.Mtim.Nano() {
		t.Errorf("mtime %v, ctime %v", st.Mtim, st.Ctim)
	}
	f.Change(func(o *faultfs.Options) { o.CtimeIsMtime = true })
	if st := stat(t, f.Dir("a")); st.Mtim.Nano() != at.UnixNano() || st.Ctim != st.Mtim {
		t.Errorf("with ctime as mtime: mtime %v, ctime %v", st.Mtim, st.Ctim)
	}
	f.Change(func(o *faultfs.Options) { *o = faultfs.Options{Backing: o.Backing, Dir: o.Dir, Grain: 2 * time.Second} })
	if st := stat(t, f.Dir("a")); st.Mtim != (unix.Timespec{Sec: 1_700_000_000}) || st.Atim != st.Mtim || st.Ctim.Nsec != 0 || st.Ctim.Sec%2 != 0 || st.Ctim == st.Mtim {
		t.Errorf("with a grain of 2 s: mtime %v, atime %v, ctime %v", st.Mtim, st.Atim, st.Ctim)
	}
	f.Change(func(o *faultfs.Options) { o.Grain = time.Second })
	if st := stat(t, f.Dir("a")); st.Mtim != (unix.Timespec{Sec: 1_700_000_001}) {
		t.Errorf("with a grain of 1 s: mtime %v", st.Mtim)
	}
}

func TestFoldCase(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{FoldCase: true})
	write(t, f.Dir("Photos/Ä.JPG"), "1")
	if got := read(t, f.Dir("photos/ä.jpg")); got != "1" {
		t.Errorf("in lower case it is %q", got)
	}
	write(t, f.Dir("PHOTOS/ä.jpg"), "2")
	if got := list(t, f.Backing("Photos")); !slices.Equal(got, []string{"Ä.JPG"}) || read(t, f.Backing("Photos/Ä.JPG")) != "2" {
		t.Errorf("the backing has %q", got)
	}
	if st := stat(t, f.Dir("photos")); st.Ino != stat(t, f.Dir("Photos")).Ino {
		t.Error("one directory has two numbers")
	}
	must(t, os.Remove(f.Dir("photos/ä.jpg")))
	if got := list(t, f.Dir("Photos")); len(got) != 0 {
		t.Errorf("after the removal there are %q", got)
	}
}

func TestSwapAndMove(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	first, second, dir := f.Backing(), t.TempDir(), f.Dir()
	write(t, f.Dir("a"), "of the first disk")
	write(t, filepath.Join(second, "a"), "of the second disk")
	open, err := os.Open(f.Dir("a"))
	must(t, err)
	defer open.Close()
	f.Swap(second)
	if got := read(t, f.Dir("a")); got != "of the second disk" || f.Backing() != second {
		t.Errorf("after a swap it is %q", got)
	}
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("a file of the first disk: %v", err)
	}
	f.Unmount()
	if got := list(t, dir); len(got) != 0 {
		t.Errorf("the mount point has %q", got)
	}
	f.Swap(first)
	f.MoveTo(t.TempDir())
	if got := read(t, f.Dir("a")); got != "of the first disk" || f.Dir() == dir {
		t.Errorf("at the other mount point it is %q", got)
	}
}

func TestFail(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("a/b"), "b")
	write(t, f.Dir("ab"), "ab")
	try := map[faultfs.Op]func() error{
		faultfs.Stat:   func() error { _, err := os.Lstat(f.Dir("a/b")); return err },
		faultfs.Read:   func() error { _, err := os.ReadFile(f.Dir("a/b")); return err },
		faultfs.List:   func() error { _, err := os.ReadDir(f.Dir("a")); return err },
		faultfs.Write:  func() error { return os.Chtimes(f.Dir("a/b"), time.Time{}, time.Now()) },
		faultfs.Statfs: func() error { return unix.Statfs(f.Dir("a"), new(unix.Statfs_t)) },
	}
	try[faultfs.Open] = func() error {
		fd, err := unix.Open(f.Dir("a/b"), unix.O_RDONLY, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
	for _, errno := range []syscall.Errno{unix.EIO, unix.ESTALE, unix.ENOTCONN, unix.EMFILE} {
		for op, call := range try {
			f.Fail("a", op, errno)
			if err := call(); !errors.Is(err, errno) {
				t.Errorf("%s is to fail with %v, and gives %v", op, errno, err)
			}
			if got := read(t, f.Dir("ab")); got != "ab" {
				t.Errorf("beside it is %q", got)
			}
			f.Heal()
			if err := call(); err != nil {
				t.Errorf("%s, healed: %v", op, err)
			}
		}
	}
	f.Fail("", faultfs.Any, unix.EIO)
	f.Fail("ab", faultfs.Read, 0)
	f.Fail("", faultfs.Stat, 0)
	f.Fail("", faultfs.Open, 0)
	if _, err := os.ReadFile(f.Dir("a/b")); !errors.Is(err, unix.EIO) || read(t, f.Dir("ab")) != "ab" {
		t.Errorf("all but one fail: %v", err)
	}
}

func TestHide(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	var all []string
	for i := range 100 {
		all = append(all, "d"+strings.Repeat("x", i))
		write(t, f.Backing("in", all[i]), "1")
	}
	f.Hide("in/dx", "in/dxx")
	got := list(t, f.Dir("in"))
	if len(got) != 98 || slices.Contains(got, "dx") || slices.Contains(got, "dxx") || read(t, f.Dir("in/dx")) != "1" {
		t.Errorf("%d are listed", len(got))
	}
	f.Heal()
	f.HideSome(7, .3)
	some := list(t, f.Dir("in"))
	if len(some) < 50 || len(some) > 90 || !slices.Equal(some, list(t, f.Dir("in"))) {
		t.Errorf("%d of 100 are listed", len(some))
	}
	f.HideSome(8, .3)
	if slices.Equal(some, list(t, f.Dir("in"))) {
		t.Error("two seeds hide the same")
	}
	f.Heal()
	if got := list(t, f.Dir("in")); !slices.Equal(got, all) {
		t.Errorf("healed, %d are listed", len(got))
	}
}

func TestHang(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("a/b"), "b")
	write(t, f.Dir("c"), "c")
	hang := func(path string) chan error {
		done := make(chan error, 1)
		before := f.Hung()
		go func() {
			_, err := os.ReadFile(path)
			done <- err
		}()
		until(t, func() bool { return f.Hung() > before })
		return done
	}
	f.Hang("a", faultfs.Any)
	done := hang(f.Dir("a/b"))
	if got := read(t, f.Dir("c")); got != "c" {
		t.Errorf("beside it is %q", got)
	}
	f.Release()
	must(t, <-done)

	f.Hang("", faultfs.Read)
	var all []chan error
	for range 20 {
		all = append(all, hang(f.Dir("c")))
	}
	// Another process, which is killed while it hangs.
	cmd := exec.Command("cat", f.Dir("c"))
	must(t, cmd.Start())
	until(t, func() bool { return f.Hung() == 21 })
	must(t, cmd.Process.Kill())
	f.Unmount()
	for _, done := range all {
		if err := <-done; !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a call that hung as the file system was unmounted: %v", err)
		}
	}
	_ = cmd.Wait() // it was killed
	f.Release()
	f.Remount()
	if got := read(t, f.Dir("c")); got != "c" {
		t.Errorf("mounted again it is %q", got)
	}
	f.Hang("", faultfs.Any)
	left := hang(f.Dir("c"))
	f.Close()
	if err := <-left; err == nil {
		t.Error("a call that hung as the file system was closed has succeeded")
	}
}

func TestBytesRead(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	write(t, f.Dir("d/a"), strings.Repeat("a", 300_000))
	write(t, f.Dir("b"), "b")
	write(t, f.Dir("empty"), "")
	stat(t, f.Dir("d/a"))
	list(t, f.Dir("d"))
	if got := f.BytesRead(); len(got) != 0 {
		t.Errorf("without a read: %v", got)
	}
	for range 2 {
		read(t, f.Dir("d/a"))
	}
	read(t, f.Dir("empty"))
	out, err := exec.Command("head", "-c", "10", f.Dir("d/a")).Output()
	must(t, err)
	// head asks for what it prints.
	if got := f.BytesRead(); len(got) != 1 || got["d/a"] < 600_000+int64(len(out)) {
		t.Errorf("read twice, and a piece: %v", got)
	}
	f.ForgetReads()
	if got := f.BytesRead(); len(got) != 0 {
		t.Errorf("forgotten: %v", got)
	}
}

func TestEventsOfTheMount(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{Inodes: faultfs.InOrder})
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, f.Dir(), unix.IN_CREATE)
	must(t, err)
	write(t, f.Dir("a"), "a")
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil || !strings.Contains(string(buf[:n]), "a") {
		t.Errorf("the event: %q, %v", buf[:n], err)
	}
	f.Remount() // a watch does not keep a file system from being unmounted
}

func TestStatfsTellsFUSE(t *testing.T) {
	f := faultfs.New(t, faultfs.Options{})
	var st unix.Statfs_t
	must(t, unix.Statfs(f.Dir(), &st))
	if st.Type != unix.FUSE_SUPER_MAGIC || st.Blocks == 0 || st.Fsid.Val != [2]int32{} {
		t.Errorf("it says %+v", st)
	}
}
