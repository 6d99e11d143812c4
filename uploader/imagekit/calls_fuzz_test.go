package imagekit_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"iksync/uploader/imagekit"
)

// FuzzAnswerToACall gives one answer to every call there is: nothing may panic or
// wait, an error is an [imagekit.Error] that a terminal can show, and nothing may
// be taken for done that the answer does not say.
func FuzzAnswerToACall(f *testing.F) {
	var status int
	var body, reset string
	base := serve(f, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-RateLimit-Reset", reset)
		w.Header().Set("Location", "http://127.0.0.1:1/"+secret)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // 204 and 304 have none
	})
	for _, body := range []string{
		"", "null", "{}", "[]", "[{}]", "[null]", `{"jobId":7}`, `{"jobId":"j"}`, `{"jobId":"j","status":"Completed"}`, `{"jobId":"j","status":"Failed","type":"MOVE_FOLDER"}`,
		`{"fileId":"1","filePath":"/d/a","size":3,"type":"file","name":"a"}`, `[{"fileId":"1","filePath":"/d/a","size":3,"type":"file","name":"a"}]`,
		`[{"type":"folder","folderPath":"/d/e","name":"e"}]`, `[{"type":"folder","folderPath":"/elsewhere","name":"e"},{"type":"file"},7]`,
		`{"successfullyDeletedFileIds":["1"]}`, `{"successfullyDeletedFileIds":["1","1"],"errors":[{"fileId":"2","error":"\u001b[2J"}]}`, `{"missingFileIds":["1"]}`, `{"missingFileIds":["9"],"reason":"FILE_MISSING"}`,
		`{"message":"Your account cannot be authenticated. ` + secret + `"}`, `{"reason":"FILE_MISSING"}`, `{"reason":"FOLDER_NOT_FOUND","message":"\ud800"}`, "<html>" + secretBase64, "\xff", "[[[[", `{"a":1}{"b":2}`,
	} {
		for _, status := range []uint16{200, 202, 401, 404, 500} {
			f.Add(status, body, "1")
		}
	}
	calls := map[string]func(context.Context, *imagekit.Client) (done bool, err error){
		"upload": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			a, err := c.Upload(ctx, bytesUpload("/d/a", "abc"))
			return a != nil && a.FileID != "", err
		},
		"find": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			a, err := c.Find(ctx, "/d/a")
			return a != nil && a.FileID != "" && a.FilePath == "/d/a", err
		},
		"details": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			a, err := c.Details(ctx, "1")
			return a != nil && a.FileID == "1" && strings.HasPrefix(a.FilePath, "/"), err
		},
		"list": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			entries, err := c.List(ctx, "/d", 0, 100)
			return len(entries) > 0, err
		},
		"folder exists": func(ctx context.Context, c *imagekit.Client) (bool, error) { return c.FolderExists(ctx, "/d/e") },
		"job done":      func(ctx context.Context, c *imagekit.Client) (bool, error) { return c.JobDone(ctx, "j") },
		"delete": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			deleted, refused, err := c.DeleteFiles(ctx, []string{"1", "2"})
			for _, id := range deleted {
				if id != "1" && id != "2" || refused[id] != "" {
					return false, errors.New("it deleted " + id)
				}
			}
			return len(deleted) > 0, err
		},
		"move folder": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			job, err := c.MoveFolder(ctx, "/d/e", "/f")
			return job != "", err
		},
		"rename folder": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			job, err := c.RenameFolder(ctx, "/d/e", "f")
			return job != "", err
		},
		"move": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			err := c.Move(ctx, "/d/a", "/f")
			return err == nil, err
		},
		"copy": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			err := c.Copy(ctx, "/d/a", "/f")
			return err == nil, err
		},
		"rename": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			err := c.Rename(ctx, "/d/a", "b")
			return err == nil, err
		},
		"create folder": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			err := c.CreateFolder(ctx, "/d/e")
			return err == nil, err
		},
		"delete folder": func(ctx context.Context, c *imagekit.Client) (bool, error) {
			err := c.DeleteFolder(ctx, "/d/e")
			return err == nil, err
		},
	}
	// What a status alone may stand for.
	mayMeanDone := map[string][]int{"delete": {404}, "delete folder": {404}, "create folder": {400, 409}}
	f.Fuzz(func(t *testing.T, s uint16, answer, wait string) {
		// Go's server takes others for a mistake; and headers can hold no line breaks.
		status, body, reset = 200+int(s)%400, answer, strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, wait)
		if len(body) > 64<<10 {
			return
		}
		for name, call := range calls {
			c := newClient(t, base, func(o *imagekit.Options) { o.ReadsPerSecond, o.WritesPerSecond = -1, -1 })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			done, err := call(ctx, c)
			cancel()
			c.Close()
			var e *imagekit.Error
			if err != nil && (!errors.As(err, &e) || e.Class.String() == "unknown" || e.RetryAfter < 0 || e.RetryAfter > time.Hour) {
				t.Fatalf("%s: %d %q: %#v", name, status, body, err)
			}
			if done && (status < 200 || status > 299) && !slices.Contains(mayMeanDone[name], status) {
				t.Fatalf("%s was taken for done, by %d %q: %v", name, status, body, err)
			}
			if err == nil && status == 401 {
				t.Fatalf("%s: a refused key is no error", name)
			}
			if err == nil {
				continue
			}
			text := err.Error()
			if !utf8.ValidString(text) || len(text) > 5000 || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, secret) || strings.Contains(text, secretBase64) {
				t.Fatalf("%s: %q", name, text)
			}
		}
	})
}
