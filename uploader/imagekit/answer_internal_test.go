package imagekit

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// FuzzAnswer reads any answer as that to an upload, to a look-up and as a
// refusal: nothing may panic, and nothing without a fileId may pass.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"fileId":"1","filePath":"/a","size":3,"width":1.5,"versionInfo":{"id":"2"}}`, `{"fileId":"1","filePath":"/a","size":-1}`,
		`{"fileId":null,"filePath":7,"size":1e999}`, `[{"fileId":"1","filePath":"/a"}]`, `{"message":"Upload Limit Exceeded.","help":[],"reason":null}`,
		`{"message":"You have sent too many requests to update the file recently."}`, `{"message":"\u001b[2J\ud800"}`, "<html>", "", "null", `"x"`, "7", "[[[[", "\xff",
		`{"FILEID":"1","filepath":"/a","Size":1}`, `{"fileId":"1","fileId":2,"filePath":"/a","size":1,"size":"x"}`,
	} {
		f.Add(200, body, "250", "7")
		f.Add(400, body, "NaN", "Fri, 31 Dec 9999 23:59:59 GMT")
	}
	f.Add(202, `{"message":"queued"}`, "", "")
	f.Add(503, "", "1e400", "-1")
	now := time.Now()
	f.Fuzz(func(t *testing.T, status int, body, reset, after string) {
		ans := &answer{status: status, body: []byte(body), header: http.Header{"X-Ratelimit-Reset": {reset}, "Retry-After": {after}}}
		asset, err := decodeAsset(ans)
		switch {
		case (asset == nil) == (err == nil):
			t.Fatalf("%+v, %v", asset, err)
		case err == nil && !json.Valid(ans.body):
			t.Fatalf("%q was taken for %+v", body, asset)
		case err == nil && status != statusAccepted && (asset.FileID == "" || !strings.HasPrefix(asset.FilePath, "/") || asset.Size < 0 || asset.Width < 0 || asset.Height < 0):
			t.Fatalf("%q was taken for %+v", body, asset)
		}
		var items []assetJSON
		if decode(ans.body, &items) == nil {
			for i := range items {
				items[i].asset(nil)
			}
		}
		e := refusal("upload", ans, now)
		if e.Message == "" || e.RetryAfter < 0 || e.RetryAfter > time.Hour || e.Class.String() == "unknown" {
			t.Fatalf("%+v", e)
		}
		for _, text := range []string{e.Message, e.Help, e.Reason, ans.broken("upload", err).Message} {
			if !utf8.ValidString(text) || len(text) > 4000 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Fatalf("%q", text)
			}
		}
	})
}
