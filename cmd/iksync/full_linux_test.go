package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iksync/queue"
	"iksync/uploader/emulator"
)

// small is a rig whose state file is on a disk of its own that can be filled.
type small struct {
	hostile
	disk    string
	workers int64
}

// cannotWrite is what the daemon says of a disk that is full.
const cannotWrite = "the state file can't be written"

func newSmall(t *testing.T) small {
	t.Helper()
	s := small{hostile: newHostile(t), workers: 8}
	s.disk = filepath.Join(s.base, "disk")
	s.must(os.Mkdir(s.disk, 0o755))
	if err := unix.Mount("tmpfs", s.disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { s.must(unix.Unmount(s.disk, unix.MNT_DETACH)) }) // before the directory is removed
	s.state = filepath.Join(s.disk, "iksync.db")
	s.set("workers", fmt.Sprint(s.workers))
	return s
}

func (s small) ballast() string { return filepath.Join(s.disk, "ballast") }

// fill leaves so many bytes of the disk.
func (s small) fill(left int64) {
	s.Helper()
	f, err := os.Create(s.ballast())
	s.must(err)
	size := int64(0)
	for page := make([]byte, os.Getpagesize()); err == nil; {
		var n int
		n, err = f.Write(page)
		size += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) {
		s.Fatalf("the disk is not full after %d bytes: %v", size, err)
	}
	s.must(f.Truncate(size - left))
	s.must(f.Close())
}

func (s small) makeRoom() {
	s.Helper()
	s.must(os.Remove(s.ballast()))
}

func (s small) writeMany(dir string, n int) {
	s.Helper()
	for i := range n {
		s.write(fmt.Sprintf("%s/%03d.jpg", dir, i))
	}
}

// untilFull starts a daemon that uploads, fills the disk, and returns when the
// daemon has said so. No upload is answered before the disk is full.
func (s small) untilFull(env ...string) *daemonProcess {
	s.Helper()
	s.writeMany("before", 20)
	d := s.start(env...)
	s.inStep()
	s.library.hold(0)
	s.writeMany("during", 300)
	s.came(int(s.workers))
	waitFor(s.T, "all are in the queue", func() bool {
		depths := s.depths()
		return depths[queue.Ready].Jobs+depths[queue.Leased].Jobs == 300
	})
	// An upload takes longer than it takes to see that its record can't be written.
	s.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Latency: emulator.Duration(time.Second)}}})
	s.emptyLog()
	s.fill(0)
	s.library.release()
	d.says(cannotWrite)
	return d
}

// emptyLog takes from the write-ahead log the room that it has: it would hold
// many records more on a disk that is full.
func (s small) emptyLog() {
	s.Helper()
	db, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Path: s.state}).String())
	s.must(err)
	defer func() { s.must(db.Close()) }()
	waitFor(s.T, "the write-ahead log is empty", func() bool {
		var busy, pages, moved int
		s.must(db.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved))
		return busy == 0
	})
}

// sentOnce wants every file to have been sent once, but for so many.
func (s small) sentOnce(files, more int64) {
	s.Helper()
	if n := s.uploads(); n < files || n > files+more {
		s.Errorf("%d uploads of %d files", n, files)
	}
	again := int64(0)
	for _, a := range s.assets() {
		again += int64(a.Versions - 1)
	}
	if again > more {
		s.Errorf("%d second versions", again)
	}
	if n := int64(len(s.assets())); n != files {
		s.Errorf("%d assets, should be %d", n, files)
	}
}

func TestTheDaemonWaitsWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	s := newSmall(t)
	manager := newNotifySocket(t)
	d := s.untilFull("NOTIFY_SOCKET="+manager.path, "WATCHDOG_USEC=60000000")
	sent, recorded := s.uploads(), int64(len(s.records()))
	if recorded >= 320 { // the write-ahead log may have had room for some
		t.Errorf("%d are recorded on the full disk", recorded)
	}
	if n := sent - recorded; n < 1 || n > 2*s.workers { // those in flight when it was full, and when that was seen
		t.Errorf("%d were sent and not recorded", n)
	}
	s.writeMany("later", 100)
	d.signal(syscall.SIGHUP)
	d.says("the new configuration is refused; the old one stays")
	at := len(manager.all())
	for range 2 { // many more could have been sent meanwhile
		at = manager.hears(t, at, "WATCHDOG=1")
	}
	manager.hears(t, 0, "STATUS="+cannotWrite)
	if n := s.uploads(); n != sent {
		t.Errorf("%d were sent while their records could not be written", n-sent)
	}
	s.library.server.SetFaults(emulator.Faults{})
	s.makeRoom()
	d.says("the state file can be written again")
	s.inStep()
	s.sentOnce(420, 0)
	if n := strings.Count(d.log(), cannotWrite+": uploads wait"); n != 1 {
		t.Errorf("the daemon says %d times that the disk is full", n)
	}
	d.stop()
	s.rests()
	s.sentOnce(420, 0)
}

func TestADaemonIsStoppedWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	s := newSmall(t)
	s.set("shutdown_grace", "80s")
	d := s.untilFull()
	began := time.Now()
	d.signal(syscall.SIGTERM)
	d.ends(exitUnwritable)
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %v to end, and nothing was in flight", took)
	}
	s.library.rests() // what was cut may come still, and would be looked for too early
	if n := len(s.records()); n >= 320 {
		t.Errorf("%d are recorded on the full disk", n)
	}
	s.makeRoom()
	s.fill(0)     // what the write-ahead log had
	d = s.start() // as the service manager would
	d.ends(exitUnwritable)
	s.library.server.SetFaults(emulator.Faults{})
	s.makeRoom()
	d = s.start()
	s.inStep()
	d.stop()
	s.rests()
	s.sentOnce(320, 0) // what could not be recorded is found in the library
}

func TestABackfillSaysThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	s := newSmall(t)
	s.writeMany("before", 20)
	s.run(0)
	s.writeMany("during", 600)
	s.fill(0)
	s.sends(0, func() { s.refused("no room at all") })
	s.makeRoom()
	s.fill(600 << 10)
	s.refused("room for some")
	recorded := len(s.records())
	if recorded < 20 || recorded == 620 {
		t.Errorf("%d are recorded, should be some of 620", recorded)
	}
	s.makeRoom()
	s.run(0)
	s.accounted()
	s.rests()
	s.sentOnce(620, 0)
}

// refused wants a backfill to say that the state file can't be written.
func (s small) refused(when string) {
	s.Helper()
	var stderr bytes.Buffer
	cmd := s.backfill()
	cmd.Stderr = &stderr
	_ = cmd.Run() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitUnwritable {
		s.Errorf("%s: the exit code is %d:\n%s", when, code, stderr.Bytes())
	}
	if said := stderr.String(); !strings.Contains(said, "state file") {
		s.Errorf("%s: the message is %q", when, said)
	}
}

func TestAReadOnlyDiskIsToldAsOneThatIsFull(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	s := newSmall(t)
	s.writeMany("before", 5)
	s.run(0)
	s.writeMany("later", 5)
	remount := func(flags uintptr) error { return unix.Mount("tmpfs", s.disk, "", unix.MS_REMOUNT|flags, "") }
	if err := remount(unix.MS_RDONLY); err != nil {
		t.Skip("it can't be made read-only here: ", err)
	}
	s.sends(0, func() {
		s.refused("read-only")
		d := s.start()
		d.ends(exitUnwritable)
	})
	s.must(remount(0))
	d := s.start()
	s.inStep()
	if err := remount(unix.MS_RDONLY); err == nil {
		s.write("last.jpg")
		d.says(cannotWrite)
		s.must(remount(0))
		s.inStep()
	} else if !errors.Is(err, unix.EBUSY) {
		t.Error(err)
	} else {
		t.Log("a disk with open files can't be made read-only here: ", err)
	}
	d.stop()
	s.rests()
}
