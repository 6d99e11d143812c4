package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"golang.org/x/sys/unix"

	"iksync/state"
	"iksync/uploader/emulator"
)

// oddTimes are times of modification that files come with: from cameras without a
// battery, archives that keep none, and calculations that went wrong.
func oddTimes() map[string]unix.Timespec {
	return map[string]unix.Timespec{
		"of the epoch":                    {},
		"of the first nanosecond":         {Nsec: 1},
		"of a second before the epoch":    {Sec: -1, Nsec: 999_999_999},
		"of 1902":                         {Sec: -2145916800},
		"of ten years ahead":              {Sec: 2_100_000_000},
		"of 2038":                         {Sec: 1<<31 - 1},
		"of 2300 where 64 bits of ns end": {Sec: 10_413_792_000},
		"of 2446 where ext4 ends":         {Sec: 15_032_385_535},
	}
}

func (h hostile) setTime(path string, at unix.Timespec) {
	h.Helper()
	h.must(unix.UtimesNanoAt(unix.AT_FDCWD, h.at(path), []unix.Timespec{at, at}, 0))
}

func TestAFileOfAnyTimeIsSentOnce(t *testing.T) {
	t.Parallel()
	both(t, func(h hostile, pass func()) {
		all := int64(len(oddTimes()))
		for name, at := range oddTimes() {
			h.write(name + ".jpg")
			h.setTime(name+".jpg", at)
		}
		h.sends(all, pass)
		h.write("a mark.jpg") // when it has come, what happened before it was looked at
		for name := range oddTimes() {
			h.setTime(name+".jpg", unix.Timespec{Sec: -5_000 - int64(len(name))})
		}
		h.sends(1, pass)
		for name, at := range oddTimes() {
			h.write(name+".jpg", strings.ToUpper(name+".jpg")) // the size and, in the end, the time are what they were
			h.setTime(name+".jpg", at)
		}
		pass()
		for name := range oddTimes() {
			if a := h.assets()[h.records()[name+".jpg"].RemotePath]; a.Versions != 2 {
				h.Errorf("the file %s has %d versions, not 2", name, a.Versions)
			}
		}
	})
}

// big is more than the sockets between hold, so that a file which changes while
// its upload is held changes amid it.
const big = 16 << 20

// changesInFlight are what happens to files of size big while they are sent.
func changesInFlight(h hostile, o *outside) map[string]func(at string) error {
	anew := func(at string, size int) error {
		return errors.Join(os.WriteFile(at+".part", bytes.Repeat([]byte("new "), size/4), 0o644), os.Rename(at+".part", at))
	}
	instead := func(make func(at string) error) func(string) error {
		return func(at string) error { return errors.Join(os.Remove(at), make(at)) }
	}
	return map[string]func(string) error{
		"grows": func(at string) error {
			f, err := os.OpenFile(at, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(bytes.Repeat([]byte("more"), 1<<18))
			return errors.Join(err, f.Close())
		},
		"shrinks":                        func(at string) error { return os.Truncate(at, 1000) },
		"is emptied":                     func(at string) error { return os.Truncate(at, 0) },
		"is replaced by a smaller one":   func(at string) error { return anew(at, 400) },
		"is replaced by one of its size": func(at string) error { return anew(at, big) },
		"is rewritten under its old time": func(at string) error {
			before, err := os.Stat(at)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(at, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("another end"), big-100)
			return errors.Join(err, f.Close(), os.Chtimes(at, before.ModTime(), before.ModTime()))
		},
		"is removed":                os.Remove,
		"becomes a directory":       instead(func(at string) error { return writeFile(at+"/inside.jpg", at) }),
		"becomes a FIFO":            instead(func(at string) error { return unix.Mkfifo(at, 0o644) }),
		"becomes a socket":          instead(func(at string) error { return unix.Mknod(at, unix.S_IFSOCK|0o644, 0) }),
		"becomes a link to outside": instead(func(at string) error { return os.Symlink(o.dir+"/secret.jpg", at) }),
	}
}

func TestAFileThatChangesAmidItsUpload(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(h hostile) (end func()){
		"by backfills": func(h hostile) func() {
			d := h.begin(h.backfill())
			return func() { d.ends(0) }
		},
		"by the daemon": func(h hostile) func() {
			d := h.start()
			return func() {
				h.settles()
				d.stop()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			o := h.outside()
			changes := changesInFlight(h, o)
			h.set("workers", strconv.Itoa(len(changes)))
			for name := range changes {
				h.write(name+".mp4", strings.Repeat(name, big/len(name)+1)[:big])
			}
			h.library.hold(0)
			end := run(h)
			h.came(len(changes))
			for name, change := range changes {
				h.must(change(h.at(name + ".mp4")))
			}
			h.library.release()
			end()
			for _, name := range []string{"grows", "shrinks"} { // the open file tells that they changed: nothing waits for another look
				content, err := os.ReadFile(h.at(name + ".mp4"))
				h.must(err)
				if !h.has(h.records()[name+".mp4"].RemotePath, string(content)) {
					t.Errorf("the library has another content of the file that %s", name)
				}
			}
			h.run(0) // where no time told of a change, the next look at the change time does
			h.accounted()
			if why := h.listed()["is emptied.mp4"]; !strings.Contains(why, "empty") {
				t.Errorf("the emptied file is listed as %q", why)
			}
			h.rests()
			h.exportIsLibrary()
			o.wasLeftAlone()
		})
	}
}

// inPlaceOf are what a file may be replaced by.
func inPlaceOf(o *outside) map[string]func(at string) error {
	return map[string]func(string) error{
		"nothing":                       func(string) error { return nil },
		"an empty directory":            func(at string) error { return os.Mkdir(at, 0o755) },
		"a directory":                   func(at string) error { return writeFile(at+"/a/b.jpg", at) },
		"a FIFO":                        func(at string) error { return unix.Mkfifo(at, 0o644) },
		"a socket":                      func(at string) error { return unix.Mknod(at, unix.S_IFSOCK|0o644, 0) },
		"a link to a file outside":      func(at string) error { return os.Symlink(o.dir+"/secret.jpg", at) },
		"a link to a directory above":   func(at string) error { return os.Symlink("..", at) },
		"a link to a directory outside": func(at string) error { return os.Symlink(o.dir, at) },
		"a link to itself":              func(at string) error { return os.Symlink(filepath.Base(at), at) },
		"a link to an endless device":   func(at string) error { return os.Symlink("/dev/zero", at) },
		"a device": func(at string) error {
			err := unix.Mknod(at, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5)))
			if errors.Is(err, unix.EPERM) {
				return nil // as nobody but root can: nothing is there then
			}
			return err
		},
	}
}

func TestAFileMayBecomeAnything(t *testing.T) {
	t.Parallel()
	for _, links := range []string{"skip", "follow-inside"} {
		t.Run("links "+links, func(t *testing.T) {
			t.Parallel()
			both(t, func(h hostile, pass func()) {
				o := h.outside()
				h.roots[0].more = "    symlinks: " + links + "\n"
				h.configure()
				h.write("stays.jpg")
				for name := range inPlaceOf(o) {
					h.write("d/" + name)
				}
				pass()
				for name, put := range inPlaceOf(o) {
					h.must(errors.Join(os.Remove(h.at("d/"+name)), put(h.at("d/"+name))))
				}
				pass()
				waitFor(h.T, "what is no file any more is known to be gone", func() bool {
					records := h.records()
					for name := range inPlaceOf(o) {
						// Where links are followed nothing is inferred from one that leads nowhere at present.
						if link := strings.HasPrefix(name, "a link"); records["d/"+name].Absent == state.Present && (!link || links == "skip") {
							return false
						}
					}
					return true
				})
				for name := range inPlaceOf(o) {
					h.must(os.RemoveAll(h.at("d/" + name)))
					h.write("d/"+name, "a file again: "+name)
				}
				pass()
				o.wasLeftAlone()
			})
		})
	}
}

// asNobody lets file modes hold for a command of root's: in a user namespace in
// which the same user is not root.
func (h hostile) asNobody(cmd *exec.Cmd) *exec.Cmd {
	h.Helper()
	if os.Geteuid() != 0 {
		return cmd
	}
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
	}
	try := exec.Command("true")
	try.SysProcAttr = attr
	if err := try.Run(); err != nil {
		h.Skip("file modes don't hold for root, and there is no user namespace here: ", err)
	}
	cmd.SysProcAttr = attr
	return cmd
}

func TestWhatMayNotBeReadIsListedUntilItMay(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	modes := map[string]os.FileMode{"no rights": 0, "unlisted": 0o300, "not to be entered": 0o400, "file.jpg": 0, "recorded.jpg": 0, "recorded/a.jpg": 0}
	h.write("fine.jpg")
	h.write("recorded.jpg")
	h.write("recorded/a.jpg")
	h.runAs(h.asNobody(h.backfill()), 0)
	h.write("file.jpg")
	for _, dir := range []string{"no rights", "unlisted", "not to be entered"} {
		h.write(dir + "/a.jpg")
		h.write(dir + "/deeper/b.jpg")
	}
	for path, mode := range modes {
		h.must(os.Chmod(h.at(path), mode))
	}
	t.Cleanup(func() {
		for path := range modes {
			_ = os.Chmod(h.at(path), 0o755)
		}
	})
	h.sends(0, func() {
		s := h.runAs(h.asNobody(h.backfill()), exitFailed)
		said := make(map[string]string)
		for _, f := range append(s.FailedFirst, s.UnreadablePath...) {
			said[f.Path] = f.Reason
		}
		for _, path := range []string{"no rights/", "unlisted/", "not to be entered/a.jpg", "not to be entered/deeper/", "file.jpg", "recorded.jpg", "recorded/a.jpg"} {
			if !strings.Contains(said[path], "permission denied") {
				t.Errorf("%s is listed as %q; all that is listed: %q", path, said[path], said)
			}
		}
		if s.Gone != 0 {
			t.Errorf("%d files are taken for gone", s.Gone)
		}
	})
	d := h.begin(h.asNobody(h.command("iksync", []string{"run", "--config", h.config})))
	d.says(`"scanned"`)
	for path := range modes {
		h.must(os.Chmod(h.at(path), 0o755))
	}
	h.settles()
	d.stop()
	h.rests()
}

func long(begin, fill string) string {
	return begin + strings.Repeat(fill, (255-len(begin))/len(fill))
}

// oddNames are names that file systems take.
func oddNames() []string {
	names := []string{
		long("", "n"), long("twins a b", "n"), long("twins a_b", "n"), long("", "\xff"), long("", "😀"), long("", "e\u0301"), long("", " "), long("", "."),
		"a\nb.jpg", "\n", "\r", "\t.jpg", "\x01\x02\x7f.jpg", "\x1b[2J\x1b]0;title\a.jpg", "nothing\u200b\u200d.jpg", "\u202egpj.exe",
		"caf\xe9.jpg", "\xc3\x28", "\xed\xa0\x80.jpg", "\xf0\x9f\x98", "\xff\xfe",
		"...", "....", ". .", ". ", ".. ", " ", "  ", "trailing ", "trailing  ", "trailing.", "trailing..", " leading", "-", "--help", "-rf.jpg", "~root",
		"😀.jpg", "👨‍👩‍👧.jpg", "\u00e9.jpg", "e\u0301.jpg", "\u00c5", "A\u030a", "\u212b", "ﬁ.jpg", "fi.jpg",
		"a\\b.jpg", "%2e%2e%2fetc", "%00", "a%.jpg", "a,b.jpg", "a?b#c&d=e.jpg", `"quoted" 'twice'.jpg`, "$HOME", "`id`", "*?[a].jpg", "{}", "<b>.jpg", "NUL", "con.jpg", "a:b",
		"null", "0", "true",
	}
	for i := range names {
		names[i] = strings.ReplaceAll(names[i], "/", "")
	}
	return names
}

// unprintable finds what would drive a terminal.
func unprintable(out []byte) bool {
	return bytes.ContainsFunc(out, func(r rune) bool {
		return !strings.ContainsRune("\n\t", r) && (unicode.IsControl(r) || r == unicode.ReplacementChar || r == '\u202e')
	})
}

func TestAnyNameIsSentOnce(t *testing.T) {
	t.Parallel()
	both(t, func(h hostile, pass func()) {
		for _, name := range oddNames() {
			h.must(os.WriteFile(h.at(name), []byte("the file "+name), 0o644))
			dir := h.at("below/" + name)
			h.must(errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/"+name, []byte("below "+name), 0o644)))
		}
		all := int64(2 * len(oddNames()))
		h.sends(all, pass)
		if n := int64(len(h.assets())); n != all {
			h.Errorf("%d files are %d assets", all, n)
		}
		for _, name := range oddNames() {
			h.must(os.WriteFile(h.at(name), []byte("changed, the file "+name), 0o644))
		}
		h.sends(all/2, pass)
		if n := int64(len(h.assets())); n != all {
			h.Errorf("of %d changed files became %d assets", all, n)
		}
	})
}

func TestNoNameDrivesATerminal(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.must(os.Mkdir(h.at("refused"), 0o755))
	for _, name := range oddNames() {
		if strings.ContainsAny(name, "\n\t") || unprintable([]byte(name)) { // a summary names only some
			h.must(os.WriteFile(h.at(name), nil, 0o644))                     // listed as waiting
			h.must(os.WriteFile(h.at("refused/"+name), []byte(name), 0o644)) // and as failed
		}
	}
	h.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionStatus, Status: 400, Message: "no"}}})
	h.set("log", "{format: console}")
	var summary, log bytes.Buffer
	cmd := h.command("iksync", []string{"backfill", "--config", h.config})
	cmd.Stdout, cmd.Stderr = &summary, &log
	err := cmd.Run()
	if n := len(h.listed()); err == nil || n < 20 || !strings.Contains(summary.String(), "waiting") || !strings.Contains(log.String(), "upload failed") {
		t.Errorf("%d files are listed, and the backfill says %v\n%q\n%q", n, err, summary.Bytes(), log.Bytes())
	}
	for line := range bytes.Lines(summary.Bytes()) {
		if unprintable(line) {
			t.Errorf("a line of the summary with control characters: %q", line)
		}
	}
	for line := range bytes.Lines(log.Bytes()) {
		if bytes.ContainsAny(line, "\a\b\r\x00\x01\x02\x1b") {
			t.Errorf("a line of the log with control characters: %q", line)
		}
	}
}

func TestARootOfAnyNameIsTaken(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"-", "--config", "a\nb", " ", "caf\xe9", "%s", "...", "a:b", "e\u0301"} {
		t.Run(strconv.QuoteToASCII(name), func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			root := h.tree() + "/" + name
			h.must(os.Mkdir(root, 0o755))
			h.must(os.WriteFile(root+"/a.jpg", []byte("a.jpg"), 0o644))
			for range 2 {
				cmd := h.command("iksync", []string{"backfill", "--to", "/photos", "--json", "--", name})
				cmd.Dir = h.tree()
				h.runAs(cmd, 0)
			}
			h.gets("a.jpg")
			if n := h.uploads(); n != 1 {
				t.Errorf("%d uploads", n)
			}
		})
	}
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB`)

// peak is the most memory that a process has had, in bytes.
func (d *daemonProcess) peak() int64 {
	d.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	m := peakLine.FindSubmatch(status)
	if err != nil || m == nil {
		d.Fatalf("no peak of memory: %v\n%s", err, status)
	}
	kilobytes, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		d.Fatal(err)
	}
	return kilobytes << 10
}

func TestSparseFilesTakeNoMemory(t *testing.T) {
	t.Parallel()
	h := hostile{newRunRig(t, emulator.Options{Discard: true})}
	const size = 192 << 20
	h.set("limits", "{video: 200MiB}")
	h.write("fits.mp4")
	h.write("too large.mp4")
	h.must(os.Truncate(h.at("fits.mp4"), size))
	h.must(os.Truncate(h.at("too large.mp4"), 4<<30))
	d := h.start()
	d.says(`"scanned"`)
	h.settles()
	if why := h.listed()["too large.mp4"]; !strings.Contains(why, "4.0 GiB is more than the limit of 200 MiB") {
		t.Errorf("the file of 4 GB is listed as %q", why)
	}
	h.setTime("fits.mp4", unix.Timespec{Sec: 1}) // it is hashed, and found the same
	waitFor(t, "it is found the same", func() bool { return h.records()["fits.mp4"].Stat.MtimeNs == 1e9 })
	if n := h.uploads(); n != 1 {
		t.Errorf("%d uploads", n)
	}
	t.Logf("the peak is %d MB", d.peak()>>20)
	if !raceDetector && d.peak() > size/2 {
		t.Errorf("it took %d bytes", d.peak())
	}
	d.stop()
	h.rests()
}

func TestEveryNameOfAFileFollowsItsContent(t *testing.T) {
	t.Parallel()
	both(t, func(h hostile, pass func()) {
		h.write("a.jpg", "linked")
		h.must(os.Link(h.at("a.jpg"), h.at("b.jpg")))
		h.must(os.Mkdir(h.at("d"), 0o755))
		h.must(os.Link(h.at("a.jpg"), h.at("d/a.jpg")))
		h.sends(3, pass)
		h.must(os.Link(h.at("a.jpg"), h.at("c.jpg"))) // changes the change time of all
		h.sends(1, pass)
		h.write("b.jpg", "LINKED")
		h.sends(4, pass)
		h.must(os.Remove(h.at("a.jpg")))
		h.must(os.Rename(h.at("b.jpg"), h.at("renamed.jpg")))
		h.must(os.Rename(h.at("d"), h.at("e")))
		h.write("mark.jpg")
		pass()
		if n := h.library.server.Stats().Assets; n < 4 {
			h.Errorf("%d assets are left", n)
		}
	})
}

func TestLinksInCirclesOrOutAreNeverFollowed(t *testing.T) {
	t.Parallel()
	for follow, skipped := range map[string]map[string]int64{
		"skip":          {"symlink": 11},
		"follow-inside": {"symlink": 7, "loop": 6},
	} {
		t.Run("links "+follow, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			o := h.outside()
			h.roots[0].more = "    symlinks: " + follow + "\n"
			h.configure()
			h.write("f.jpg")
			h.write("d/x.jpg")
			h.write("e/y.jpg")
			h.must(os.Symlink(h.at("f.jpg"), o.dir+"/back.jpg"))
			for link, target := range map[string]string{
				"self": "self", "d/up": "..", "d/here": ".", "d/e": "../e", "e/d": "../d",
				"out.jpg": o.dir + "/secret.jpg", "out": o.dir, "climbs": "../outside/deeper", "through": "d/../../outside/secret.jpg",
				"there and back.jpg": o.dir + "/back.jpg", "proc": "/proc/self/root" + h.tree() + "/d",
			} {
				h.must(os.Symlink(target, h.at(link)))
			}
			s := h.run(0)
			if !maps.Equal(s.Skipped, skipped) {
				t.Errorf("skipped are %v, should be %v", s.Skipped, skipped)
			}
			d := h.start()
			h.write("d/later.jpg")
			h.gets("d/later.jpg")
			h.settles()
			d.stop()
			h.rests()
			o.wasLeftAlone()
		})
	}
}

// inOwnMounts runs the test in a process that may mount, and reports whether this
// is that process.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	const inside = "IKSYNC_TEST_MOUNTS"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Skip("no mount namespace here: ", err)
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case !strings.Contains(string(out), "--- PASS"):
		t.Fatalf("the test did not run:\n%s", out)
	}
	return false
}

func TestMountsAreTakenAndTheirLoopsEnd(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	h := newHostile(t)
	elsewhere := filepath.Join(h.base, "elsewhere")
	h.must(writeFile(elsewhere+"/sub/a.jpg", "of a mounted directory"))
	h.write("own.jpg")
	h.write("hidden.jpg", "what another file is mounted on")
	h.write("d/deeper/b.jpg")
	for _, dir := range []string{"mounted", "d/deeper/loop", "cycle"} {
		h.must(os.Mkdir(h.at(dir), 0o755))
	}
	for _, m := range [][2]string{ // in this order: a mount is taken along by those above it
		{elsewhere, "mounted"}, {elsewhere + "/sub/a.jpg", "hidden.jpg"}, {h.at("d"), "d/deeper/loop"}, {h.tree(), "cycle"},
	} {
		from, at := m[0], m[1]
		if err := unix.Mount(from, h.at(at), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			t.Skip("nothing can be mounted here: ", err)
		}
		t.Cleanup(func() { h.must(unix.Unmount(h.at(at), unix.MNT_DETACH)) }) // before the directory is removed
	}
	taken := []string{"own.jpg", "hidden.jpg", "d/deeper/b.jpg", "mounted/sub/a.jpg"}
	s := h.run(0)
	if s.Skipped["loop"] != 2 || s.Files != int64(len(taken)) {
		t.Errorf("%d files, skipped are %v", s.Files, s.Skipped)
	}
	d := h.start()
	d.says(`"scanned"`)
	h.must(writeFile(elsewhere+"/sub/later.jpg", "written past the mount"))
	h.write("cycle/through the loop.jpg", "the file is in the root itself")
	taken = append(taken, "mounted/sub/later.jpg", "through the loop.jpg")
	waitFor(t, "the mounted files are recorded", func() bool { return len(h.records()) >= len(taken) })
	d.stop()
	h.sends(0, func() { h.run(0) })
	for _, path := range taken {
		content, err := os.ReadFile(h.at(path))
		h.must(err)
		if record := h.records()[path]; record == nil || !h.has(record.RemotePath, string(content)) {
			t.Errorf("%s is recorded as %+v", path, record)
		}
	}
	if n := len(h.records()); n != len(taken) {
		t.Errorf("%d records, should be %d", n, len(taken))
	}
}

// deep makes a file below so many directories of a name, one at a time: the path
// may be longer than the kernel takes.
func (h hostile) deep(name string, dirs int, file string) {
	h.Helper()
	root, err := os.OpenRoot(h.tree())
	h.must(err)
	defer root.Close()
	path := strings.Repeat(name+"/", dirs)
	h.must(root.MkdirAll(strings.TrimSuffix(path, "/"), 0o755))
	h.must(root.WriteFile(path+file, []byte(file), 0o644))
}

func TestFilesDeepDownAreSentOrListed(t *testing.T) {
	t.Parallel()
	both(t, func(h hostile, pass func()) {
		for _, dirs := range []int{1, 49, 50, 60} {
			h.deep("d", dirs, "a.jpg")
		}
		h.deep(long("", "n"), 20, "a.jpg")
		pass()
		sent := len(h.records())
		listed := h.listed()
		if why := listed[strings.Repeat("d/", 60)+"a.jpg"]; !strings.Contains(why, "50") {
			h.Errorf("the deepest file is listed as %q", why)
		}
		h.deep("d", 60, "later.jpg")
		h.deep(long("", "n"), 20, "later.jpg") // no event tells of it
		pass()
		if len(h.records()) != sent+1 || len(h.listed()) != len(listed)+1 {
			h.Errorf("%d are sent and %d listed; before it were %d and %d", len(h.records()), len(h.listed()), sent, len(listed))
		}
	})
}

// TestACrowdedDirectoryIsSentOnce has most of the crowd empty, and thus listed:
// the rest is enough to be sent by a test.
func TestACrowdedDirectoryIsSentOnce(t *testing.T) {
	t.Parallel()
	const crowd, sent = 20_000, 4_000
	h := newHostile(t)
	h.must(os.Mkdir(h.at("crowd"), 0o755))
	for i := range crowd {
		var content []byte
		if i < sent {
			content = strconv.AppendInt(content, int64(i), 10)
		}
		h.must(os.WriteFile(h.at(fmt.Sprintf("crowd/%d.jpg", i)), content, 0o644))
	}
	h.sends(sent, func() {
		if s := h.run(0); s.Waiting["empty"] != crowd-sent {
			t.Errorf("waiting are %v", s.Waiting)
		}
	})
	h.accounted()
	d := h.start()
	d.says(`"scanned"`)
	h.write("crowd/more.jpg")
	h.gets("crowd/more.jpg")
	d.stop()
	h.sends(0, func() { h.run(0) })
}

func TestADirectoryMayGoWhileItIsScanned(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"backfill", "run"} {
		t.Run("by "+command, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.write("z.jpg")
			for i := range 1500 {
				h.write(fmt.Sprintf("crowd/%d/%d.jpg", i%300, i))
			}
			h.library.hold(-1)
			d := h.begin(h.command("iksync", []string{command, "--config", h.config}))
			h.came(1) // the scan goes on while the first are sent
			h.must(os.RemoveAll(h.at("crowd")))
			if command == "backfill" {
				d.ends(0)
			} else {
				h.settles()
				d.stop()
			}
			h.rests()
			h.exportIsLibrary()
		})
	}
}
