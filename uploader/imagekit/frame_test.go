package imagekit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"iksync/uploader/imagekit"
)

// sentPart is a part of a body as its reader sees it.
type sentPart struct {
	name, disposition, contentType, content string
}

// readForm reads an upload as a server does, and wants its length to be what it
// said.
func readForm(r *http.Request) (parts []sentPart, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0 {
		return nil, fmt.Errorf("the Content-Length is %d, of %d bytes, with encodings %q", r.ContentLength, len(body), r.TransferEncoding)
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, fmt.Errorf("the Content-Type is %q, %q, %w", kind, params, err)
	}
	rest := bytes.NewReader(body)
	form := multipart.NewReader(rest, params["boundary"])
	for {
		part, err := form.NextRawPart() // NextPart would decode quoted-printable
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("after %d parts: %w", len(parts), err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		for key := range maps.Keys(part.Header) {
			if key != "Content-Disposition" && key != "Content-Type" || len(part.Header[key]) != 1 {
				return nil, fmt.Errorf("part %d has the headers %q", len(parts), part.Header)
			}
		}
		parts = append(parts, sentPart{part.FormName(), part.Header.Get("Content-Disposition"), part.Header.Get("Content-Type"), string(content)})
	}
	end := []byte("\r\n--" + params["boundary"] + "--\r\n")
	if !bytes.HasSuffix(body, end) || bytes.Count(body, end) != 1 {
		return nil, errors.New("the body does not end with its boundary")
	}
	return parts, nil
}

// FuzzUploadBody: whatever is sent, a server reads exactly that, in one order,
// and the Content-Length is exact.
func FuzzUploadBody(f *testing.F) {
	var got []sentPart
	var bad error
	c := newClient(f, serve(f, func(w http.ResponseWriter, r *http.Request) {
		got, bad = readForm(r)
		_, _ = io.WriteString(w, `{"fileId":"1","filePath":"/a","size":1}`)
	}))
	for _, name := range []string{
		"a.jpg", "", `a"b.jpg`, `a\`, `a\"b`, "a\r\nX: y\r\n\r\nb", "a;b=c", "a\x00b", "caf\xe9.jpg", "日本.jpg", " a ", "a\tb", "%22", "a%0D%0A", "--", `"; name="fileName`, "..", "a/b", strings.Repeat("é", 500),
	} {
		f.Add(name, "/photos", "x,y", "a text", `{"a":1}`, []byte("content"), uint8(0), uint16(0))
		f.Add(name, "", "", "", "", []byte(name), uint8(255), uint16(3000))
	}
	f.Add("a.jpg", "/a\r\nb", "a\r\n--iksync", "\r\n\r\n", "\x00", []byte("\r\n--iksync\r\n"), uint8(1), uint16(0))
	f.Add("a.jpg", "/", ",", "--", "[]", []byte{}, uint8(2), uint16(65535))
	f.Fuzz(func(t *testing.T, name, folder, tags, description, metadata string, content []byte, flags uint8, times uint16) {
		u := &imagekit.Upload{FileName: name, Folder: folder, Params: imagekit.Params{Description: description, CustomMetadata: json.RawMessage(metadata)}}
		want := []sentPart{{name: "fileName", content: name}}
		text := func(name, value string) {
			if value != "" {
				want = append(want, sentPart{name: name, content: value})
			}
		}
		text("folder", folder)
		if flags&1 != 0 {
			yes := flags&2 != 0
			u.Params.UseUniqueFileName, u.Params.OverwriteFile = &yes, &yes
			text("useUniqueFileName", fmt.Sprint(yes))
		}
		if tags != "" {
			u.Params.Tags = strings.Split(tags, ",")
			text("tags", tags)
		}
		if flags&1 != 0 {
			text("overwriteFile", fmt.Sprint(flags&2 != 0))
		}
		text("customMetadata", metadata)
		text("description", description)
		if flags&4 != 0 {
			u.Source = imagekit.FromText(string(content))
			want = append(want, sentPart{name: "file", content: string(content)})
		} else {
			// Beyond what is put together first it is streamed.
			content = slices.Concat(content, bytes.Repeat([]byte("\r\n-"), int(times)))
			u.Source = imagekit.FromReader(bytes.NewReader(content), int64(len(content)))
			escaped := strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22", `\`, "%5C").Replace(name)
			escaped = regexp.MustCompile(`[\x00-\x1f\x7f]`).ReplaceAllString(escaped, "_")
			want = append(want, sentPart{"file", `form-data; name="file"; filename="` + escaped + `"`, "application/octet-stream", string(content)})
		}
		for i := range want {
			if want[i].disposition == "" {
				want[i].disposition = `form-data; name="` + want[i].name + `"`
			}
		}
		if _, err := c.Upload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if bad != nil {
			t.Fatalf("%q can't be read: %v", name, bad)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("a server read\n%.2000q, not\n%.2000q", got, want)
		}
	})
}
