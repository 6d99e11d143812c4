package imagekit_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestDownloadGivesTheContentOfAnAssetsURL(t *testing.T) {
	_, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, path := range []string{"/p/a & b?c#d 100%.txt", "/日本語/upload"} {
		stored(t, c, path)
		asset, err := c.Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := c.Download(t.Context(), asset.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != path {
			t.Errorf("%q: %q, %v", path, got, err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDownloadSendsNoKeyAndFollowsNoRedirect(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if name == "Authorization" || hasSecret(strings.Join(values, "")) {
				t.Errorf("%s was sent", name)
			}
		}
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/there":
			t.Error("the redirect was followed")
		default:
			io.WriteString(w, "content")
		}
	})
	c := newClient(t, base)
	body, err := c.Download(t.Context(), base+"/a")
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	_, err = c.Download(t.Context(), base+"/moved")
	if e := apiError(t, err); e.Class != imagekit.File || e.Status != 302 || strings.Contains(e.Message, "key") {
		t.Errorf("%+v", e)
	}
}

func TestDownloadTakesNoURLThatIsNotPrivate(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1")
	for _, raw := range []string{"", "/a", "http://example.com/a?ik-s=SIGNATURE", "file:///etc/passwd", "ftp://127.0.0.1/a", "https:///a", "http://127.0.0.1.example.com/", "https://SIGNATURE@example.com/", "http://[::1", "%"} {
		_, err := c.Download(t.Context(), raw)
		if e := apiError(t, err); e.Class != imagekit.File || e.Status != 0 || strings.Contains(e.Error(), "SIGNATURE") {
			t.Errorf("%q: %+v", raw, e)
		}
	}
	_, err := c.Download(t.Context(), "http://127.0.0.1:1/a")
	if e := apiError(t, err); e.Class != imagekit.Offline || e.Op != "download" {
		t.Errorf("%+v", e)
	}
}

func TestARefusedDownloadSaysNothingOfTheKey(t *testing.T) {
	for status, class := range map[int]imagekit.Class{
		401: imagekit.File, 403: imagekit.File, 404: imagekit.File, 204: imagekit.File, 206: imagekit.File,
		429: imagekit.Throttled, 500: imagekit.Transient, 503: imagekit.Transient,
	} {
		base := serve(t, drained(status, nil, ""))
		_, err := newClient(t, base).Download(t.Context(), base+"/upload")
		if e := apiError(t, err); e.Class != class || e.Op != "download" || e.Ambiguous || e.Missing() {
			t.Errorf("%d: %+v", status, e)
		}
	}
}

func TestADownloadThatBreaksOffFails(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	body, err := newClient(t, base).Download(t.Context(), base+"/a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if e := apiError(t, err); string(got) != "half" || e.Class != imagekit.Transient {
		t.Errorf("%q, %+v", got, e)
	}
}
