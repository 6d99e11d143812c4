package main

import (
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// wrongClocks are what a clock may have said when something was recorded, as
// milliseconds and as nanoseconds.
func wrongClocks() map[string]time.Time {
	return map[string]time.Time{
		"ten years ahead":   time.Now().AddDate(10, 0, 0),
		"in 1970":           time.Unix(0, 0),
		"in 1969":           time.Unix(-1000, 0),
		"where numbers end": time.UnixMilli(1<<63 - 1),
	}
}

// edit changes the state file as nobody else does.
func (h hostile) edit(statement string, args ...any) {
	h.Helper()
	db, err := state.Open(h.Context(), h.state)
	h.must(err)
	h.must(db.Write(h.Context(), state.Durable, func(tx *state.Tx) error {
		n, err := tx.ExecRows(statement, args...)
		if err == nil && n == 0 {
			h.Errorf("%s changes nothing", statement)
		}
		return err
	}))
	h.must(db.Close())
}

func TestRecordsFromAWrongClockAreNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, at := range wrongClocks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.write("a.jpg")
			h.write("d/b.jpg")
			h.write("gone.jpg")
			h.run(0)
			h.edit(`UPDATE files SET uploaded_at = ?1, checked_at = ?1`, at.UnixMilli())
			h.edit(`UPDATE roots SET created_at = ?1, scanned_at = ?1`, at.UnixMilli())
			h.must(os.Remove(h.at("gone.jpg")))
			h.rests()
			h.edit(`UPDATE files SET absent_at = ?1 WHERE absent <> 0`, at.UnixMilli())
			h.rests()
			h.write("gone.jpg") // it is back
			h.write("d/b.jpg", "changed")
			h.sends(1, func() { h.run(0) })
			d := h.start()
			h.write("later.jpg")
			h.gets("later.jpg")
			d.stop()
			h.rests()
			h.exportIsLibrary()
		})
	}
}

// A clock that was wrong leaves such times also on the files; no program can set
// them, so the records are changed instead.
func TestAFileOfAnotherChangeTimeIsReadAndNotSent(t *testing.T) {
	t.Parallel()
	for name, at := range wrongClocks() {
		for _, column := range []string{"ctime_ns", "mtime_ns"} {
			t.Run(column+" "+name, func(t *testing.T) {
				t.Parallel()
				h := newHostile(t)
				h.write("a.jpg")
				h.run(0)
				h.edit(fmt.Sprintf(`UPDATE files SET %s = ?`, column), at.UnixNano())
				h.sends(0, func() {
					if s := h.run(0); s.Touched != 1 {
						t.Errorf("%d files were read, should be one", s.Touched)
					}
					if s := h.run(0); s.Touched != 0 {
						t.Error("it was read again")
					}
				})
				h.accounted()
			})
		}
	}
}

// waits leaves a job in the queue, whose upload has failed.
func (h hostile) waits(path string) {
	h.Helper()
	h.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionStatus, Status: 503}}})
	h.write(path)
	d := h.start()
	waitFor(h.T, "a try has failed", h.hasTried)
	d.stop()
	h.library.server.SetFaults(emulator.Faults{})
}

func TestJobsFromAWrongClockAreDoneByABackfill(t *testing.T) {
	t.Parallel()
	for name, at := range wrongClocks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.waits("a.jpg")
			h.edit(`UPDATE jobs SET not_before = ?1, updated_at = ?1, created_at = ?1`, at.UnixMilli())
			h.sends(1, func() { h.run(0) })
			h.rests()
		})
	}
}

func TestADaemonDoesTheJobsOfAClockThatWasBehind(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"in 1970", "in 1969"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.waits("a.jpg")
			at := wrongClocks()[name].UnixMilli()
			h.edit(`UPDATE jobs SET not_before = ?1, updated_at = ?1, created_at = ?1`, at)
			d := h.start()
			h.gets("a.jpg")
			h.settles()
			d.stop()
			h.rests()
		})
	}
}

func TestLeasesOfADeadDaemonEndWhateverItsClockSaid(t *testing.T) {
	t.Parallel()
	for name, at := range wrongClocks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			d := h.start()
			h.inFlight("a.jpg")
			d.kill()
			if h.depths()[queue.Leased].Jobs != 1 {
				t.Fatal("no job is leased")
			}
			h.edit(`UPDATE jobs SET not_before = ?1, updated_at = ?1, created_at = ?1`, at.UnixMilli())
			h.library.release()
			d = h.start()
			h.settles()
			d.stop()
			h.rests()
			h.exportIsLibrary()
		})
	}
}

// lets waits for a time to pass, as a machine that sleeps does.
func (h hostile) lets(pass time.Duration) {
	h.Helper()
	began := time.Now()
	waitFor(h.T, "some time passes", func() bool { return time.Since(began) > pass })
}

// versions counts what the library has taken, but for one file.
func (h hostile) versions(except string) (n int) {
	for _, a := range h.library.server.Assets() {
		if path.Base(a.FilePath) != except {
			n += a.Versions
		}
	}
	return n
}

// TestADaemonThatSleptLosesNothing stops and continues the process, as a laptop's
// lid does, for longer than it takes an upload for stalled.
func TestADaemonThatSleptLosesNothing(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprintf("while its upload was answered is %v", answered), func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			h.set("stall", "1s")
			h.set("rescan", "1h") // events alone tell of what happened
			for i := range 5 {
				h.write(fmt.Sprintf("d/%d.jpg", i))
			}
			h.write("edited.jpg")
			h.write("removed.jpg")
			d := h.start()
			d.says(`"scanned"`)
			h.settles()
			before := h.versions("flying.mp4")

			h.library.hold(0)
			h.write("flying.mp4", strings.Repeat("0123456789abcdef", big/16))
			h.came(1)
			d.signal(syscall.SIGSTOP)
			h.write("edited.jpg", "edited meanwhile")
			h.write("new/deeper/x.jpg")
			h.must(os.Remove(h.at("removed.jpg")))
			h.must(os.Rename(h.at("d"), h.at("renamed")))
			if answered {
				h.library.release()
			}
			h.lets(2500 * time.Millisecond)
			d.signal(syscall.SIGCONT)
			h.library.release()

			h.gets("new/deeper/x.jpg")
			h.settles()
			d.stop()
			// What is new and what was edited; what was renamed moves. The one in flight may have
			// been cut as stalled, and more than once on a busy machine.
			if n := h.versions("flying.mp4") - before; n != 2 {
				t.Errorf("%d uploads beside the one in flight, should be 2", n)
			}
			h.rests()
			h.exportIsLibrary()
		})
	}
}
