package imagekit_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// captured is a request as it came, and its parts in order.
type captured struct {
	header   http.Header
	encoding []string
	length   int64
	body     []byte
	uri      string
	method   string
	proto    string
}

type part struct{ Disposition, ContentType, Value string }

func capture(t *testing.T) (base string, last func() captured) {
	var mu sync.Mutex
	var got captured
	base = serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		got = captured{header: r.Header, encoding: r.TransferEncoding, length: r.ContentLength, body: body, uri: r.RequestURI, method: r.Method, proto: r.Proto}
		mu.Unlock()
		io.WriteString(w, goodAnswer)
	})
	return base, func() captured {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func (c captured) parts(t *testing.T) []part {
	t.Helper()
	kind, params, err := mime.ParseMediaType(c.header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Fatalf("Content-Type: %q, %v", c.header.Get("Content-Type"), err)
	}
	var parts []part
	for r := multipart.NewReader(bytes.NewReader(c.body), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		value, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{p.Header.Get("Content-Disposition"), p.Header.Get("Content-Type"), string(value)})
	}
}

func TestTheRequestHasItsLengthAndTheKeyWithAnEmptyPassword(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			base, last := capture(t)
			c := newClient(t, base, func(o *imagekit.Options) { o.UserAgent = "iksync/1.2" })
			if _, err := c.Upload(t.Context(), upload(size)); err != nil {
				t.Fatal(err)
			}
			got := last()
			if got.encoding != nil || got.length != int64(len(got.body)) || got.length < size {
				t.Errorf("Transfer-Encoding %q, Content-Length %d for %d bytes", got.encoding, got.length, len(got.body))
			}
			if got.method != "POST" || got.uri != "/api/v1/files/upload" || got.proto != "HTTP/1.1" {
				t.Errorf("%s %s %s", got.method, got.uri, got.proto)
			}
			if got.header.Get("Authorization") != "Basic "+secretBase64 || got.header.Get("User-Agent") != "iksync/1.2" {
				t.Errorf("header: %v", got.header)
			}
		})
	}
}

func TestFieldsGoFirstAndTheFileLast(t *testing.T) {
	base, last := capture(t)
	c := newClient(t, base)
	for name, test := range map[string]struct {
		source imagekit.Source
		file   part
	}{
		"bytes go with a file name": {imagekit.FromReader(strings.NewReader("https://not.a/url"), 17),
			part{`form-data; name="file"; filename="Bild_é.png"`, "application/octet-stream", "https://not.a/url"}},
		"text goes without one": {imagekit.FromText("https://a.example/x.png"), part{`form-data; name="file"`, "", "https://a.example/x.png"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Upload(t.Context(), &imagekit.Upload{FileName: "Bild_é.png", Folder: "/photos", Source: test.source, Params: allParams()}); err != nil {
				t.Fatal(err)
			}
			field := func(name, value string) part { return part{`form-data; name="` + name + `"`, "", value} }
			p := allParams()
			want := []part{
				field("fileName", "Bild_é.png"), field("folder", "/photos"), field("useUniqueFileName", "false"), field("tags", "summer,Zürich"),
				field("isPrivateFile", "true"), field("isPublished", "false"), field("customCoordinates", "1,2,3,4"),
				field("responseFields", strings.Join(p.ResponseFields, ",")), field("extensions", string(p.Extensions)),
				field("webhookUrl", p.WebhookURL), field("overwriteFile", "false"), field("overwriteAITags", "false"),
				field("overwriteTags", "false"), field("overwriteCustomMetadata", "false"), field("customMetadata", string(p.CustomMetadata)),
				field("transformation", string(p.Transformation)), field("checks", p.Checks), field("description", p.Description),
				test.file,
			}
			if diff := cmp.Diff(want, last().parts(t)); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParametersThatAreNotSetAreNotSent(t *testing.T) {
	base, last := capture(t)
	c := newClient(t, base)
	if _, err := c.Upload(t.Context(), &imagekit.Upload{FileName: "a", Source: imagekit.FromText("eA==")}); err != nil {
		t.Fatal(err)
	}
	want := []part{{`form-data; name="fileName"`, "", "a"}, {`form-data; name="file"`, "", "eA=="}}
	if diff := cmp.Diff(want, last().parts(t)); diff != "" {
		t.Error(diff)
	}
}

func TestNoNameBreaksOutOfItsQuotes(t *testing.T) {
	base, last := capture(t)
	c := newClient(t, base)
	for name, want := range map[string]string{
		`a"b.jpg`:                    `a%22b.jpg`,
		"a\r\nX-Evil: 1\r\n\r\n.jpg": `a%0D%0AX-Evil: 1%0D%0A%0D%0A.jpg`,
		`a"; name="folder`:           `a%22; name=%22folder`,
		`ends in \`:                  `ends in %5C`,
		"日本語 é.jpg":                  "日本語 é.jpg",
		"e\u0301.jpg":                "e\u0301.jpg",
		"not UTF-8 \xff.jpg":         "not UTF-8 \xff.jpg",
	} {
		u := bytesUpload("/"+name, "content")
		if _, err := c.Upload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		parts := last().parts(t)
		if parts[0].Value != name {
			t.Errorf("fileName of %q is %q", name, parts[0].Value)
		}
		file := parts[len(parts)-1]
		if file.Disposition != `form-data; name="file"; filename="`+want+`"` || file.Value != "content" {
			t.Errorf("file part of %q: %+v", name, file)
		}
	}
}

func TestTheEmulatorReadsEveryNameAsItWasMeant(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	for _, name := range []string{`a"b.jpg`, `ends in \`, `\\"`, `a"; name="folder`, "日本語 é.jpg", "%22.jpg", "a;b,c=d.jpg", " spaces ", "a&b+c#d?.jpg"} {
		asset, err := c.Upload(t.Context(), bytesUpload("/q/"+name, name))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if asset.Name != name || asset.FilePath != "/q/"+name || string(contentAt(t, s, asset.FilePath)) != name {
			t.Errorf("%q came back as %q", name, asset.FilePath)
		}
	}
}

func TestNoTwoRequestsShareABoundary(t *testing.T) {
	base, last := capture(t)
	c := newClient(t, base)
	seen := map[string]bool{}
	for range 20 {
		if _, err := c.Upload(t.Context(), upload(smallSize)); err != nil {
			t.Fatal(err)
		}
		boundary := last().header.Get("Content-Type")
		if seen[boundary] {
			t.Fatalf("%s came twice", boundary)
		}
		seen[boundary] = true
	}
}
