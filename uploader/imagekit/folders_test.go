package imagekit_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestFoldersAreMadeFoundAndDeleted(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, folder := range []string{"/", "", "/a", "/a/b/c", "/a/b/c", "/a/b/c/", `/q "uoted" \ & 'so'`, "/日本語/Zürich"} {
		if err := c.CreateFolder(t.Context(), folder); err != nil {
			t.Errorf("%q: %v", folder, err)
		}
		if found, err := c.FolderExists(t.Context(), folder); !found || err != nil {
			t.Errorf("%q: %v, %v", folder, found, err)
		}
	}
	stored(t, c, "/a/b/file")
	for _, folder := range []string{"/b", "/a/c", "/A", "/a/b/file", "/none/at/all", "/日本語/Zurich"} {
		if found, err := c.FolderExists(t.Context(), folder); found || err != nil {
			t.Errorf("%q: %v, %v", folder, found, err)
		}
	}
	for range 2 { // the second time it is gone already
		if err := c.DeleteFolder(t.Context(), "/a/b"); err != nil {
			t.Error(err)
		}
	}
	if found, err := c.FolderExists(t.Context(), "/a/b/c"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	hasPaths(t, s)
}

// TestDeleteFolder takes a 404 for a folder that is gone, with a reason or without one;
// a reason that says something else is an error.
func TestDeleteFolder(t *testing.T) {
	for body, gone := range map[string]bool{
		`{"message":"No folder found.","reason":"FOLDER_NOT_FOUND"}`: true,
		`{"message":"Not here.","help":"x"}`:                         true,
		``:                                                           true,
		`{"message":"Not here.","reason":"NO_SUCH_ACCOUNT"}`: false,
	} {
		c := newClient(t, serve(t, drained(404, nil, body)))
		if err := c.DeleteFolder(t.Context(), "/a"); (err == nil) != gone {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestTheWholeLibraryIsNotDeleted(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	stored(t, c, "/a/b")
	for _, folder := range []string{"", "/", "//", "///"} {
		if e := apiError(t, c.DeleteFolder(t.Context(), folder)); e.Class != imagekit.File || e.Status != 0 || e.Ambiguous {
			t.Errorf("%q: %+v", folder, e)
		}
	}
	if n := s.Stats().Requests["deleteFolder"]; n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestAFolderIsMovedIntoAnotherAndRenamed(t *testing.T) {
	// A job is pending for so long.
	const lasts = time.Hour
	var now atomic.Int64
	s, err := emulator.New(emulator.Options{PrivateKey: secret, Behaviour: emulator.Behaviour{JobDuration: lasts},
		Now: func() time.Time { return time.Unix(1e9+now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := newClient(t, serve(t, s.ServeHTTP))
	stored(t, c, "/a/sub/x", "/b/y")
	finished := func(job string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if done, err := c.JobDone(t.Context(), job); done || err != nil {
			t.Errorf("at first: %v, %v", done, err)
		}
		_, err = c.MoveFolder(t.Context(), "/b", "/z")
		if e := apiError(t, err); e.Class != imagekit.Transient || e.Status != 423 || e.Ambiguous {
			t.Errorf("meanwhile: %+v", e)
		}
		now.Add(int64(lasts / time.Second))
		if done, err := c.JobDone(t.Context(), job); !done || err != nil {
			t.Errorf("in the end: %v, %v", done, err)
		}
	}
	finished(c.MoveFolder(t.Context(), "/a/", "/b"))
	hasPaths(t, s, "/b/a/sub/x", "/b/y")
	finished(c.RenameFolder(t.Context(), "/b/a", "new-name"))
	hasPaths(t, s, "/b/new-name/sub/x", "/b/y")
}

func TestRefusedFolderCallsSayWhy(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{FolderLimit: 2})
	stored(t, c, "/big/1", "/big/2", "/big/3", "/small/1", "/other/1")
	create := func() error { return c.CreateFolder(t.Context(), "/a/..") }
	remove := func() error { return c.DeleteFolder(t.Context(), "/big") }
	move := func(folder, into string) func() error {
		return func() error { _, err := c.MoveFolder(t.Context(), folder, into); return err }
	}
	rename := func(folder, name string) func() error {
		return func() error { _, err := c.RenameFolder(t.Context(), folder, name); return err }
	}
	for _, test := range []struct {
		name            string
		do              func() error
		status          int
		reason          string
		message         string // a part of it
		missing, exists bool
	}{
		{"create dots", create, 400, "INVALID_FOLDER_PATH", "'.' & '..' can not be used", false, false},
		{"delete too much", remove, 400, imagekit.ReasonTooManyObjects, "more than allowed limit of 2 items", false, false},
		{"move too much", move("/big", "/small"), 400, imagekit.ReasonTooManyObjects, "more than allowed limit", false, false},
		{"move nothing", move("/none", "/small"), 404, imagekit.ReasonNothingInside, "No files & folder found at sourceFolderPath `/none`.", true, false},
		{"move the root", move("/", "/small"), 400, "SOURCE_IS_ROOT", "cannot be root", false, false},
		{"move to where it is", move("/small", ""), 400, "SAME_SOURCE_AND_DESTINATION", "is same", false, false},
		{"move into itself", move("/small", "/small/er"), 400, "INVALID_DESTINATION_PATH", "parent folder cannot be moved into child folder", false, false},
		{"rename nothing", rename("/none", "x"), 404, "", "Source folder not found.", true, false},
		{"rename to a taken name", rename("/small", "other"), 409, "", "Folder with name other already exists", false, true},
		{"rename the root", rename("/", "x"), 400, "", "folderPath cannot be root.", false, false},
		{"rename to no name", rename("/small", ""), 400, "", "newFolderName parameter is missing.", false, false},
	} {
		e := apiError(t, test.do())
		if e.Class != imagekit.File || e.Ambiguous || e.Status != test.status || e.Reason != test.reason || !strings.Contains(e.Message, test.message) ||
			e.Missing() != test.missing || e.Exists() != test.exists {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
}

func TestAJobIsDonePendingOrMissing(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	_, err := c.JobDone(t.Context(), "0123456789abcdef01234567")
	if e := apiError(t, err); e.Reason != imagekit.ReasonJobMissing || !e.Missing() || e.Class != imagekit.File {
		t.Errorf("%+v", e)
	}
	for _, test := range []struct {
		status      int
		body        string
		done, fails bool
	}{
		{200, `{"jobId":"j","type":"MOVE_FOLDER","status":"Completed"}`, true, false},
		{200, `{"jobId":"j","type":"MOVE_FOLDER","status":"Pending"}`, false, false},
		{207, `{"jobId":"j","status":"Partial success","message":"Folder renamed successfully but purging cache on nested files failed."}`, true, false},
		{200, `{"status":"Failed"}`, false, true},
		{200, `{"status":7}`, false, true},
		{200, `{}`, false, true},
		{207, `<html>`, false, true},
	} {
		c := newClient(t, serve(t, drained(test.status, nil, test.body)))
		done, err := c.JobDone(t.Context(), "j")
		var e *imagekit.Error
		if done != test.done || errors.As(err, &e) != test.fails || test.fails && e.Class != imagekit.Transient {
			t.Errorf("%d %s: %v, %v", test.status, test.body, done, err)
		}
	}
}

func TestAJobWithoutAnIDIsNone(t *testing.T) {
	c := newClient(t, serve(t, drained(200, nil, `{"jobId":""}`)))
	_, err := c.MoveFolder(t.Context(), "/a", "/b")
	if e := apiError(t, err); e.Class != imagekit.Transient || !e.Ambiguous {
		t.Errorf("%+v", e)
	}
}
