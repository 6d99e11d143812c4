package imagekit_test

import (
	"context"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestDetailsAreOfTheFileOrNil(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	ids := stored(t, c, "/photos/a.txt")
	asset, err := c.Details(t.Context(), ids["/photos/a.txt"])
	if err != nil || asset == nil || asset.FilePath != "/photos/a.txt" || asset.FileID != ids["/photos/a.txt"] || asset.Size != 13 || asset.URL == "" || asset.VersionID == "" {
		t.Errorf("%+v, %v", asset, err)
	}
	if asset, err = c.Details(t.Context(), "0123456789abcdef01234567"); asset != nil || err != nil {
		t.Errorf("%+v, %v", asset, err)
	}
	_, err = c.Details(t.Context(), "no such form")
	if e := apiError(t, err); e.Status != 400 || e.Class != imagekit.File || e.Message != "Your request contains invalid fileId parameter." {
		t.Errorf("%+v", e)
	}
}

func TestDetailsAreNotBelievedBlindly(t *testing.T) {
	for _, body := range []string{`{"fileId":"2","filePath":"/a","size":1}`, `{"fileId":"1","filePath":"a","size":1}`, `{"fileId":"1","filePath":"/a"}`, `[]`, `{}`} {
		asset, err := newClient(t, serve(t, drained(200, nil, body))).Details(t.Context(), "1")
		if e := apiError(t, err); asset != nil || e.Class != imagekit.Transient {
			t.Errorf("%s: %+v, %+v", body, asset, e)
		}
	}
}

func TestAFileIsMovedRenamedAndCopied(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	from := `/photos/he said "hi" & <bye>.txt`
	id := stored(t, c, from, "/other/b.txt")[from]
	if err := c.Move(t.Context(), from, "/new/deep/"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rename(t.Context(), `/new/deep/he said "hi" & <bye>.txt`, "c.txt"); err != nil {
		t.Fatal(err)
	}
	if got := assetAt(t, s, "/new/deep/c.txt").FileID; got != id {
		t.Errorf("its id is %s, not %s", got, id)
	}
	if err := c.Copy(t.Context(), "/new/deep/c.txt", ""); err != nil {
		t.Fatal(err)
	}
	hasPaths(t, s, "/new/deep/c.txt", "/other/b.txt", "/c.txt")
	if got := string(contentAt(t, s, "/c.txt")); got != from {
		t.Errorf("the copy is %q", got)
	}
}

func TestMovingOntoAFileAddsItsVersions(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{VersionLimit: 3})
	stored(t, c, "/a/x.txt", "/b/x.txt", "/c/x.txt", "/c/x.txt")
	if err := c.Move(t.Context(), "/a/x.txt", "/b"); err != nil {
		t.Fatal(err)
	}
	if a := assetAt(t, s, "/b/x.txt"); a.Versions != 2 {
		t.Errorf("%+v", a)
	}
	e := apiError(t, c.Move(t.Context(), "/c/x.txt", "/b"))
	if e.Reason != imagekit.ReasonVersionLimit || e.Class != imagekit.File || e.Missing() || e.Ambiguous {
		t.Errorf("%+v", e)
	}
	if err := c.Copy(t.Context(), "/c/x.txt", "/b"); err != nil { // one version is not too many
		t.Error(err)
	}
}

func TestRefusedFileCallsSayWhy(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	stored(t, c, "/photos/a.txt", "/photos/b.txt")
	type do = func(context.Context, string, string) error
	for _, test := range []struct {
		name     string
		do       do
		path, to string
		status   int
		reason   string
		message  string
		missing  bool
	}{
		{"move of nothing", c.Move, "/photos/none.txt", "/x", 404, imagekit.ReasonSourceMissing, "No file found with filePath `/photos/none.txt`.", true},
		{"copy of nothing", c.Copy, "/none.txt", "/x", 404, imagekit.ReasonSourceMissing, "No file found with filePath `/none.txt`.", true},
		{"rename of nothing", c.Rename, "/none.txt", "x", 404, imagekit.ReasonFileMissing, "No file found in media library at filePath /none.txt", true},
		{"move to where it is", c.Move, "/photos/a.txt", "/photos", 400, "SAME_SOURCE_AND_DESTINATION", "sourceFilePath and destinationPath is same", false},
		{"copy to where it is", c.Copy, "/photos/a.txt", "/photos/", 400, "SAME_SOURCE_AND_DESTINATION", "sourceFilePath and destinationPath is same", false},
		{"rename to its name", c.Rename, "/photos/a.txt", "a.txt", 400, "SAME_OLD_AND_NEW_NAME", "newFileName cannot be the same as its existing name.", false},
		{"rename to a taken name", c.Rename, "/photos/a.txt", "b.txt", 409, imagekit.ReasonFileExists, "File with name b.txt already exists at the same location.", false},
		{"move to dots", c.Move, "/photos/a.txt", "/x/../y", 400, "INVALID_FOLDER_PATH", "'.' & '..' can not be used as folder-name", false},
		{"move from nowhere", c.Move, "", "/x", 400, "MISSING_PARAMETER", "Your request is missing parameters / contains invalid parameters.", false},
		{"rename to no name", c.Rename, "/photos/a.txt", "", 400, "MISSING_PARAMETER", "Your request is missing parameters / contains invalid parameters.", false},
	} {
		e := apiError(t, test.do(t.Context(), test.path, test.to))
		if e.Class != imagekit.File || e.Ambiguous || e.Status != test.status || e.Reason != test.reason || e.Message != test.message ||
			e.Missing() != test.missing || e.Exists() != (test.status == 409) {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
	hasPaths(t, s, "/photos/a.txt", "/photos/b.txt")
}

func TestARenameThatWasNotPurgedIsDone(t *testing.T) {
	c := newClient(t, serve(t, drained(207, nil, `{"message":"File renamed successfully but we could not purge.","reason":"PURGE_FAILED"}`)))
	if err := c.Rename(t.Context(), "/a", "b"); err != nil {
		t.Error(err)
	}
}
