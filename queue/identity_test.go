package queue_test

import (
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// seesDirectory notes a complete scan of a directory.
func (f *fixture) seesDirectory(identity string, inStep bool) {
	f.Helper()
	f.there = identity
	found := int64(0)
	if inStep {
		found = 1 << 20
	}
	f.must(f.q.Scanned(f.Context(), f.root, queue.Scan{Began: time.Now(), Identity: []byte(identity), InStep: found}))
}

// TestNothingIsDueWhileAnotherDirectoryIsInPlaceOfTheRoot until it is back, or
// files of it were found as recorded, or somebody approves.
func TestNothingIsDueWhileAnotherDirectoryIsInPlaceOfTheRoot(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fixture)
		want []string
	}{
		{"it is there still", func(f *fixture) { f.seesDirectory("disk 2", false) }, nil},
		{"a third one is", func(f *fixture) { f.seesDirectory("disk 3", false) }, nil},
		{"the first is back", func(f *fixture) { f.seesDirectory("disk 1", false) }, []string{"a"}},
		{"it has files by now", func(f *fixture) { f.seesDirectory("disk 2", true) }, nil},
		{"it was approved", func(f *fixture) { f.must(f.q.Approve(f.Context(), f.root)) }, []string{"a"}},
		{"it was approved and scanned", func(f *fixture) {
			f.must(f.q.Approve(f.Context(), f.root))
			f.seesDirectory("disk 2", false)
		}, []string{"a"}},
		{"it was approved, and is the third by now", func(f *fixture) {
			f.must(f.q.Approve(f.Context(), f.root))
			f.seesDirectory("disk 2", false)
			f.seesDirectory("disk 3", false)
		}, nil},
		{"iksync was started again", func(f *fixture) { f.reopen() }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			f.gone("a")
			f.uploads("there")
			f.seesDirectory("disk 2", false)
			if d := f.wantDue(f.brakeless()); d.Braked == "" || f.standing().Braked == "" {
				t.Errorf("%+v", d)
			}
			c.do(f)
			f.wantDue(f.brakeless(), c.want...)
		})
	}
}

// TestWhatWasApprovedStaysWhileAnotherDirectoryIsInPlaceOfTheRoot: the approval
// was given for the directory that was there then; its files may be back there by
// now, and the last look on the disk looks into the other.
func TestWhatWasApprovedStaysWhileAnotherDirectoryIsInPlaceOfTheRoot(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.gone("a")
		f.uploads("there")
		f.must(f.q.Approve(f.Context(), f.root))
		pass(time.Hour)
		f.seesDirectory("disk 2", false)
		r := f.brakeless()
		r.After = time.Hour
		f.wantDue(r)
		f.seesDirectory("disk 1", true)
		f.wantDue(r, "a")
	})
}

// TestTheBrakeOutlastsAnotherDirectory: only an approval takes it off.
func TestTheBrakeOutlastsAnotherDirectory(t *testing.T) {
	bubble(t, func(f *fixture) {
		paths := numbered(20)
		f.uploads(paths...)
		r := f.brakeless()
		r.MaxFiles = 4
		f.absent(state.Gone, paths[:3]...)
		f.scanned()
		f.remove(r)
		f.absent(state.Gone, paths[3:6]...)
		f.scanned()
		f.wantDue(r)
		mass := f.standing().Braked
		f.seesDirectory("disk 2", false)
		f.wantDue(r)
		f.seesDirectory("disk 1", true)
		if now := f.standing().Braked; now != mass {
			t.Errorf("it was braked since %q, and is by now since %q", mass, now)
		}
		pass(2 * time.Hour)
		f.wantDue(r)
	})
}

// TestTheFirstScanDoesNotVouchForADirectory in which nothing of what is recorded
// was found: records may be older than the first complete scan that noted one.
func TestTheFirstScanDoesNotVouchForADirectory(t *testing.T) {
	f := open(t)
	f.uploads("a", "b")
	f.absent(state.Gone, "a", "b")
	f.seesDirectory("disk 2", false)
	f.wantDue(f.brakeless())
}

// TestUndoKeepsWhatItNames and nothing else.
func TestUndoKeepsWhatItNames(t *testing.T) {
	all := []string{"a", "d!/x", "d", "d/x", "d/y/z", "d0", "\xff\xff\xff\xff\xff", "\x00"}
	for _, c := range []struct {
		name, path string
		kept       []string
	}{
		{"a file", "a", []string{"a"}},
		{"a directory, with what is below", "d", []string{"d", "d/x", "d/y/z"}},
		{"a directory below", "d/y", []string{"d/y/z"}},
		{"the whole root", "", all},
		{"nothing", "e", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			f.gone(all...)
			f.uploads("there")
			other := *f
			other.root = f.ensureRoot("/other")
			other.enqueue(queue.Change{RootID: other.root, Path: "a", Stat: other.seenAt("a", 1), Remote: "/other/a"})
			job := other.claimOne()
			file := fileOf(job)
			file.FileID = "other"
			other.completeAs(job, file)
			other.absent(state.Gone, "a")
			other.scanned()

			f.undo(c.path, int64(len(c.kept)))
			f.undo(c.path, 0)
			due := map[string]bool{}
			for _, file := range f.due(f.brakeless()).Files {
				due[file.Path] = true
			}
			for _, p := range c.kept {
				if due[p] || !f.record(p).Kept {
					t.Errorf("%q goes", p)
				}
			}
			if want := len(all) - len(c.kept); len(due) != want {
				t.Errorf("%d are due, should be %d: %v", len(due), want, due)
			}
			if s := f.standing(); s.Kept != int64(len(c.kept)) || s.Absent != int64(len(all)-len(c.kept)) {
				t.Errorf("%+v", s)
			}
			r := f.brakeless()
			r.RootID = other.root
			other.wantDue(r, "a")
		})
	}
}

// TestKeptStaysSoUntilTheFileIsThereAgain: whatever approval or scan follows.
func TestKeptStaysSoUntilTheFileIsThereAgain(t *testing.T) {
	f := open(t)
	f.gone("a")
	f.undo("a", 1)
	f.absent(state.Gone, "a")
	f.absent(state.Filtered, "a")
	f.markAbsent(queue.Absent{Path: "a", Why: state.Gone, Below: true})
	f.must(f.q.Approve(f.Context(), f.root))
	f.scanned()
	f.wantDue(f.brakeless())
	file := f.record("a")
	if err := f.q.Intend(f.Context(), &queue.Intent{Kind: queue.DeleteFile, File: file.ID, Source: file.RemotePath}); err == nil {
		t.Error("its removal may be begun")
	}
	f.must(f.q.MarkPresent(f.Context(), f.root, []string{"a"}))
	f.absent(state.Gone, "a")
	f.scanned()
	f.wantDue(f.brakeless(), "a")
}

// TestARemovalIsNotBegunOfAFileThatIsInUse by then: between the look and the
// intent.
func TestARemovalIsNotBegunOfAFileThatIsInUse(t *testing.T) {
	for name, do := range map[string]func(f *fixture){
		"it is there again": func(f *fixture) { f.must(f.q.MarkPresent(f.Context(), f.root, []string{"a"})) },
		"it has a job":      func(f *fixture) { f.enqueue(f.change("a", 2)) },
		"it is moved": func(f *fixture) {
			f.enqueue(queue.Change{RootID: f.root, Path: "b", Stat: f.seenAt("a", 1), Remote: "/b"})
		},
		"it is kept":                  func(f *fixture) { f.undo("", 2) },
		"its removal is begun":        func(f *fixture) { f.must(f.q.Intend(f.Context(), f.deletion("a"))) },
		"its record is there no more": func(f *fixture) { f.must(f.q.Lost(f.Context(), f.record("a").ID)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.gone("a", "control")
			i, control := f.deletion("a"), f.deletion("control")
			do(f)
			all := []*queue.Intent{i, control}
			f.must(f.q.IntendAll(f.Context(), &all))
			for _, begun := range all {
				if begun == i {
					t.Error("it is begun")
				}
			}
			if len(all) != 1 && name != "it is kept" {
				t.Error("the other is not begun")
			}
		})
	}
}

func (f *fixture) deletion(path string) *queue.Intent {
	f.Helper()
	file := f.record(path)
	return &queue.Intent{Kind: queue.DeleteFile, File: file.ID, Source: file.RemotePath}
}

// TestARemovalThatFindsItsFileBackLeavesAJob: the copy is gone with the record, so
// the file must be uploaded again, although a scan has found it as it was recorded.
func TestARemovalThatFindsItsFileBackLeavesAJob(t *testing.T) {
	f := open(t)
	f.gone("a")
	i := f.deletion("a")
	f.must(f.q.Intend(f.Context(), i))
	f.must(f.q.MarkPresent(f.Context(), f.root, []string{"a"}))
	f.must(f.q.Removed(f.Context(), i, ""))
	if f.record("a") == nil && len(f.states()) == 0 {
		t.Error("there is neither a record nor a job of a file that is there: nobody uploads it until the next scan")
	}
}

// TestMarkAbsentBelow: a directory with all that is in it, and nothing beside it.
func TestMarkAbsentBelow(t *testing.T) {
	f := open(t)
	f.uploads("d", "d!", "d/x", "d/y/z", "d0", "da/x")
	f.markAbsent(queue.Absent{Path: "d", Why: state.Gone, Below: true})
	f.scanned()
	f.wantDue(f.brakeless(), "d", "d/x", "d/y/z")
}

// TestRecordsOfAnotherDeviceAreNotMarked: an empty directory is what is left
// where their disk is not mounted.
func TestRecordsOfAnotherDeviceAreNotMarked(t *testing.T) {
	f := open(t)
	f.uploads("d/x", "d/y", "e") // all on device 1
	for _, a := range []queue.Absent{{Path: "d", Below: true}, {Path: "d/x"}, {Path: "e"}} {
		a.Why, a.Device, a.Empty = state.Gone, 2, true
		f.markAbsent(a)
	}
	f.scanned()
	f.wantDue(f.brakeless())
	f.markAbsent(queue.Absent{Path: "d", Why: state.Gone, Below: true, Device: 1})
	f.scanned()
	f.wantDue(f.brakeless(), "d/x", "d/y")
}

// TestADiskWithTheIDOfTheRecordedOneMustHaveItsFiles: clones and snapshots share ids, and
// where there is no id only the files tell.
func TestADiskWithTheIDOfTheRecordedOneMustHaveItsFiles(t *testing.T) {
	for _, identity := range []string{"uuid:1", queue.ByFiles} {
		t.Run(identity, func(t *testing.T) {
			bubble(t, func(f *fixture) {
				paths := numbered(60)
				f.uploads(paths...)
				f.seesDirectory(identity, true)
				pass(time.Minute)
				f.absent(state.Gone, paths...)
				f.sees(identity, 0)
				if d := f.wantDue(f.brakeless()); d.Braked == "" || f.standing().Braked == "" {
					f.Errorf("nothing is said: %+v", d)
				}
				// Its own files are uploaded, and are found as recorded from then on.
				pass(time.Minute)
				for _, p := range paths {
					f.upload("other/"+p, 2)
				}
				f.must(f.db.Write(f.Context(), state.Durable, func(tx *state.Tx) error {
					return tx.Exec(`UPDATE files SET uploaded_at = ? WHERE CAST(path AS TEXT) LIKE 'other/%'`, time.Now().UnixMilli())
				}))
				f.sees(identity, 60)
				f.wantDue(f.brakeless())
				// The recorded one is back, without one file.
				f.must(f.q.MarkPresent(f.Context(), f.root, paths[1:]))
				f.sees(identity, 59+60)
				f.wantDue(f.brakeless(), paths[0])
			})
		})
	}
}

// sees notes a complete scan of a directory, a minute later, that finds so many files with the
// recorded size and modification time.
func (f *fixture) sees(identity string, found int64) {
	f.Helper()
	pass(time.Minute)
	f.there = identity
	f.must(f.q.Scanned(f.Context(), f.root, queue.Scan{Began: time.Now(), Identity: []byte(identity), Found: found}))
}

// TestAnApprovalAcceptsADiskWithoutTheFiles for good, also where only files tell.
func TestAnApprovalAcceptsADiskWithoutTheFiles(t *testing.T) {
	for _, identity := range []string{"uuid:1", queue.ByFiles} {
		t.Run(identity, func(t *testing.T) {
			bubble(t, func(f *fixture) {
				paths := numbered(60)
				f.uploads(paths...)
				f.seesDirectory(identity, true)
				pass(time.Minute)
				f.absent(state.Gone, paths...)
				f.sees(identity, 0)
				f.wantDue(f.brakeless())
				f.must(f.q.Approve(f.Context(), f.root))
				for range 2 {
					f.sees(identity, 0)
					f.wantDue(f.brakeless(), paths...)
				}
			})
		})
	}
}

// TestTheIdentityOfAnEarlierVersionIsRecognized and recorded in the present form.
func TestTheIdentityOfAnEarlierVersionIsRecognized(t *testing.T) {
	for _, c := range []struct {
		name  string
		scan  queue.Scan
		known bool
	}{
		{"made of the disk's id", queue.Scan{Earlier: []byte("old")}, true},
		{"made of a device's number, with the files", queue.Scan{Earlier: []byte("old"), Weak: true, Found: 20}, true},
		{"made of a device's number, without", queue.Scan{Earlier: []byte("old"), Weak: true, Found: 3}, false},
		{"of another", queue.Scan{Earlier: []byte("older"), Found: 20}, false},
		{"and there is none now", queue.Scan{Identity: []byte(queue.ByFiles), Found: 20}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			paths := numbered(20)
			f.uploads(paths...)
			f.seesDirectory("old", true)
			f.absent(state.Gone, paths[0])
			c.scan.Began = time.Now()
			if c.scan.Identity == nil {
				c.scan.Identity = []byte("new")
			}
			f.must(f.q.Scanned(t.Context(), f.root, c.scan))
			f.there = string(c.scan.Identity)
			var want []string
			if c.known {
				want = paths[:1]
			}
			f.wantDue(f.brakeless(), want...)
		})
	}
}
