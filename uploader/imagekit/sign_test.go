package imagekit_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestDownloadSignedGivesPrivateFiles(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, path := range []string{"/p/a & b?c#d 100%.txt", "/日本語/upload", "/a.txt"} {
		u := bytesUpload(path, path)
		u.Params.IsPrivateFile = new(true)
		if _, err := c.Upload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		asset, err := c.Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if !asset.Private {
			t.Errorf("%q is not told to be private", path)
		}
		_, err = c.Download(t.Context(), asset.URL)
		if e := apiError(t, err); e.Status != http.StatusUnauthorized {
			t.Errorf("%q without a signature: %v", path, err)
		}
		stale := asset.URL + "&ik-t=1&ik-s=0123" // as an answer for a private file may have it
		for _, raw := range []string{asset.URL, asset.URL + "&tr=orig-true", strings.TrimSuffix(asset.URL, "?"), stale} {
			body, err := c.DownloadSigned(t.Context(), raw, path)
			if err != nil {
				t.Errorf("%q: %v", path, err)
				continue
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != path {
				t.Errorf("%q: %q, %v", path, got, err)
			}
			body.Close()
		}
	}
}

// The text that is signed is the one that ImageKit's own libraries sign.
func TestDownloadSignedSignsWhatStandsBehindTheEndpoint(t *testing.T) {
	var wrong string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query := strings.Split(r.URL.RawQuery, "&")
		expiry, signature := strings.TrimPrefix(query[2], "ik-t="), strings.TrimPrefix(query[3], "ik-s=")
		mac := hmac.New(sha1.New, []byte(secret))
		io.WriteString(mac, "a%20b/%C3%BC.jpg?updatedAt=1&tr=orig-true"+expiry)
		if want := hex.EncodeToString(mac.Sum(nil)); signature != want || r.Header.Get("Authorization") != "" {
			wrong = r.URL.RequestURI()
		}
	})
	body, err := newClient(t, base).DownloadSigned(t.Context(), base+"/endpoint/a%20b/%C3%BC.jpg?updatedAt=1&tr=orig-true", "/a b/ü.jpg")
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	if wrong != "" {
		t.Errorf("%s has another signature", wrong)
	}
}

func TestDownloadSignedShowsNoSignature(t *testing.T) {
	var signature string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		signature = r.URL.Query().Get("ik-s")
		w.Header().Set("x-ik-requestId", signature)
		switch r.URL.Path {
		case "/demo/refused":
			http.Error(w, r.URL.RequestURI(), http.StatusUnauthorized)
		case "/demo/broken":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(conn, "%s\r\n\r\n", r.URL.RequestURI())
			conn.Close()
		}
	})
	c := newClient(t, base)
	for _, path := range []string{"/refused", "/broken"} {
		_, err := c.DownloadSigned(t.Context(), base+"/demo"+path, path)
		e := apiError(t, err)
		if signature == "" || strings.Contains(fmt.Sprintf("%+v %+v %#v", e, err, e), signature) {
			t.Errorf("%s: %+v shows the signature %q", path, e, signature)
		}
	}
	for _, raw := range []string{"http://127.0.0.1:1/other", "http://[::1/a?ik-s=SIGNATURE", "http://example.com/a?ik-s=SIGNATURE", "http://127.0.0.1:1"} {
		_, err := c.DownloadSigned(t.Context(), raw, "/a")
		if e := apiError(t, err); e.Class != imagekit.File || strings.Contains(e.Error(), "SIGNATURE") {
			t.Errorf("%q: %+v", raw, e)
		}
	}
}
