package imagekit_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestFindGivesTheFileAtExactlyThatPath(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	paths := []string{
		"/a.jpg", "/A.jpg", "/photos/a.jpg", "/photos/2026/a.jpg", "/photos/2026/a.jpg.jpg",
		`/photos/he said "hi".jpg`, `/photos/back\slash.jpg`, `/photos/ends in \`, `/photos/\".jpg`, "/photos/it's.jpg",
		"/photos/日本語.jpg", "/photos/Zürich_é.jpg", "/photos/👩‍👩‍👧.jpg", "/photos/a & b + c = d #1 100%.jpg", "/photos/name = \"x\" OR type = \"folder\"",
		"/photos/äö/x.jpg", "/p & q/x?y.jpg",
	}
	ids := map[string]string{}
	for _, path := range paths {
		asset, err := c.Upload(t.Context(), bytesUpload(path, path))
		if err != nil {
			t.Fatal(err)
		}
		if asset.FilePath != path {
			t.Fatalf("%q was stored as %q", path, asset.FilePath)
		}
		ids[path] = asset.FileID
	}
	for _, path := range paths {
		asset, err := c.Find(t.Context(), path)
		if err != nil || asset == nil {
			t.Errorf("%q: %v, %v", path, asset, err)
			continue
		}
		stored := assetAt(t, s, path)
		if asset.FileID != ids[path] || asset.FilePath != path || asset.Size != int64(len(path)) || asset.VersionID != stored.VersionID || asset.URL == "" {
			t.Errorf("%q: %+v", path, asset)
		}
	}
	for _, path := range []string{"/b.jpg", "/photos/A.jpg", "/photos", "/photos/2026", "/none/a.jpg", "/photos/a.jp", "/photos/a", "/", "/photos/", `/photos/he said hi.jpg`, "a.jpg", ""} {
		if asset, err := c.Find(t.Context(), path); asset != nil || err != nil {
			t.Errorf("%q: %+v, %v", path, asset, err)
		}
	}
}

func TestFindGivesTheCurrentVersionWithItsPicture(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, content := range []string{"text", string(picture(t, 9, 5))} {
		if _, err := c.Upload(t.Context(), bytesUpload("/a.png", content)); err != nil {
			t.Fatal(err)
		}
	}
	asset, err := c.Find(t.Context(), "/a.png")
	if err != nil || asset == nil || asset.Width != 9 || asset.Height != 5 || asset.FileType != "image" || asset.ThumbnailURL == "" {
		t.Errorf("%+v, %v", asset, err)
	}
}

func TestAFileThatIsNotListedYetIsNil(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{ListingLag: time.Hour})
	if _, err := c.Upload(t.Context(), bytesUpload("/a.txt", "x")); err != nil {
		t.Fatal(err)
	}
	if asset, err := c.Find(t.Context(), "/a.txt"); asset != nil || err != nil {
		t.Errorf("%+v, %v", asset, err)
	}
	assetAt(t, s, "/a.txt")
}

func TestAListingIsNotBelievedBlindly(t *testing.T) {
	item := func(fields string) string { return `[{"type":"file",` + fields + `}]` }
	for name, test := range map[string]struct {
		body  string
		found bool
		fails bool
	}{
		"the file":                        {item(`"fileId":"1","filePath":"/a","size":3`), true, false},
		"the file behind others":          {`[{"type":"folder","folderId":"f"},{"fileId":"2","filePath":"/b"},{"fileId":"1","filePath":"/a"}]`, true, false},
		"the file with an odd field":      {item(`"fileId":"1","filePath":"/a","size":"?","thumbnail":5`), true, false},
		"another file":                    {item(`"fileId":"1","filePath":"/b"`), false, false},
		"the same path in another case":   {item(`"fileId":"1","filePath":"/A"`), false, false},
		"the path without a fileId":       {item(`"filePath":"/a"`), false, false},
		"a fileId that is a number":       {item(`"fileId":1,"filePath":"/a"`), false, false},
		"an empty list":                   {"[]", false, false},
		"a null in the list":              {"[null]", false, false},
		"an object":                       {`{"fileId":"1","filePath":"/a"}`, false, true},
		"nothing":                         {"", false, true},
		"a page":                          {"<html>", false, true},
		"a cut list":                      {`[{"fileId":"1","filePath":"/a"}`, false, true},
		"a list with something behind it": {`[]x`, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, drained(200, nil, test.body)))
			asset, err := c.Find(t.Context(), "/a")
			if (err != nil) != test.fails || (asset != nil) != test.found {
				t.Fatalf("%+v, %v", asset, err)
			}
			if test.fails {
				if e := apiError(t, err); e.Class != imagekit.Transient {
					t.Errorf("%+v", e)
				}
			}
			if test.found && asset.FileID != "1" {
				t.Errorf("%+v", asset)
			}
		})
	}
}

func TestARefusedLookUpNamesTheCall(t *testing.T) {
	for status, class := range map[int]imagekit.Class{400: imagekit.File, 401: imagekit.Credentials, 403: imagekit.Credentials, 429: imagekit.Throttled, 500: imagekit.Transient} {
		c := newClient(t, serve(t, drained(status, nil, `{"message":"no","reason":"WHY"}`)))
		_, err := c.Find(t.Context(), "/a")
		if e := apiError(t, err); e.Class != class || e.Op != "GET /v1/files" || e.Status != status || e.Reason != "WHY" {
			t.Errorf("%d: %+v", status, e)
		}
	}
}

func TestABaseWithASlashAtItsEndIsTheSame(t *testing.T) {
	var asked atomic.Int64
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/files" && strings.HasPrefix(r.Header.Get("Authorization"), "Basic ") {
			asked.Add(1)
		}
		io.WriteString(w, "[]")
	})
	c := newClient(t, base, func(o *imagekit.Options) { o.APIURL += "///" })
	if _, err := c.Find(t.Context(), "/a"); err != nil || asked.Load() != 1 {
		t.Errorf("%v, %d requests", err, asked.Load())
	}
}
