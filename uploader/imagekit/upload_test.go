package imagekit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func picture(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// call makes a call that the client has no method for.
func call(t testing.TB, method, url, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(secret, "")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(res.Body); err != nil || res.StatusCode > 299 {
		t.Fatalf("%s %s: %d %s %v", method, url, res.StatusCode, answer.Bytes(), err)
	}
	return answer.Bytes()
}

// allParams has every parameter set, none to its default.
func allParams() imagekit.Params {
	return imagekit.Params{
		UseUniqueFileName:       new(false),
		Tags:                    []string{"summer", "Zürich"},
		IsPrivateFile:           new(true),
		IsPublished:             new(false),
		CustomCoordinates:       "1,2,3,4",
		ResponseFields:          []string{"tags", "customCoordinates", "isPrivateFile", "embeddedMetadata", "isPublished", "customMetadata", "metadata", "selectedFieldsSchema"},
		Extensions:              json.RawMessage(`[{"name":"google-auto-tagging","minConfidence":80,"maxTags":10}]`),
		WebhookURL:              "https://hooks.example/done?x=1&y=2",
		OverwriteFile:           new(false),
		OverwriteAITags:         new(false),
		OverwriteTags:           new(false),
		OverwriteCustomMetadata: new(false),
		CustomMetadata:          json.RawMessage(`{"camera":"X100"}`),
		Transformation:          json.RawMessage(`{"pre":"w-300"}`),
		Checks:                  `"file.size" < "1mb"`,
		Description:             "A \"quoted\" line\r\nand ünïcode",
	}
}

func TestEveryKindOfSourceIsStoredWithEveryParameter(t *testing.T) {
	content := picture(t, 12, 7)
	encoded := base64.StdEncoding.EncodeToString(content)
	web := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	for name, source := range map[string]func() imagekit.Source{
		"bytes":      func() imagekit.Source { return imagekit.FromReader(bytes.NewReader(content), int64(len(content))) },
		"base64":     func() imagekit.Source { return imagekit.FromText(encoded) },
		"a data URI": func() imagekit.Source { return imagekit.FromText("data:image/png;base64," + encoded) },
		"a URL":      func() imagekit.Source { return imagekit.FromText(web + "/some/picture.png?size=1&v=2") },
	} {
		t.Run(name, func(t *testing.T) {
			s, c, base := newEmulator(t, emulator.Behaviour{IgnorePre: true})
			call(t, "POST", base+"/v1/customMetadataFields", `{"name":"camera","label":"Camera","schema":{"type":"Text"}}`)
			asset, err := c.Upload(t.Context(), &imagekit.Upload{FileName: "Bild_é.png", Folder: "/photos/2026", Source: source(), Params: allParams()})
			if err != nil {
				t.Fatal(err)
			}
			stored := assetAt(t, s, "/photos/2026/Bild_é.png")
			if asset.FileID != stored.FileID || asset.VersionID != stored.VersionID || asset.FileID == "" {
				t.Errorf("ids: got %q and %q, stored %q and %q", asset.FileID, asset.VersionID, stored.FileID, stored.VersionID)
			}
			kept := contentAt(t, s, "/photos/2026/Bild_é.png") // with the emulator's stand-in for the pre-transformation behind it
			want := &imagekit.Asset{FileID: stored.FileID, VersionID: stored.VersionID, Name: "Bild_é.png", FilePath: "/photos/2026/Bild_é.png",
				FileType: "image", Size: int64(len(kept)), Width: 12, Height: 7, Private: true, URL: asset.URL, ThumbnailURL: asset.ThumbnailURL, Raw: asset.Raw}
			if diff := cmp.Diff(want, asset); diff != "" {
				t.Errorf("asset (-want +got):\n%s", diff)
			}
			if asset.URL == "" || asset.ThumbnailURL == "" {
				t.Errorf("the asset has no URLs: %+v", asset)
			}
			if !bytes.HasPrefix(kept, content) {
				t.Error("the content that was stored is another")
			}
			p := allParams()
			if diff := cmp.Diff(p.Tags, stored.Tags); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]any{"camera": "X100"}, stored.CustomMetadata); diff != "" {
				t.Error(diff)
			}
			if stored.CustomCoordinates != p.CustomCoordinates || stored.Description != p.Description || !stored.IsPrivate || stored.IsPublished {
				t.Errorf("parameters were not stored: %+v", stored)
			}
			var answer map[string]any
			if err := json.Unmarshal(asset.Raw, &answer); err != nil {
				t.Fatal(err)
			}
			for _, field := range append(p.ResponseFields, "extensionStatus") {
				if _, given := answer[field]; !given {
					t.Errorf("the answer has no %s, so the parameter did not arrive: %s", field, asset.Raw)
				}
			}
		})
	}
}

func TestParametersThatAreNotSetLeaveImageKitsDefaults(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	u := bytesUpload("/a.txt", "text")
	u.Params = imagekit.Params{}
	asset, err := c.Upload(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if asset.FilePath == "/a.txt" || !strings.HasPrefix(asset.FilePath, "/a_") || asset.FileType != "non-image" {
		t.Errorf("useUniqueFileName is ImageKit's default, but the asset is %+v", asset)
	}
	if stored := assetAt(t, s, asset.FilePath); !stored.IsPublished || stored.IsPrivate {
		t.Errorf("stored: %+v", stored)
	}
}

func TestOverwriteMakesAVersionAndTheAnswerTellsIt(t *testing.T) {
	for name, newID := range map[string]bool{"the fileId stays": false, "the fileId changes": true} {
		t.Run(name, func(t *testing.T) {
			s, c, _ := newEmulator(t, emulator.Behaviour{NewFileIDOnOverwrite: newID})
			first, err := c.Upload(t.Context(), bytesUpload("/d/a.txt", "one"))
			if err != nil {
				t.Fatal(err)
			}
			second, err := c.Upload(t.Context(), bytesUpload("/d/a.txt", "two!"))
			if err != nil {
				t.Fatal(err)
			}
			if second.VersionID == first.VersionID || second.FileID != assetAt(t, s, "/d/a.txt").FileID || (second.FileID != first.FileID) != newID {
				t.Errorf("first %+v, second %+v", first, second)
			}
			if got := contentAt(t, s, "/d/a.txt"); string(got) != "two!" {
				t.Errorf("stored: %q", got)
			}
		})
	}
}

func TestTheFolderCanBeEveryFormOfTheRoot(t *testing.T) {
	for _, folder := range []string{"", "/"} {
		s, c, _ := newEmulator(t, emulator.Behaviour{})
		u := bytesUpload("/a.txt", "x")
		u.Folder = folder
		if asset, err := c.Upload(t.Context(), u); err != nil || asset.FilePath != "/a.txt" {
			t.Errorf("folder %q: %+v, %v", folder, asset, err)
		}
		assetAt(t, s, "/a.txt")
	}
}

func TestAFileOfAnySizeArrivesWhole(t *testing.T) {
	// Around the length up to which a body is put together first, and of buffers.
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	sizes := []int{0, 1, 4 << 10, 32<<10 - 700, 32 << 10, 64 << 10, 64<<10 + 1, 1<<20 + 3}
	for size := 32<<10 - 420; size < 32<<10-380; size++ {
		sizes = append(sizes, size)
	}
	for i, size := range sizes {
		content := bytes.Repeat([]byte("\r\n--iksync"), size/10+1)[:size]
		var sent atomic.Int64
		u := bytesUpload(fmt.Sprintf("/n/%d.bin", i), string(content))
		u.Sent = &sent
		asset, err := c.Upload(t.Context(), u)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if asset.Size != int64(size) || sent.Load() != int64(size) || !bytes.Equal(contentAt(t, s, asset.FilePath), content) {
			t.Errorf("%d bytes: stored as %d, counted as %d", size, asset.Size, sent.Load())
		}
	}
}

func TestAQueuedVideoHasNoFileIDUntilItIsFound(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	u := bytesUpload("/v.mp4", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom........")
	u.Params.Transformation = json.RawMessage(`{"pre":"w-300"}`)
	asset, err := c.Upload(t.Context(), u)
	if err != nil || asset.FileID != "" || !bytes.Contains(asset.Raw, []byte("queued")) {
		t.Errorf("%+v, %v", asset, err)
	}
	if found, err := c.Find(t.Context(), "/v.mp4"); err != nil || found == nil || found.FileID == "" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestWhatTheEmulatorRefusesIsClassified(t *testing.T) {
	tests := map[string]struct {
		behaviour emulator.Behaviour
		key       string
		change    func(*imagekit.Upload)
		twice     bool
		class     imagekit.Class
		message   string
	}{
		"a wrong key":                         {key: "private_other", class: imagekit.Credentials, message: "Your account cannot be authenticated."},
		"a file that is there":                {change: func(u *imagekit.Upload) { u.Params.OverwriteFile = new(false) }, twice: true, class: imagekit.File, message: "already exists"},
		"a file that is too large":            {behaviour: emulator.Behaviour{MaxImageSize: 10, MaxVideoSize: 10}, class: imagekit.File, message: "The file size exceeds limits"},
		"a file that was updated too often":   {behaviour: emulator.Behaviour{UpdateThrottle: 1, VersionLimit: 9}, twice: true, class: imagekit.FileThrottled, message: "too many requests"},
		"a file with all its versions":        {behaviour: emulator.Behaviour{VersionLimit: 1}, twice: true, class: imagekit.File, message: "versions"},
		"checks that fail":                    {change: func(u *imagekit.Upload) { u.Params.Checks = `"file.size" > "1mb"` }, class: imagekit.File, message: "failed 'checks'"},
		"an unknown custom metadata field":    {change: func(u *imagekit.Upload) { u.Params.CustomMetadata = json.RawMessage(`{"nope":1}`) }, class: imagekit.File, message: "Invalid custom metadata"},
		"a transformation of a text":          {change: func(u *imagekit.Upload) { u.Params.Transformation = json.RawMessage(`{"pre":"w-1"}`) }, class: imagekit.File, message: "image and video"},
		"a URL whose server has no such page": {change: func(u *imagekit.Upload) { u.Source = imagekit.FromText("http://127.0.0.1:1/x") }, class: imagekit.File, message: "invalid file parameter"},
		"no source":                           {change: func(u *imagekit.Upload) { u.Source = imagekit.Source{} }, class: imagekit.File, message: "missing file parameter"},
		"no name":                             {change: func(u *imagekit.Upload) { u.FileName = "" }, class: imagekit.File, message: "fileName"},
		"a folder named ..":                   {change: func(u *imagekit.Upload) { u.Folder = "/a/../b" }, class: imagekit.File, message: "folder"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, c, _ := newEmulator(t, test.behaviour, func(o *imagekit.Options) {
				if test.key != "" {
					o.Key = imagekit.NewKey(test.key)
				}
			})
			try := func() error {
				u := bytesUpload("/a/b.txt", "some text that is longer than ten bytes")
				if test.change != nil {
					test.change(u)
				}
				_, err := c.Upload(t.Context(), u)
				return err
			}
			err := try()
			for range 2 {
				if test.twice && err == nil {
					err = try()
				}
			}
			e := apiError(t, err)
			if e.Class != test.class || !strings.Contains(e.Message, test.message) || e.RequestID == "" || e.Help == "" || e.Ambiguous {
				t.Errorf("got %+v", e)
			}
		})
	}
}
