package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"iksync/queue"
	"iksync/uploader/emulator"
)

func tenYearsAhead() int64 { return time.Now().AddDate(10, 0, 0).UnixMilli() }

// A changed file of the same size whose mtime is exactly 0.
func TestAnUploadOfAFileOfTheEpochThatWasCutIsSentAgain(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.write("a.jpg", "before")
	h.must(os.Chtimes(h.at("a.jpg"), time.Unix(0, 0), time.Unix(0, 0)))
	h.run(0)
	h.write("a.jpg", "after!")
	h.must(os.Chtimes(h.at("a.jpg"), time.Unix(0, 0), time.Unix(0, 0)))
	h.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionCut, Bytes: 10, Count: 1}}})
	h.run(0)
	h.accounted()
}

// Another directory is taken for the root.
func TestAnotherDirectoryIsNotTakenForTheRootWhenRecordsAreFromAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
	for i := range 20 {
		r.write(fmt.Sprintf("d/%d.jpg", i))
	}
	r.backfill()
	hostile{r.runRig}.edit(`UPDATE files SET uploaded_at = ?`, tenYearsAhead())
	r.replaceRoot("strange.jpg")
	r.backfillAnyhow()
	r.backfillAnyhow()
	r.wantUntouched()
}

// Approve while the clock is ahead takes the brake off until then.
func TestAnApprovalByAClockThatWasAheadApprovesNothingLater(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", `max_delete: "2"`)
	for i := range 20 {
		r.write(fmt.Sprintf("d/%d.jpg", i))
	}
	r.write("kept.jpg")
	r.backfill()
	hostile{r.runRig}.edit(`UPDATE roots SET approved_at = ?`, tenYearsAhead())
	r.remove("d")
	r.backfillAnyhow()
	r.backfillAnyhow()
	r.wantUntouched()
}

// The daemon leaves a job alone whose not_before lies far ahead.
func TestADaemonDoesTheJobsOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.waits("a.jpg")
	h.edit(`UPDATE jobs SET not_before = ?`, tenYearsAhead())
	d := h.start()
	h.gets("a.jpg")
	d.stop()
}

// Jobs of files that are gone stay listed.
func TestAHeldJobFromAClockThatWasAheadGoesWithItsFile(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.must(os.WriteFile(h.at("empty.jpg"), nil, 0o644))
	h.write("a.jpg")
	h.run(0)
	h.edit(`UPDATE jobs SET updated_at = ?`, tenYearsAhead())
	h.must(os.Remove(h.at("empty.jpg")))
	if s := h.run(0); len(s.Waiting) != 0 {
		t.Errorf("waiting are %v", s.WaitingFirst)
	}
	d := h.start()
	d.says(`"scanned"`)
	d.stop()
	if n := h.depths()[queue.Held].Jobs; n != 0 {
		t.Errorf("%d jobs are held", n)
	}
}

// DEL, C1 controls (U+009B is CSI) and bidi overrides reach the terminal by the log.
func TestNoC1ControlReachesATerminalByTheLog(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.write("\u009b2J\x7f\u202e.jpg")
	h.library.server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Action: emulator.ActionStatus, Status: 400, Message: "no"}}})
	h.set("log", "{format: console}")
	out, _ := h.command("iksync", []string{"backfill", "--config", h.config}).CombinedOutput()
	if unprintable(out) {
		t.Errorf("%q", out)
	}
}
