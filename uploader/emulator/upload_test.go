package emulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// imagekitWeb stands in for https://imagekit.io/image.jpg.
func imagekitWeb(t *testing.T) http.RoundTripper {
	picture := picture(t, 4, 3)
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: r}
		if r.URL.String() == "https://imagekit.io/image.jpg" {
			resp.StatusCode, resp.Body = 200, io.NopCloser(strings.NewReader(picture))
		}
		return resp, nil
	})
}

// The documentation's examples, but for host and key.
func TestDocumentedCurlExamplesWork(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	b := newBench(t, emulator.Options{Download: imagekitWeb(t)})
	local := filepath.Join(t.TempDir(), "my_file_name.jpg")
	if err := os.WriteFile(local, []byte(picture(t, 200, 300)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		want map[string]any
	}{
		{"from the file system", []string{"-F", "file=@" + local + ";type=image/jpg", "-F", "fileName=my_file_name.jpg"},
			map[string]any{"width": 200.0, "height": 300.0}},
		{"base64 with tags", []string{"-F", "file=iVBORw0KGgoAAAAN", "-F", "fileName=my_file_name.jpg", "-F", "tags=t-shirt,summer,men"},
			map[string]any{"size": 12.0}},
		{"from a URL", []string{"-F", "file=https://imagekit.io/image.jpg", "-F", "fileName=my_file_name.jpg"},
			map[string]any{"width": 4.0, "height": 3.0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"-sS", "-X", "POST", b.url + "/api/v1/files/upload", "-u", "your_private_api_key:"}, test.args...)
			out, err := exec.Command(curl, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var got map[string]any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			a := b.asset(got["filePath"].(string))
			if !regexp.MustCompile(`^my_file_name_[\w-]{9}\.jpg$`).MatchString(a.Name) {
				t.Errorf("name %q is not a unique one", a.Name)
			}
			endpoint := b.url + "/demo"
			want := map[string]any{
				"fileId": a.FileID, "name": a.Name, "filePath": "/" + a.Name, "size": float64(a.Size),
				"url": endpoint + "/" + a.Name, "thumbnailUrl": endpoint + "/tr:n-media_library_thumbnail/" + a.Name,
				"fileType": "image", "AITags": nil,
				"versionInfo": map[string]any{"id": a.FileID, "name": "Version 1"},
			}
			for key, value := range test.want {
				want[key] = value
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
	tagged := 0
	for _, a := range b.emulator.Assets() {
		if cmp.Equal(a.Tags, []string{"t-shirt", "summer", "men"}) {
			tagged++
		}
	}
	if tagged != 1 {
		t.Errorf("%d assets have the tags, want 1", tagged)
	}
}

func TestUploadAnswersWhatResponseFieldsAskFor(t *testing.T) {
	b := newBench(t, emulator.Options{})
	got := b.upload("/a/b.png", picture(t, 2, 2), "tags", "x, y", "isPrivateFile", "true",
		"responseFields", "tags,customCoordinates,isPrivateFile,isPublished,customMetadata,metadata,embeddedMetadata",
		"extensions", `[{"name":"google-auto-tagging","minConfidence":80,"maxTags":5},{"name":"remove-bg"}]`)
	for key, want := range map[string]any{
		"tags": []any{"x", "y"}, "customCoordinates": nil, "isPrivateFile": true, "isPublished": true,
		"customMetadata": map[string]any{}, "embeddedMetadata": map[string]any{},
		"extensionStatus": map[string]any{"google-auto-tagging": "success", "remove-bg": "pending"},
	} {
		if have, sent := got.json[key]; !sent || !cmp.Equal(have, want) {
			t.Errorf("%s: %v (sent: %v), want %v", key, have, sent, want)
		}
	}
	if got.header.Get("x-ik-requestId") == "" {
		t.Error("no x-ik-requestId")
	}
	if meta, _ := got.json["metadata"].(map[string]any); meta["width"] != 2.0 || meta["format"] != "png" {
		t.Errorf("metadata %v", meta)
	}
}

func TestUploadRefusals(t *testing.T) {
	b := newBench(t, emulator.Options{PrivateKey: "private_x", Behaviour: emulator.Behaviour{
		MaxImageSize: 1000, MaxVideoSize: 2000, RejectEmpty: true,
	}})
	b.upload("/taken.txt", "here")
	hour := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	for _, test := range []struct {
		name    string
		content string
		fields  []string
		want    string
	}{
		{"no name", "x", nil, "missing fileName parameter"},
		{"signature beside the key", "x", []string{"fileName", "a", "signature", "s", "expire", hour(time.Minute)}, "contains both signature and basic auth"},
		{"name exists", "x", []string{"fileName", "taken.txt", "useUniqueFileName", "false", "overwriteFile", "false"}, "A file with the same name already exists at the exact location."},
		{"too large", strings.Repeat("x", 1001), []string{"fileName", "a"}, "invalid file parameter. The file size exceeds limits."},
		{"video too large", video + strings.Repeat("x", 2000), []string{"fileName", "a"}, "The file size exceeds limits."},
		{"empty", "", []string{"fileName", "a"}, "invalid file parameter"},
		{"transformation is no JSON", "x", []string{"fileName", "a", "transformation", "w-100"}, "the transformation field is invalid"},
		{"transformation of a text", "x", []string{"fileName", "a", "transformation", `{"pre":"w-100"}`}, "supported only for image and video"},
		{"post-transformation of another kind", video, []string{"fileName", "a", "transformation", `{"post":[{"type":"gif-to-video"}]}`}, "detected file type & post-transformation are incompatible"},
		{"abs without protocol", video, []string{"fileName", "a", "transformation", `{"post":[{"type":"abs","value":"sr-240"}]}`}, "the transformation field is invalid"},
		{"checks without sense", "x", []string{"fileName", "a", "checks", `"file.size" <`}, "invalid syntax for the checks parameter"},
		{"checks of an unknown field", "x", []string{"fileName", "a", "checks", `"file.smell" = "good"`}, "invalid syntax for the checks parameter"},
		{"checks fail", "x", []string{"fileName", "a", "folder", "sales", "checks", `"request.folder" : "marketing/"`}, "Your request failed 'checks' validation."},
		{"too many tags", "x", []string{"fileName", "a", "tags", strings.Repeat("t", 501)}, "Combined length of all tags should be less than or equal to 500."},
		{"percent in tags", "x", []string{"fileName", "a", "tags", "50%"}, "%"},
		{"coordinates", "x", []string{"fileName", "a", "customCoordinates", "1,2,3"}, "customCoordinates"},
		{"boolean", "x", []string{"fileName", "a", "isPrivateFile", "yes"}, "isPrivateFile"},
		{"response fields", "x", []string{"fileName", "a", "responseFields", "everything"}, "responseFields"},
		{"extensions", "x", []string{"fileName", "a", "extensions", `[{"name":"magic"}]`}, "extensions"},
		{"unknown metadata", "x", []string{"fileName", "a", "customMetadata", `{"brand":"x"}`}, "Invalid custom metadata."},
		{"too deep", "x", []string{"fileName", "a", "folder", strings.Repeat("d/", 51)}, "50 levels"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := b.tryUpload(test.content, test.fields...)
			if err != nil {
				t.Fatal(err)
			}
			if got.status != 400 || !strings.Contains(got.str("message"), test.want) || got.str("help") == "" {
				t.Errorf("%d %s, want 400 with %q", got.status, got.text, test.want)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if got := b.fields("/api/v1/files/upload", "fileName", "a"); got.status != 400 || got.str("message") != "Your request is missing file parameter." {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("not base64", func(t *testing.T) {
		if got := b.fields("/api/v1/files/upload", "fileName", "a", "file", "no base64!"); got.status != 400 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("URL that is not there", func(t *testing.T) {
		if got := b.fields("/api/v1/files/upload", "fileName", "a", "file", b.url+"/nowhere"); got.status != 400 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	if got := b.paths(); got != "/taken.txt" {
		t.Errorf("refused uploads left %s", got)
	}
}

func TestUploadAccepts(t *testing.T) {
	b := newBench(t, emulator.Options{})
	for _, test := range []struct {
		name   string
		fields []string
	}{
		{"a check that holds", []string{"folder", "/marketing/2026", "checks", `"request.folder" : "marketing/" AND ("file.size" < "1mb" OR "file.mime" = "image/png")`}},
		{"an empty file", nil},
		{"a post-transformation", []string{"transformation", `{"post":[{"type":"transformation","value":"w-100"}]}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			content := picture(t, 1, 1)
			if test.fields == nil {
				content = ""
			}
			if got, err := b.tryUpload(content, append([]string{"fileName", "a"}, test.fields...)...); err != nil || got.status != 200 {
				t.Errorf("%v %d %s", err, got.status, got.text)
			}
		})
	}
	t.Run("a video's pre-transformation is queued, without a fileId", func(t *testing.T) {
		got, err := b.tryUpload(video, "fileName", "v.mp4", "transformation", `{"pre":"w-100"}`)
		want := "The pre-transformation has been queued successfully."
		if err != nil || got.status != 202 || got.str("message") != want || got.json["fileId"] != nil {
			t.Errorf("%v %d %s", err, got.status, got.text)
		}
	})
	t.Run("a data URI", func(t *testing.T) {
		got := b.fields("/api/v1/files/upload", "file", "data:text/plain;base64,"+base64Of("hello"), "fileName", "h.txt")
		if got.status != 200 || b.content(got.str("filePath")) != "hello" {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
}

func TestAuthentication(t *testing.T) {
	b := newBench(t, emulator.Options{PrivateKey: "private_x"})
	const missing = "Your request does not contain private API key."
	for _, test := range []struct {
		name, header, message string
		status                int
	}{
		{"any password", "Basic " + base64Of("private_x:do_not_set"), "", 200},
		{"no key at all", "", missing, 401},
		{"an empty key", "Basic " + base64Of(":"), missing, 401},
		{"another scheme", "Bearer private_x", missing, 401},
		{"another key", "Basic " + base64Of("private_y:"), "Your account cannot be authenticated.", 403},
	} {
		body, contentType := form(t, strings.Repeat("x", 1<<20), "fileName", "a")
		for _, r := range []*http.Request{b.request("GET", "/v1/files", ""), b.request("POST", "/api/v1/files/upload", body.String())} {
			r.Header.Set("Content-Type", contentType)
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			got, err := b.send(r)
			if err != nil || got.status != test.status || got.str("message") != test.message {
				t.Errorf("%s: %s: %v %d %s", test.name, r.URL.Path, err, got.status, got.text)
			}
		}
	}
}

func TestClientSideSignature(t *testing.T) {
	b := newBench(t, emulator.Options{PrivateKey: "private_x"})
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	soon := in(time.Minute)
	for _, test := range []struct {
		name, expire, signature string
		status                  int
	}{
		{"good", soon, hexMAC("private_x", "token"+soon), 200},
		{"used", soon, hexMAC("private_x", "token"+soon), 400},
		{"another key's", soon, hexMAC("private_y", "token"+soon), 403},
		{"too far", in(2 * time.Hour), "x", 400},
		{"past", in(-time.Minute), "x", 400},
		{"no time", "soon", "x", 400},
	} {
		body, contentType := form(t, "x", "fileName", "f", "publicKey", "public_x", "token", "token", "expire", test.expire, "signature", test.signature)
		r := b.request("POST", "/api/v1/files/upload", body.String())
		r.Header.Set("Content-Type", contentType)
		if got, err := b.send(r); err != nil || got.status != test.status {
			t.Errorf("%s: %v %d %s", test.name, err, got.status, got.text)
		}
	}
}

func TestLongFields(t *testing.T) {
	b := newBench(t, emulator.Options{})
	long := strings.Repeat("d", 100_000)
	got, err := b.tryUpload("x", "fileName", "f", "useUniqueFileName", "false", "description", long)
	if err != nil || got.status != 200 || b.asset("/f").Description != long {
		t.Errorf("%v %d", err, got.status)
	}
	got, err = b.tryUpload("x", "fileName", "f", "description", strings.Repeat("d", 2<<20))
	if err != nil || got.status != 400 {
		t.Errorf("%v %d", err, got.status)
	}
}

func TestPicturesAreMeasuredHoweverLongTheirHeader(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		b := newBench(t, emulator.Options{Dir: dir})
		var plain bytes.Buffer
		if err := jpeg.Encode(&plain, image.NewGray(image.Rect(0, 0, 30, 40)), nil); err != nil {
			t.Fatal(err)
		}
		exif := "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
		segment := func(body string) string {
			return "\xff\xe1" + string([]byte{byte((len(body) + 2) >> 8), byte(len(body) + 2)}) + body
		}
		long := "\xff\xd8" + segment(exif) + strings.Repeat(segment(strings.Repeat("e", 60_000)), 3) + plain.String()[2:]
		got := b.upload("/long.jpg", long)
		if got.json["width"] != 30.0 || got.json["height"] != 40.0 || got.json["orientation"] != 6.0 {
			t.Errorf("%s", got.text)
		}
	}
}

func TestKindOfAFile(t *testing.T) {
	b := newBench(t, emulator.Options{})
	for _, test := range []struct{ name, content, mime, fileType string }{
		{"a.jpg", picture(t, 1, 1), "image/png", "image"},
		{"a.css", "body {}", "text/css", "non-image"},
		{"a", "some text", "application/octet-stream", "non-image"},
		{"a.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`, "image/svg+xml", "image"},
		{"a.mp4", video, "video/mp4", "non-image"},
		{"a.xmp", "<x:xmpmeta/>", "application/rdf+xml", "non-image"},
	} {
		got := b.upload("/"+test.name, test.content)
		if a := b.asset("/" + test.name); a.MIME != test.mime || got.str("fileType") != test.fileType {
			t.Errorf("%s: %s, %s", test.name, a.MIME, got.str("fileType"))
		}
	}
}

func TestATokenIsGoodForOneRequestThoughThatFails(t *testing.T) {
	b := newBench(t, emulator.Options{}) // any key, and so any signature, is good
	expire := strconv.FormatInt(time.Now().Add(time.Minute).Unix(), 10)
	send := func(token string, fields ...string) reply {
		body, contentType := form(t, "x", append(fields, "publicKey", "public_x", "token", token, "expire", expire, "signature", "s")...)
		r := b.request("POST", "/api/v1/files/upload", body.String())
		r.Header.Set("Content-Type", contentType)
		got, err := b.send(r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := send("one"); got.status != 400 || !strings.Contains(got.str("message"), "fileName") {
		t.Errorf("without a name: %s", got.text)
	}
	if got := send("one", "fileName", "f"); got.status != 400 || !strings.Contains(got.str("message"), "token") {
		t.Errorf("again: %s", got.text)
	}
	if got := send("two", "fileName", "f"); got.status != 200 {
		t.Errorf("another: %s", got.text)
	}
	if got := send("", "fileName", "f"); got.status != 400 || !strings.Contains(got.str("message"), "token") {
		t.Errorf("none: %s", got.text)
	}
}

func TestAPreTransformationChangesWhatIsStored(t *testing.T) {
	original := picture(t, 5, 6)
	for name, o := range map[string]emulator.Options{
		"directory": {Dir: t.TempDir()}, "memory": {}, "discarded": {Discard: true},
		"ignored": {Behaviour: emulator.Behaviour{IgnorePre: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, o)
			got := b.upload("/p.png", original, "transformation", `{"pre":"w-100"}`)
			size := int(got.json["size"].(float64))
			if (size == len(original)) != o.Behaviour.IgnorePre || got.json["width"] != 5.0 {
				t.Errorf("%d bytes of %d: %s", size, len(original), got.text)
			}
			if o.Discard {
				return
			}
			stored := b.content("/p.png")
			plain := newBench(t, emulator.Options{})
			plain.upload("/p.png", stored)
			if a := b.asset("/p.png"); len(stored) != size || a.Size != int64(size) || a.Hash != plain.asset("/p.png").Hash {
				t.Errorf("%+v, %d bytes stored, answer %s", a, len(stored), got.text)
			}
			if _, _, err := image.Decode(strings.NewReader(stored)); err != nil {
				t.Error(err)
			}
			if d := b.want(200, "GET", "/v1/files/"+got.str("fileId")+"/details", ""); d.json["size"] != float64(size) {
				t.Error(d.text)
			}
		})
	}
}

func TestWhatTheTagsLimitCounts(t *testing.T) {
	five := strings.TrimSuffix(strings.Repeat(strings.Repeat("t", 100)+",", 5), ",")
	for _, commas := range []bool{false, true} {
		b := newBench(t, emulator.Options{Behaviour: emulator.Behaviour{TagsCountCommas: commas}})
		got, err := b.tryUpload("x", "fileName", "a", "tags", five)
		if err != nil || (got.status == 400) != commas {
			t.Errorf("commas count %t: %v %d", commas, err, got.status)
		}
		got, err = b.tryUpload("x", "fileName", "a", "tags", five[:len(five)-4])
		if err != nil || got.status != 200 {
			t.Errorf("commas count %t, 500 with them: %v %d %s", commas, err, got.status, got.text)
		}
	}
}

func TestAutoTaggingFindsATag(t *testing.T) {
	b := newBench(t, emulator.Options{})
	const ask = `[{"name":"google-auto-tagging","minConfidence":%d,"maxTags":%d}]`
	for _, test := range []struct{ confidence, most, want int }{{90, 1, 1}, {91, 1, 0}, {10, 0, 0}} {
		got := b.upload("/f", "x", "extensions", fmt.Sprintf(ask, test.confidence, test.most))
		if tags, _ := got.json["AITags"].([]any); len(tags) != test.want {
			t.Errorf("%+v: %s", test, got.text)
		}
	}
	id := b.asset("/f").FileID
	got := b.want(200, "PATCH", "/v1/files/"+id+"/details", fmt.Sprintf(`{"extensions":`+ask+`}`, 50, 5))
	if tags, _ := got.json["AITags"].([]any); len(tags) != 1 {
		t.Error(got.text)
	}
	kept := b.upload("/f", "y", "overwriteAITags", "false")
	if tags, _ := kept.json["AITags"].([]any); len(tags) != 1 {
		t.Error(kept.text)
	}
	gone := b.upload("/f", "z")
	if gone.json["AITags"] != nil {
		t.Error(gone.text)
	}
}
