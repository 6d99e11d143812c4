package imagekit_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
)

func TestFilesAreDeletedWithAllVersions(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	ids := stored(t, c, "/a", "/a", "/b/c", "/kept")
	missing := []string{"0123456789abcdef01234567", "0123456789abcdef01234568"}
	for _, test := range []struct {
		name  string
		ids   []string
		calls int64
	}{
		{"none", nil, 0},
		{"all missing", missing, 1},
		{"some missing, one twice", []string{missing[0], ids["/a"], missing[1], ids["/a"]}, 2},
		{"all there", []string{ids["/b/c"]}, 1},
		{"gone again", []string{ids["/a"], ids["/b/c"]}, 1},
	} {
		before := s.Stats().Requests["batchDelete"]
		deleted, refused, err := c.DeleteFiles(t.Context(), test.ids)
		want := slices.Compact(slices.Sorted(slices.Values(test.ids)))
		if got := slices.Sorted(slices.Values(deleted)); err != nil || refused != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, %v", test.name, deleted, refused, err)
		}
		if n := int64(s.Stats().Requests["batchDelete"] - before); n != test.calls {
			t.Errorf("%s: %d calls", test.name, n)
		}
	}
	hasPaths(t, s, "/kept")
}

func TestAHundredFilesAreTheMost(t *testing.T) {
	s, c, _ := newEmulator(t, emulator.Behaviour{})
	ids := make([]string, imagekit.MaxDelete+1)
	for i := range ids {
		ids[i] = fmt.Sprintf("%024x", i)
	}
	deleted, _, err := c.DeleteFiles(t.Context(), ids)
	if e := apiError(t, err); deleted != nil || e.Class != imagekit.File || s.Stats().Requests["batchDelete"] != 0 {
		t.Errorf("%q, %+v", deleted, e)
	}
	if deleted, _, err = c.DeleteFiles(t.Context(), ids[1:]); err != nil || len(deleted) != imagekit.MaxDelete {
		t.Errorf("%q, %v", deleted, err)
	}
}

func TestAnAnswerToABulkDeleteIsReadWithCare(t *testing.T) {
	for _, test := range []struct {
		name    string
		status  int
		body    string
		deleted []string
		refused map[string]string
		class   imagekit.Class // of the error
		fails   bool
	}{
		{"one is kept", 207, `{"successfullyDeletedFileIds":["1"],"errors":[{"fileId":"2","error":"Error in deleting file"}]}`,
			[]string{"1"}, map[string]string{"2": "Error in deleting file"}, 0, false},
		{"all are kept", 207, `{"successfullyDeletedFileIds":[],"errors":[{"fileId":"2","error":"b"},{"fileId":"1","error":"a"}]}`,
			nil, map[string]string{"1": "a", "2": "b"}, 0, false},
		{"others are named too", 200, `{"successfullyDeletedFileIds":["3","2","1","1"]}`, []string{"2", "1"}, nil, 0, false},
		{"one is both", 207, `{"successfullyDeletedFileIds":["1","2"],"errors":[{"fileId":"2","error":"b"}]}`, []string{"1"}, map[string]string{"2": "b"}, 0, false},
		{"one is forgotten", 207, `{"successfullyDeletedFileIds":[],"errors":[{"fileId":"2","error":"b"}]}`, nil, map[string]string{"2": "b"}, imagekit.Transient, true},
		{"both are forgotten", 200, `{}`, nil, nil, imagekit.Transient, true},
		{"others are missing", 404, `{"message":"The requested file(s) does not exist.","missingFileIds":["3"]}`, nil, nil, imagekit.File, true},
		{"it is not said who is missing", 404, `{"message":"The requested file(s) does not exist."}`, nil, nil, imagekit.File, true},
		{"it fails", 500, `{"missingFileIds":["1"]}`, nil, nil, imagekit.Transient, true},
	} {
		c := newClient(t, serve(t, drained(test.status, nil, test.body)))
		deleted, refused, err := c.DeleteFiles(t.Context(), []string{"1", "2"})
		if !slices.Equal(deleted, test.deleted) || !maps.Equal(refused, test.refused) || (err != nil) != test.fails {
			t.Errorf("%s: %q, %v, %v", test.name, deleted, refused, err)
		}
		if test.fails {
			if e := apiError(t, err); e.Class != test.class {
				t.Errorf("%s: %+v", test.name, e)
			}
		}
	}
}

func TestWhatIsKnownToBeGoneOutlastsAnError(t *testing.T) {
	var asked atomic.Int64
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			drained(404, nil, `{"message":"The requested file(s) does not exist.","missingFileIds":["2"]}`)(w, r)
			return
		}
		drained(503, nil, "")(w, r)
	}))
	deleted, _, err := c.DeleteFiles(t.Context(), []string{"1", "2"})
	if e := apiError(t, err); !slices.Equal(deleted, []string{"2"}) || !e.Ambiguous || !strings.HasPrefix(e.Op, "POST") {
		t.Errorf("%q, %+v", deleted, e)
	}
}
