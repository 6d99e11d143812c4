package imagekit_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

// managed are the calls of the management API, on what stored makes.
var managed = []struct {
	endpoint string // the emulator's name
	write    bool
	do       func(context.Context, *imagekit.Client) error
}{
	{"details", false, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.Details(ctx, "0123456789abcdef01234567")
		return err
	}},
	{"list", false, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.List(ctx, "/photos", 0, 10)
		return err
	}},
	{"list", false, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.FolderExists(ctx, "/photos")
		return err
	}},
	{"job", false, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.JobDone(ctx, "0123456789abcdef01234567")
		return err
	}},
	{"move", true, func(ctx context.Context, c *imagekit.Client) error { return c.Move(ctx, "/photos/a.txt", "/new") }},
	{"copy", true, func(ctx context.Context, c *imagekit.Client) error { return c.Copy(ctx, "/new/a.txt", "/copies") }},
	{"rename", true, func(ctx context.Context, c *imagekit.Client) error { return c.Rename(ctx, "/new/a.txt", "b.txt") }},
	{"createFolder", true, func(ctx context.Context, c *imagekit.Client) error { return c.CreateFolder(ctx, "/made/here") }},
	{"renameFolder", true, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.RenameFolder(ctx, "/made/here", "there")
		return err
	}},
	{"moveFolder", true, func(ctx context.Context, c *imagekit.Client) error {
		_, err := c.MoveFolder(ctx, "/made/there", "/new")
		return err
	}},
	{"deleteFolder", true, func(ctx context.Context, c *imagekit.Client) error { return c.DeleteFolder(ctx, "/new") }},
	{"batchDelete", true, func(ctx context.Context, c *imagekit.Client) error {
		_, _, err := c.DeleteFiles(ctx, []string{"0123456789abcdef01234567"})
		return err
	}},
}

// stored uploads files whose contents are their paths, and gives their ids.
func stored(t testing.TB, c *imagekit.Client, paths ...string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, path := range paths {
		asset, err := c.Upload(t.Context(), bytesUpload(path, path))
		if err != nil {
			t.Fatal(err)
		}
		ids[path] = asset.FileID
	}
	return ids
}

// hasPaths checks which files the library has.
func hasPaths(t testing.TB, s *emulator.Server, want ...string) {
	t.Helper()
	var got []string
	for _, a := range s.Assets() {
		got = append(got, a.FilePath)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the library has %q, not %q", got, want)
	}
}

func TestALostAnswerToAWriteIsAmbiguousAndNotSentAgain(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	stored(t, c, "/photos/a.txt")
	for _, call := range managed {
		if !call.write {
			continue
		}
		// A call before it leaves a connection that is used again, where
		// net/http repeats what it takes for repeatable.
		if _, err := c.List(t.Context(), "/", 0, 1); err != nil {
			t.Fatal(err)
		}
		before := s.Stats().Requests[call.endpoint]
		fault(s, emulator.Fault{Endpoint: call.endpoint, Action: emulator.ActionLose})
		e := apiError(t, call.do(t.Context(), c))
		if e.Class != imagekit.Transient || !e.Ambiguous || e.Status != 0 {
			t.Errorf("%s: %+v", call.endpoint, e)
		}
		if n := s.Stats().Requests[call.endpoint] - before; n != 1 {
			t.Errorf("%s was sent %d times", call.endpoint, n)
		}
		s.SetFaults(emulator.Faults{})
	}
	hasPaths(t, s, "/copies/a.txt") // the emulator lost the answers only
}

func TestAPageInsteadOfAnAnswerIsNoSuccess(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a page":        drained(200, nil, "<html>welcome to the hotel</html>"),
		"nothing":       drained(200, nil, ""),
		"a null":        drained(200, nil, "null"), // not an empty list
		"a text":        drained(200, nil, `"ok"`),
		"a cut answer":  drained(200, nil, `{"jobId":"1`),
		"not quite all": drained(200, map[string]string{"Content-Length": "100"}, `{"jobId":"1"}`),
	} {
		c := newClient(t, serve(t, handler))
		for _, call := range managed {
			if e := apiError(t, call.do(t.Context(), c)); e.Class != imagekit.Transient || !e.Ambiguous {
				t.Errorf("%s, %s: %+v", call.endpoint, name, e)
			}
		}
	}
}

func TestEveryRefusalOfAManagementCallHasItsClass(t *testing.T) {
	for status, class := range map[int]imagekit.Class{
		400: imagekit.File, 404: imagekit.File, 409: imagekit.File, 413: imagekit.File,
		401: imagekit.Credentials, 403: imagekit.Credentials, 429: imagekit.Throttled,
		408: imagekit.Transient, 423: imagekit.Transient, 500: imagekit.Transient, 503: imagekit.Transient,
		301: imagekit.Account, 307: imagekit.Account,
	} {
		c := newClient(t, serve(t, drained(status, map[string]string{"Location": "https://elsewhere.invalid/", "X-RateLimit-Reset": "1"}, `{"message":"no","help":"h"}`)))
		for _, call := range managed {
			if status == 404 && call.endpoint == "deleteFolder" {
				continue // TestDeleteFolder: without a reason it is gone
			}
			e := apiError(t, call.do(t.Context(), c))
			if e.Class != class || e.Status != status || e.Missing() || e.Exists() != (status == 409) {
				t.Errorf("%s, %d: %+v", call.endpoint, status, e)
			}
			if e.Ambiguous != (class == imagekit.Transient && status != 423) {
				t.Errorf("%s, %d: ambiguous is %v", call.endpoint, status, e.Ambiguous)
			}
		}
	}
}

// A wrong API URL must not make a daemon believe that files are gone.
func TestA404OfSomethingElseSaysNothingOfTheFile(t *testing.T) {
	for _, body := range []string{"<h1>Not Found</h1>", "404 page not found\n", `{"message":"Not Found"}`, `{}`,
		`{"message":"no Route matched with those values"}`, `{"message":"Your request was made to an unknown endpoint."}`} {
		c := newClient(t, serve(t, drained(404, nil, body)))
		for _, call := range managed {
			if call.endpoint == "deleteFolder" {
				continue // what nobody has found needs no deleting, whoever says so
			}
			if e := apiError(t, call.do(t.Context(), c)); e.Missing() || e.Class != imagekit.File || e.Reason != "" {
				t.Errorf("%s, %s: %+v", call.endpoint, body, e)
			}
		}
	}
}

func TestAnIDCannotChangeTheCall(t *testing.T) {
	var asked atomic.Value
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.EscapedPath())
		w.WriteHeader(404)
	}))
	for id, path := range map[string]string{"a/../b": "/v1/files/a%2F..%2Fb/details", "a?b#c": "/v1/files/a%3Fb%23c/details", "%2e": "/v1/files/%252e/details"} {
		if _, err := c.Details(t.Context(), id); err == nil || asked.Load() != path {
			t.Errorf("%q: %v, %v", id, asked.Load(), err)
		}
	}
	asked.Store("")
	for _, id := range []string{"", ".", ".."} {
		_, err := c.Details(t.Context(), id)
		apiError(t, err)
		_, err = c.JobDone(t.Context(), id)
		if e := apiError(t, err); e.Class != imagekit.File || e.Missing() || asked.Load() != "" {
			t.Errorf("%q: %v, %v", id, asked.Load(), err)
		}
	}
}

func TestBodiesAreJSONWithAKey(t *testing.T) {
	var got []string
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Basic "+secretBase64 || r.ContentLength != int64(len(body)) {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+string(body))
		io.WriteString(w, `{"jobId":"j","successfullyDeletedFileIds":["0123456789abcdef01234567"]}`)
	}))
	for _, call := range managed {
		if call.write {
			if err := call.do(t.Context(), c); err != nil {
				t.Errorf("%s: %v", call.endpoint, err)
			}
		}
	}
	want := `POST /v1/files/move {"sourceFilePath":"/photos/a.txt","destinationPath":"/new"}
POST /v1/files/copy {"sourceFilePath":"/new/a.txt","destinationPath":"/copies","includeFileVersions":false}
PUT /v1/files/rename {"filePath":"/new/a.txt","newFileName":"b.txt","purgeCache":false}
POST /v1/folder {"folderName":"here","parentFolderPath":"/made"}
POST /v1/bulkJobs/renameFolder {"folderPath":"/made/here","newFolderName":"there","purgeCache":false}
POST /v1/bulkJobs/moveFolder {"sourceFolderPath":"/made/there","destinationPath":"/new"}
DELETE /v1/folder {"folderPath":"/new"}
POST /v1/files/batch/deleteByFileIds {"fileIds":["0123456789abcdef01234567"]}`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s", text)
	}
}
