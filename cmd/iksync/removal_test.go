//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"iksync/state"
	"iksync/uploader/emulator"
)

const deleteCall = "POST /v1/files/batch/deleteByFileIds"

func many(n int) (names, remotes []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("many/%03d.jpg", i))
		remotes = append(remotes, "/photos/"+names[i])
	}
	return names, remotes
}

func TestDeleteTakesTheCopiesOfFilesThatAreGone(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
	names, _ := many(250)
	for _, n := range append(names, "kept.jpg") {
		r.write(n)
	}
	r.backfill()
	r.wantUntouched()
	r.remove("many")
	r.backfill()
	r.backfill()
	r.wantAssets("/photos/kept.jpg")
	if n := strings.Count(strings.Join(r.took(), "\n"), deleteCall); n != 3 {
		t.Errorf("250 files were deleted with %d calls", n)
	}
	r.exportIsLibrary()
	r.nothingIsLeft()
}

func TestTrashMovesTheCopiesOfFilesThatAreGone(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: trash", "trash_folder: /bin")
	r.write("d/a.jpg")
	r.write("kept.jpg")
	r.backfill()
	r.remove("d/a.jpg")
	day := time.Now().UTC().Format(time.DateOnly)
	r.backfill()
	r.backfill()
	if now := time.Now().UTC().Format(time.DateOnly); now != day {
		t.Skip("it is midnight")
	}
	thrown := "" // each batch has a folder of its own
	for p := range r.assets() {
		if regexp.MustCompile(`^/bin/` + day + `/\d{6}-[0-9a-f]{4}/photos/d/a\.jpg$`).MatchString(p) {
			thrown = p
		}
	}
	r.wantAssets("/photos/kept.jpg", thrown)
	r.nothingIsLeft()
}

// TestTrashNeverMergesFilesOfOneName: also while what was moved there just now is
// not listed yet.
func TestTrashNeverMergesFilesOfOneName(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{emulator.NoLag, emulator.DefaultListingLag, time.Hour} {
		t.Run(fmt.Sprint("listings lag by ", lag), func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{ListingLag: lag}, "delete: trash")
			const times = 3
			for i := range times {
				r.write("a.jpg", fmt.Sprintf("content %d", i))
				r.backfill()
				r.remove("a.jpg")
				r.write("kept.jpg")
				r.backfill()
				r.backfill()
			}
			if n := len(r.assets()); n != times+1 {
				t.Errorf("%d files of one name were thrown away, and the library holds %d: %v", times, n-1, r.assets())
			}
		})
	}
}

func TestKeepNeverTakesAnythingAway(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{})
	for _, n := range []string{"a.jpg", "d/b.jpg", "d/c.jpg", "e.png"} {
		r.write(n)
	}
	r.backfill()
	r.remove("a.jpg", "d")
	r.backfill()
	r.policy("exclude: ['*.png']")
	r.backfill()
	r.backfill()
	r.wantUntouched()
	r.wantAssets("/photos/a.jpg", "/photos/d/b.jpg", "/photos/d/c.jpg", "/photos/e.png")
}

// TestAChangedFilterHasItsOwnPolicy: gone files and files that are left out.
func TestAChangedFilterHasItsOwnPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ gone, filtered, want string }{
		{"delete", "keep", "/photos/a.jpg /photos/out/b.png /photos/out/c.jpg"},
		{"keep", "delete", "/photos/a.jpg /photos/gone.jpg"},
		{"delete", "delete", "/photos/a.jpg"},
	} {
		t.Run(c.gone+" "+c.filtered, func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{})
			for _, n := range []string{"a.jpg", "gone.jpg", "out/b.png", "out/c.jpg"} {
				r.write(n)
			}
			r.backfill()
			r.remove("gone.jpg")
			r.policy("delete: "+c.gone, "filtered: "+c.filtered, "exclude: [/out/]")
			r.backfill()
			r.backfill()
			r.wantAssets(strings.Fields(c.want)...)
		})
	}
}

// TestAMassDeleteIsBraked: nothing at all goes.
func TestAMassDeleteIsBraked(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", `max_delete: "100, 10%"`)
	names, remotes := many(40)
	for _, n := range names {
		r.write(n)
	}
	r.backfill()
	r.remove(names[:5]...)
	r.backfill()
	r.backfill()
	r.wantUntouched()
	r.wantAssets(remotes...)
	r.write(names[0]) // so that four are left, which are allowed
	r.backfill()
	r.wantUntouched()
}

// TestAFileThatReturnsIsKept although its removal was pending.
func TestAFileThatReturnsIsKept(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", "delete_after: 1h")
	r.write("d/a.jpg")
	r.write("d/b.jpg")
	r.write("c.jpg")
	r.backfill()
	away := filepath.Join(r.base, "away")
	r.must(os.Rename(filepath.Join(r.tree(), "d"), away)) // so that the files come back as they were
	r.backfill()
	r.must(os.Rename(away, filepath.Join(r.tree(), "d")))
	r.policy("delete: delete")
	r.backfill()
	r.backfill()
	r.wantUntouched()
	r.wantAssets("/photos/d/a.jpg", "/photos/d/b.jpg", "/photos/c.jpg")
}

// TestNothingIsRemovedWhileTheRootIsAnotherDirectory: what was gone before it was
// replaced stays as well, because it may be back in the directory that is not
// there; with an approval too.
func TestNothingIsRemovedWhileTheRootIsAnotherDirectory(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][]string{
		"which is empty":      nil,
		"with other files":    {"other.jpg"},
		"with a file alike":   {"kept.jpg"},
		"with junk":           {".DS_Store"},
		"with the same names": {"kept.jpg", "d/b.jpg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", "filtered: delete", "delete_after: 1h")
			for _, n := range []string{"gone.jpg", "kept.jpg", "d/b.jpg"} {
				r.write(n)
			}
			r.backfill()
			r.remove("gone.jpg")
			r.backfill()
			r.replaceRoot(files...)
			r.policy("delete: delete", "filtered: delete")
			r.backfillAnyhow()
			r.backfillAnyhow()
			r.wantUntouched()
			for _, n := range []string{"gone.jpg", "kept.jpg", "d/b.jpg"} {
				if _, there := r.assets()["/photos/"+n]; !there {
					t.Errorf("%s is not in the library any more", n)
				}
			}
		})
	}
}

// TestAMissingFileKeepsNoOtherFromBeingDeleted: ImageKit refuses the whole batch.
func TestAMissingFileKeepsNoOtherFromBeingDeleted(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
	names, remotes := many(150)
	for _, n := range append(names, "kept.jpg") {
		r.write(n)
	}
	r.backfill()
	for _, lost := range []string{remotes[0], remotes[70], remotes[149]} { // somebody deleted these in the dashboard
		r.call(http.MethodDelete, "/v1/files/"+r.assets()[lost].FileID, "", nil)
	}
	r.remove("many")
	r.backfill()
	r.backfill()
	r.wantAssets("/photos/kept.jpg")
	r.exportIsLibrary()
}

// call makes a call that iksync has no part in.
func (r *removalRig) call(method, path, kind string, body io.Reader) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.library.http.URL+path, body)
	r.must(err)
	req.SetBasicAuth("k", "")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	r.must(err)
	r.must(res.Body.Close())
	if res.StatusCode >= 300 {
		r.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

// somebodyUploads is what people do in the dashboard.
func (r *removalRig) somebodyUploads(folder, name, content string) {
	r.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for k, v := range map[string]string{"fileName": name, "folder": folder, "useUniqueFileName": "false"} {
		r.must(form.WriteField(k, v))
	}
	part, err := form.CreateFormFile("file", name)
	r.must(err)
	_, err = io.WriteString(part, content)
	r.must(err)
	r.must(form.Close())
	r.call(http.MethodPost, "/api/v1/files/upload", form.FormDataContentType(), &body)
}

// TestALostAnswerToADeleteIsLookedInto, and others' files are not taken for the
// deleted one.
func TestALostAnswerToADeleteIsLookedInto(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*removalRig){
		"and nothing happened meanwhile": func(*removalRig) {},
		"and somebody has uploaded another file there": func(r *removalRig) {
			r.somebodyUploads("/photos", "a.jpg", "A.JPG") // of the same size
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
			r.write("a.jpg")
			r.write("kept.jpg")
			r.backfill()
			r.remove("a.jpg")
			r.faults(emulator.Fault{Endpoint: "batchDelete", Count: 1, Action: emulator.ActionLose})
			for range 2 { // the first may only mark it
				if len(r.took()) == 0 {
					r.backfillAnyhow()
				}
			}
			r.faults()
			r.wantAssets("/photos/kept.jpg")
			meanwhile(r)
			want := len(r.assets())
			r.backfill()
			r.backfill()
			if got := len(r.assets()); got != want {
				t.Errorf("the library held %d files, and holds %d", want, got)
			}
			if want == 1 {
				r.exportIsLibrary()
			}
		})
	}
}

// TestKilledBetweenTheDeleteAndItsRecord: the next one finds out, and uploads what
// is there again.
func TestKilledBetweenTheDeleteAndItsRecord(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprint("the files are back: ", back), func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete")
			r.write("d/a.jpg")
			r.write("d/b.jpg")
			r.write("kept.jpg")
			r.backfill()
			away := filepath.Join(r.base, "away")
			r.must(os.Rename(filepath.Join(r.tree(), "d"), away))
			r.faults(emulator.Fault{Endpoint: "batchDelete", Action: emulator.ActionSlow, Every: emulator.Duration(time.Hour)})
			for range 2 { // the first may only mark them
				d := r.begin(r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}))
				waitFor(t, "it deletes or ends", func() bool { return len(r.assets()) == 1 || !d.running() })
				d.kill()
			}
			r.killed = true
			r.faults()
			r.wantAssets("/photos/kept.jpg")
			if back {
				r.must(os.Rename(away, filepath.Join(r.tree(), "d")))
			}
			r.backfill()
			r.exportIsLibrary()
			if why, ok := r.holds(r.wanted()); !ok {
				t.Errorf("a backfill that ended well left the library so that %s", why)
			}
			r.nothingIsLeft()
		})
	}
}

// TestAFileThatCanNotBeMovedToTheTrashKeepsNoOther.
func TestAFileThatCanNotBeMovedToTheTrashKeepsNoOther(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: trash")
	r.write("a-bad.jpg")
	r.backfill()
	for _, n := range []string{"b.jpg", "c.jpg", "kept.jpg"} {
		r.write(n)
	}
	r.backfill()
	r.remove("a-bad.jpg", "b.jpg", "c.jpg")
	r.faults(emulator.Fault{Endpoint: "move", Path: "a-bad", Action: emulator.ActionStatus, Status: 400, Message: "refused"})
	r.backfillAnyhow()
	r.backfillAnyhow()
	for _, n := range []string{"b.jpg", "c.jpg"} {
		if _, there := r.assets()["/photos/"+n]; there {
			t.Errorf("%s was not thrown away", n)
		}
	}
}

// TestAnInterruptEndsTheRemovals of a backfill, between two of them.
func TestAnInterruptEndsTheRemovals(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: trash")
	names, _ := many(30)
	for _, n := range append(names, "kept.jpg") {
		r.write(n)
	}
	r.backfill()
	r.remove("many")
	r.policy("delete: trash", "delete_after: 1h")
	r.backfill()
	r.policy("delete: trash")
	came, goOn := make(chan struct{}, 100), make(chan struct{})
	r.onCall(func(call string, _ *http.Request) {
		if call == "POST /v1/files/move" {
			came <- struct{}{}
			<-goOn
		}
	})
	d := r.begin(r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"}))
	<-came
	d.signal(syscall.SIGINT)
	d.says("stopping")
	close(goOn)
	d.ends(exitInterrupted)
	if n := len(r.took()); n > 2 {
		t.Errorf("it went on with %d more", n-1)
	}
}

// TestAFolderWithAFreshFileStays although no listing shows the file yet: another file of
// the folder has just been deleted.
func TestAFolderWithAFreshFileStays(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{"by default": nil, "where empty folders go": {"empty_folders: remove"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{ListingLag: 2 * time.Second}, append(more, "delete: delete")...)
			r.write("d/old.jpg")
			r.write("kept.jpg")
			r.backfill()
			r.remove("d/old.jpg")
			r.write("d/fresh.jpg")
			if out := r.backfill(); !strings.Contains(out, "In step") {
				t.Errorf("it says %s", out)
			}
			r.wantAssets("/photos/d/fresh.jpg", "/photos/kept.jpg")
			r.exportIsLibrary()
		})
	}
}

// TestABackfillLeavesAnEmptyFolderToALaterRun and says so.
func TestABackfillLeavesAnEmptyFolderToALaterRun(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{}, "delete: delete", "empty_folders: remove")
	r.write("d/old.jpg")
	r.write("kept.jpg")
	r.backfill()
	r.remove("d")
	for range 2 {
		if out := r.backfill(); !strings.Contains(out, "In step") || !strings.Contains(out, "  folders           1  that seem to be empty stay for now") {
			t.Errorf("it says %s", out)
		}
	}
	out, err := r.command("iksync", []string{"backfill", "--config", r.config, "--json"}).Output()
	r.must(err)
	if !strings.Contains(string(out), `"empty_folders_left": 1,`) {
		t.Errorf("it says %s", out)
	}
	for _, call := range r.took() {
		if strings.HasPrefix(call, "DELETE") {
			t.Errorf("the library was told %s", call)
		}
	}
	r.age("UPDATE folders SET quiet_ms = 300000")
	if out := r.backfill(); strings.Contains(out, "  folders ") {
		t.Errorf("it says %s", out)
	}
	if took := strings.Join(r.took(), "\n"); strings.Count(took, "DELETE /v1/folder") != 1 {
		t.Errorf("the library was told %s", took)
	}
	r.wantAssets("/photos/kept.jpg")
}

// age changes the state file as time does.
func (r *removalRig) age(query string) {
	r.Helper()
	db, err := state.Open(r.Context(), r.state)
	r.must(err)
	r.must(db.Write(r.Context(), state.Durable, func(tx *state.Tx) error { return tx.Exec(query) }))
	r.must(db.Close())
}

// TestABackfillTriesRemovalsAgain and names what it did not remove.
func TestABackfillTriesRemovalsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy string
		fault  emulator.Fault
		left   bool
	}{
		"deletes that are throttled once": {"delete", emulator.Fault{Endpoint: "batchDelete", Count: 1, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "20"}}, false},
		"deletes that fail once":          {"delete", emulator.Fault{Endpoint: "batchDelete", Count: 1, Status: 503}, false},
		"deletes that are refused":        {"delete", emulator.Fault{Endpoint: "batchDelete", Status: 400, Message: "not to be deleted"}, true},
		"moves that are throttled once":   {"trash", emulator.Fault{Endpoint: "move", Count: 1, Status: 429, Headers: map[string]string{"X-RateLimit-Reset": "20"}}, false},
		"moves that are refused":          {"trash", emulator.Fault{Endpoint: "move", Status: 400, Message: "not to be moved"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemovalRig(t, emulator.Behaviour{}, "delete: "+c.policy)
			r.write("gone.jpg")
			r.write("kept.jpg")
			r.backfill()
			r.remove("gone.jpg")
			c.fault.Action = emulator.ActionStatus
			r.faults(c.fault)
			cmd := r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"})
			out, err := cmd.Output()
			_, there := r.assets()["/photos/gone.jpg"]
			switch {
			case there != c.left:
				t.Errorf("the copy is there: %v\n%s", there, out)
			case !c.left:
				r.must(err)
			case cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "1 file not removed from the library") || !strings.Contains(string(out), "gone.jpg: ") || !strings.Contains(string(out), c.fault.Message):
				t.Errorf("exit code %d, and it says %s", cmd.ProcessState.ExitCode(), out)
			}
		})
	}
}

// TestABackfillNamesWhatIsUnresolved, as does status.
func TestABackfillNamesWhatIsUnresolved(t *testing.T) {
	t.Parallel()
	r := newRemovalRig(t, emulator.Behaviour{})
	r.write("a.jpg")
	r.write("b.jpg")
	r.backfill()
	id := r.assets()["/photos/a.jpg"].FileID
	r.must(os.Rename(filepath.Join(r.tree(), "a.jpg"), filepath.Join(r.tree(), "c.jpg")))
	r.must(os.Rename(filepath.Join(r.tree(), "b.jpg"), filepath.Join(r.tree(), "d.jpg")))
	r.faults(emulator.Fault{Endpoint: "details", Path: id, Skip: 1, Action: emulator.ActionStatus, Status: 400, Message: "no sense"})
	cmd := r.command("iksync", []string{"backfill", "--config", r.config, "--no-progress"})
	out, _ := cmd.Output()
	const change = "/photos/a.jpg -> /photos/c.jpg: no sense"
	if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(out), "1 change of the library unresolved") || !strings.Contains(string(out), change) {
		t.Errorf("exit code %d, and it says %s", cmd.ProcessState.ExitCode(), out)
	}
	r.wantAssets("/photos/c.jpg", "/photos/d.jpg")
	status, err := r.command("iksync", []string{"status"}).Output()
	r.must(err)
	if !strings.Contains(string(status), "unresolved: "+change) {
		t.Errorf("status says %s", status)
	}
	r.faults()
	r.backfill()
	r.exportIsLibrary()
}
