package imagekit_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestAFolderIsListedPageByPage(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	ids := stored(t, c, "/top.txt", "/p/b.txt", "/p/a & b.txt", "/p/sub/deep.txt", "/p/zz.txt", "/p/Ä.txt", "/q/x")
	want := []string{"/p/a & b.txt", "/p/b.txt", "/p/sub", "/p/zz.txt", "/p/Ä.txt"}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		for skip := 0; ; skip += limit {
			page, err := c.List(t.Context(), "/p/", skip, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				got = append(got, e.Path)
				if e.Path != "/p/"+e.Name || e.Folder != (e.Path == "/p/sub") || e.Folder != (e.Asset == nil) {
					t.Errorf("%+v", e)
				}
				if !e.Folder && (e.Asset.FileID != ids[e.Path] || e.Asset.FilePath != e.Path || e.Asset.Size != int64(len(e.Path))) {
					t.Errorf("%+v", e.Asset)
				}
			}
			if len(page) < limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q", limit, got)
		}
	}
	for folder, want := range map[string]int{"/": 3, "": 3, "/none": 0, "/p/sub": 1, "/p//sub/": 1, "/p/b.txt": 0} {
		if page, err := c.List(t.Context(), folder, 0, imagekit.MaxPage); err != nil || len(page) != want {
			t.Errorf("%q: %v, %v", folder, page, err)
		}
	}
}

func TestAPageThatCannotBeHadIsNotAskedFor(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, page := range [][2]int{{-1, 10}, {0, 0}, {0, -1}, {0, 1001}} {
		_, err := c.List(t.Context(), "/", page[0], page[1])
		if e := apiError(t, err); e.Class != imagekit.File {
			t.Errorf("%v: %+v", page, e)
		}
	}
	if n := s.Stats().Requests["list"]; n != 0 {
		t.Errorf("%d requests", n)
	}
	_, err := c.List(t.Context(), "/a/../b", 0, 10)
	if e := apiError(t, err); e.Status != 400 || e.Class != imagekit.File || e.Message != "Your request contains invalid value for path parameter." {
		t.Errorf("%+v", e)
	}
}

// A page with a gap would pass for the last one, and its files for gone.
func TestAPageWithSomethingOddIsRefusedAsAWhole(t *testing.T) {
	const good = `{"type":"file","fileId":"1","name":"a","filePath":"/p/a","size":1}`
	for name, item := range map[string]string{
		"a file elsewhere":         `{"type":"file","fileId":"1","filePath":"/q/a"}`,
		"a file below":             `{"type":"file","fileId":"1","filePath":"/p/q/a"}`,
		"a file without an id":     `{"type":"file","filePath":"/p/b"}`,
		"a file without a path":    `{"type":"file","fileId":"1"}`,
		"a relative path":          `{"type":"file","fileId":"1","filePath":"p/a"}`,
		"the folder itself":        `{"type":"folder","folderPath":"/p"}`,
		"the folder with a slash":  `{"type":"folder","folderPath":"/p/"}`,
		"a folder without a path":  `{"type":"folder","folderId":"1"}`,
		"a kind that is not known": `{"type":"collection","folderPath":"/p/b"}`,
		"a null":                   `null`,
		"a number":                 `1`,
	} {
		c := newClient(t, serve(t, drained(200, nil, fmt.Sprintf("[%s,%s]", good, item))))
		page, err := c.List(t.Context(), "/p", 0, 10)
		if e := apiError(t, err); page != nil || e.Class != imagekit.Transient {
			t.Errorf("%s: %+v, %+v", name, page, e)
		}
	}
}

func TestANewFolderMayBeMissing(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{ListingLag: time.Hour})
	if err := c.CreateFolder(t.Context(), "/a"); err != nil {
		t.Fatal(err)
	}
	if found, err := c.FolderExists(t.Context(), "/a"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}

func TestAFileIsNoFolder(t *testing.T) {
	for body, want := range map[string]bool{
		`[{"type":"folder","folderPath":"/a"}]`:                               true,
		`[{"type":"file","fileId":"1","filePath":"/a"}]`:                      false,
		`[{"type":"file","fileId":"1","filePath":"/a","folderPath":"/a"}]`:    false,
		`[{"type":"folder","folderPath":"/b"},{"type":"folder","name":"/a"}]`: false,
		`[]`: false,
	} {
		if got, err := newClient(t, serve(t, drained(200, nil, body))).FolderExists(t.Context(), "/a"); got != want || err != nil {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}
