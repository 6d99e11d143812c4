package emulator_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
)

func TestReloadGivesTheSameLibrary(t *testing.T) {
	dir := t.TempDir()
	s, err := emulator.New(emulator.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := emulator.New(emulator.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another emulator") {
		t.Fatalf("a second server over the directory: %v", err)
	}
	var before []emulator.Asset
	t.Run("fill", func(t *testing.T) {
		b := serve(t, s)
		b.want(201, "POST", "/v1/customMetadataFields", `{"name":"n","label":"N","schema":{"type":"Number"}}`)
		b.want(201, "POST", "/v1/folder", `{"folderName":"empty","parentFolderPath":"/"}`)
		b.upload("/a/f.png", picture(t, 5, 6), "tags", "x,y", "customMetadata", `{"n":1}`, "isPrivateFile", "true")
		b.upload("/a/g.txt", "one")
		b.upload("/a/g.txt", "two")
		b.want(204, "DELETE", "/v1/files/"+b.upload("/gone", "x").str("fileId"), "")
		b.want(204, "POST", "/v1/files/copy", `{"sourceFilePath":"/a/g.txt","destinationPath":"/b","includeFileVersions":true}`)
		b.want(200, "POST", "/v1/bulkJobs/moveFolder", `{"sourceFolderPath":"/a","destinationPath":"/c"}`)
		before = b.emulator.Assets()
	})
	journal := filepath.Join(dir, "journal.jsonl")
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	// What a killed server leaves: half a line, a blob without one, a file that
	// was being received.
	torn := append(bytes.Clone(whole), `[{"put":{"fileId":"half`...)
	for name, content := range map[string][]byte{"journal.jsonl": torn, "objects/orphan.jpg": nil, "incoming/123": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, emulator.Options{Dir: dir})
	if diff := cmp.Diff(before, b.emulator.Assets()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if got := b.found("type", "folder", "sort", "ASC_NAME"); got != "/c/a/ /b/ /c/ /empty/" {
		t.Errorf("folders: %s", got)
	}
	if b.content("/c/a/g.txt") != "two" || b.content("/b/g.txt") != "two" {
		t.Error("contents differ")
	}
	b.upload("/new", "x", "customMetadata", `{"n":2}`)
	after, err := os.ReadFile(journal)
	if err != nil || !bytes.HasPrefix(after, whole) || bytes.Contains(after, []byte("half")) {
		t.Errorf("the torn line was not cut off: %v", err)
	}
	blobs, err := os.ReadDir(filepath.Join(dir, "objects"))
	if err != nil || len(blobs) != 4 {
		t.Errorf("%d blobs, want 4: %v", len(blobs), err)
	}
}

func TestBrokenJournalIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte("[]\nnonsense\n[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := emulator.New(emulator.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v %v", s, err)
	}
}

func TestBadEndpointsAreErrors(t *testing.T) {
	for _, endpoint := range []string{"http://x", "demo", "ftp://x/y", "http://x/v1/y", "http://x/{y}", "http://x/_emulator"} {
		if _, err := emulator.New(emulator.Options{Endpoint: endpoint}); err == nil {
			t.Errorf("%s is accepted", endpoint)
		}
	}
}

func hexMAC(key, text string) string {
	mac := hmac.New(sha1.New, []byte(key))
	io.WriteString(mac, text)
	return hex.EncodeToString(mac.Sum(nil))
}

func TestServing(t *testing.T) {
	b := newBench(t, emulator.Options{PrivateKey: "private_x", Dir: t.TempDir()})
	b.upload("/a/ü.txt", "old")
	version := b.asset("/a/ü.txt").VersionID
	b.upload("/a/ü.txt", "0123456789")
	b.upload("/p.html", "<script>alert(1)</script>", "isPrivateFile", "true")
	b.upload("/draft", "x", "isPublished", "false")
	get := func(path, span string) reply {
		r := b.request("GET", path, "")
		r.Header.Set("Range", span)
		got, err := b.do(r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, test := range []struct {
		path, span string
		status     int
		text       string
	}{
		{"/demo/a/%C3%BC.txt", "", 200, "0123456789"},
		{"/demo/a/%C3%BC.txt?updatedAt=1", "bytes=2-4", 206, "234"},
		{"/demo/tr:w-100,h-100:rt-90/a/%C3%BC.txt", "", 200, "0123456789"},
		{"/demo/a/%C3%BC.txt?ik-obj-version=" + version, "", 200, "old"},
		{"/demo/a/none", "", 404, ""},
		{"/demo/a", "", 404, ""},
		{"/demo/draft", "", 404, ""},
		{"/demo/p.html", "", 401, ""},
		{"/demo/p.html?ik-s=wrong", "", 401, ""},
		{"/demo/p.html?ik-s=" + hexMAC("private_x", "p.html9999999999"), "", 200, "<script>alert(1)</script>"},
		{"/demo/p.html?ik-t=1000&ik-s=" + hexMAC("private_x", "p.html1000"), "", 401, ""},
		{"/demo/p.html?ik-s=" + hexMAC("private_y", "p.html9999999999"), "", 401, ""},
		{"/demo/p.html?ik-t=9000000000&ik-s=" + hexMAC("private_x", "p.html9000000000"), "", 200, ""},
		{"/demo/p.html?ik-t=9000000001&ik-s=" + hexMAC("private_x", "p.html9000000000"), "", 401, ""},
		{"/demo/p.html?updatedAt=1&ik-s=" + hexMAC("private_x", "p.html?updatedAt=19999999999"), "", 200, ""},
		{"/demo/p.html?updatedAt=2&ik-s=" + hexMAC("private_x", "p.html?updatedAt=19999999999"), "", 401, ""},
		{"/demo/tr:w-9/p.html?ik-s=" + hexMAC("private_x", "tr:w-9/p.html9999999999"), "", 200, ""},
		{"/demo/tr:w-9/p.html?ik-s=" + hexMAC("private_x", "p.html9999999999"), "", 401, ""},
		{"/demo/a/%C3%BC.txt?ik-s=" + hexMAC("private_x", "a/%C3%BC.txt9999999999"), "", 200, ""},
		{"/demo/a/%C3%BC.txt?ik-s=wrong", "", 401, ""},
	} {
		got := get(test.path, test.span)
		if got.status != test.status || test.text != "" && got.text != test.text {
			t.Errorf("%s: %d %s", test.path, got.status, got.text)
		}
		if got.status == 200 && !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s is not sandboxed", test.path)
		}
	}
	b.faults(emulator.Fault{Endpoint: "file", Path: "/p.html", Action: emulator.ActionStatus, Status: 503})
	if got := get("/demo/p.html", ""); got.status != 503 {
		t.Errorf("faulted: %d", got.status)
	}
}

// An emulator that accepts every key still checks signatures: against the keys
// that calls were made with.
func TestSignaturesOfAnyKeyThatACallWasMadeWith(t *testing.T) {
	b := newBench(t, emulator.Options{})
	b.upload("/p", "x", "isPrivateFile", "true") // with private_x
	for key, status := range map[string]int{"private_x": 200, "private_y": 401} {
		if got := b.call("GET", "/demo/p?ik-s="+hexMAC(key, "p9999999999"), ""); got.status != status {
			t.Errorf("%s: %d, want %d", key, got.status, status)
		}
	}
}

func TestGallery(t *testing.T) {
	b := newBench(t, emulator.Options{})
	const evil = `"><script>alert(1)<`
	b.upload("/x<b>y/"+evil, picture(t, 1, 1), "isPrivateFile", "true")
	for i := range 130 {
		b.upload(fmt.Sprintf("/many/%03d.txt", i), "x")
	}
	page := b.want(200, "GET", "/", "")
	if !strings.Contains(page.text, "x&lt;b&gt;y/") || strings.Contains(page.text, "<b>") || page.header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s", page.text)
	}
	page = b.want(200, "GET", "/?folder=%2Fx%3Cb%3Ey", "")
	id := b.emulator.Assets()[130].FileID
	if strings.Contains(page.text, "<script") || !strings.Contains(page.text, `src="/_emulator/object/`+id+`" alt="" loading="lazy"`) {
		t.Errorf("%s", page.text)
	}
	if got := b.want(200, "GET", "/_emulator/object/"+id, ""); got.text != picture(t, 1, 1) {
		t.Error("the private file's object is not its content")
	}
	page = b.want(200, "GET", "/?folder=/many&page=2", "")
	if !strings.Contains(page.text, "129.txt") || strings.Contains(page.text, "119.txt") || !strings.Contains(page.text, "page 2 of 2") {
		t.Errorf("%s", page.text)
	}
	b.want(404, "GET", "/?folder=/none", "")
	for _, path := range []string{"/", "/_emulator/object/" + id, "/_emulator/stats"} {
		r := b.request("GET", path, "")
		r.Host = "photos.example:80"
		if got, err := b.do(r); err != nil || got.status != 403 {
			t.Errorf("%s under another name: %v %d", path, err, got.status)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newBench(t, emulator.Options{Dir: t.TempDir()})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 20 {
				own := fmt.Sprintf("/own/%d/%d", worker, i)
				b.tryPut(own, own)
				b.tryPut("/shared", own)
				b.do(b.request("GET", "/v1/files?type=all", ""))
				b.do(b.request("GET", "/?folder=/own", ""))
				b.emulator.SetFaults(emulator.Faults{})
				if i%5 == 4 {
					b.do(b.request("POST", "/v1/files/move", fmt.Sprintf(`{"sourceFilePath":%q,"destinationPath":"/moved"}`, own)))
				}
			}
		})
	}
	wg.Wait()
	// The shared file is full at a hundred versions; the rest is refused.
	if st := b.emulator.Stats(); st.Uploads != 260 || st.Statuses[400] != 60 {
		t.Errorf("%+v", st)
	}
	if n := b.asset("/shared").Versions; n != 100 {
		t.Errorf("%d versions of the shared file, want 100", n)
	}
}

// repeat is an endless source.
type repeat struct{}

func (repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func TestLargeUploadsAreStreamed(t *testing.T) {
	const size = 300 << 20
	b := newBench(t, emulator.Options{Discard: true})
	body, w := io.Pipe()
	f := multipart.NewWriter(w)
	go func() {
		part, err := f.CreateFormFile("file", "big.bin")
		if err == nil {
			_, err = io.Copy(part, io.LimitReader(repeat{}, size))
		}
		f.WriteField("fileName", "big.bin")
		f.Close()
		w.CloseWithError(err)
	}()
	r, err := http.NewRequest("POST", b.url+"/api/v1/files/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", f.FormDataContentType())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := b.do(r)
	runtime.ReadMemStats(&after)
	if err != nil || got.json["size"] != float64(size) {
		t.Fatalf("%v %d %s", err, got.status, got.text)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
		t.Errorf("%d MiB were allocated for an upload of 300 MiB", allocated>>20)
	}
}

func TestV2Token(t *testing.T) {
	b := newBench(t, emulator.Options{PrivateKey: "private_x"})
	token := func(key, claims string) string {
		encode := base64.RawURLEncoding.EncodeToString
		signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
		mac := hmac.New(sha256.New, []byte(key))
		io.WriteString(mac, signed)
		return signed + "." + encode(mac.Sum(nil))
	}
	soon, ago := time.Now().Add(time.Minute).Unix(), time.Now().Add(-time.Minute).Unix()
	claims := func(name string, until int64) string {
		return fmt.Sprintf(`{"fileName":%q,"iat":1,"exp":%d}`, name, until)
	}
	for _, test := range []struct {
		name, token, want string
		status            int
	}{
		{"good", token("private_x", claims("f", soon)), "", 200},
		{"used", token("private_x", claims("f", soon)), "Your request contains invalid token parameter. The token has been used already.", 400},
		{"none", "", "Your request is missing token parameter.", 400},
		{"another key's", token("private_y", claims("f", soon)), "Your request has invalid token.", 400},
		{"no token at all", "nonsense", "Your request has invalid token.", 400},
		{"expired", token("private_x", claims("f", ago)), "Your request contains expired token.", 400},
		{"another payload's", token("private_x", claims("g", soon)), "Your request contains invalid payload. It does not match with the payload used to generate token.", 400},
	} {
		body, contentType := form(t, "x", "fileName", "f", "token", test.token)
		resp, err := b.client.Post(b.url+"/api/v2/files/upload", contentType, body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || !strings.Contains(string(text), test.want) {
			t.Errorf("%s: %d %s", test.name, resp.StatusCode, text)
		}
	}
	if got := b.fields("/api/v2/files/upload", "fileName", "f", "token", "x", "file", "eA=="); got.status != 400 || !strings.Contains(got.str("message"), "both token and basic auth") {
		t.Errorf("%d %s", got.status, got.text)
	}
	if got := b.fields("/api/v2/files/upload", "fileName", "f", "file", "eA=="); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
}
