package state_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"iksync/state"
)

// answer is what ImageKit answers to the upload of a record's file.
func answer(f *state.File) []byte {
	thumbnail := ""
	if f.ThumbnailURL != "" {
		thumbnail = fmt.Sprintf(`,"thumbnailUrl":%q`, f.ThumbnailURL)
	}
	return fmt.Appendf(nil, `{"fileId":%q,"name":%q,"size":%d,"versionInfo":{"id":%q,"name":"Version 1"},"filePath":%q,"url":%q,"fileType":%q,"height":%d,"width":%d%s,"AITags":null}`,
		f.FileID, f.Name, f.Stat.Size, f.VersionID, f.RemotePath, f.URL, f.FileType, f.Height, f.Width, thumbnail)
}

// usual is the record of an upload as it nearly always is.
func usual(rootID int64, p string) *state.File {
	f := record(rootID, p)
	f.FileID = fmt.Sprintf("%024x", p)
	f.VersionID, f.FileType, f.Width, f.Height = f.FileID, "image", 480, 320
	f.RemotePath = "/photos/" + p
	f.Name = path.Base(p)
	f.URL, f.ThumbnailURL = "https://ik.imagekit.io/demo"+f.RemotePath, "https://ik.imagekit.io/demo/tr:n-ik_ml_thumbnail"+f.RemotePath
	f.Response = answer(f)
	return f
}

// count reads one number.
func count(t testing.TB, db *state.DB, query string) (n int64) {
	t.Helper()
	rows, err := db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	if err := rows.Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// wantRecord looks at a record as the program reads it and as the view shows it.
func wantRecord(t testing.TB, db *state.DB, want *state.File) {
	t.Helper()
	got, err := db.FileAt(t.Context(), want.RootID, want.Path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(state.File{}, "ID")); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}
	rows, err := db.Query(t.Context(), `SELECT file_id, version_id, name, remote_path, url, thumbnail_url, file_type, response FROM iksync_files WHERE local_path = ?`, want.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("the view does not have %q (%v)", want.Path, rows.Err())
	}
	seen := *want
	var response string
	if err := rows.Scan(&seen.FileID, &seen.VersionID, &seen.Name, &seen.RemotePath, &seen.URL, &seen.ThumbnailURL, &seen.FileType, &response); err != nil {
		t.Fatal(err)
	}
	seen.Response = []byte(response) // the view has it without white space
	var compact bytes.Buffer
	if err := json.Compact(&compact, want.Response); err != nil {
		t.Fatal(err)
	}
	shown := *want
	shown.Response = compact.Bytes()
	if diff := cmp.Diff(shown, seen, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("the view (-want +got):\n%s", diff)
	}
}

func TestAnAnswerComesBackToTheByteWhateverItIs(t *testing.T) {
	db, root := openNew(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		f := usual(root.ID, fmt.Sprintf("2026/%d.jpg", n))
		for _, oddity := range rapid.SliceOfDistinct(rapid.IntRange(0, 11), rapid.ID[int]).Draw(rt, "oddities") {
			switch oddity {
			case 0:
				f.VersionID = rapid.StringMatching(`[0-9a-f]{4}`).Draw(rt, "version")
			case 1:
				f.Name = rapid.SampledFrom([]string{"other.jpg", "Version 1", f.FileID, `q"uote`, `back\slash`}).Draw(rt, "name")
			case 2:
				f.URL = rapid.SampledFrom([]string{"https://cdn/x?a=1", f.URL + "?updatedAt=1", f.RemotePath, "u"}).Draw(rt, "url")
			case 3:
				f.ThumbnailURL = rapid.SampledFrom([]string{"", "https://t", f.RemotePath}).Draw(rt, "thumbnail")
			case 4:
				f.Stat.Size = rapid.Int64Range(0, 500).Draw(rt, "size")
			case 5:
				f.Width, f.Height = rapid.Int64Range(0, 3).Draw(rt, "width"), rapid.Int64Range(0, 3).Draw(rt, "height")
			case 6:
				f.FileType = "non-image"
			}
		}
		f.Response = answer(f)
		switch rapid.IntRange(0, 9).Draw(rt, "answer") {
		case 0:
			f.Response = bytes.ReplaceAll(f.Response, []byte(`":`), []byte(`": `))
		case 1:
			f.Response = bytes.Replace(f.Response, []byte(`"AITags":null`), []byte(`"AITags":[{"name":"cat"}],"size":1`), 1)
		case 2:
			f.Response = []byte("{}")
		case 3:
			f.Response = append(f.Response[:len(f.Response)-1], `,"tags":["`+path.Base(f.Path)+`"]}`...)
		}
		if !json.Valid(f.Response) {
			rt.Skip()
		}
		put(t, db, f)
		wantRecord(t, db, f)
		// A later answer of the same path, with another form or none.
		g := usual(root.ID, f.Path)
		if rapid.Bool().Draw(rt, "again, with metadata") {
			g.Response = append(g.Response[:len(g.Response)-1], `,"createdAt":"2026-01-01"}`...)
		}
		put(t, db, g)
		wantRecord(t, db, g)
	})
	if forms := count(t, db, `SELECT count(*) FROM forms`); forms == 0 || forms > 512 {
		t.Errorf("%d forms", forms)
	}
}

func TestTheUsualAnswerIsStoredOnceForAll(t *testing.T) {
	db, root := openNew(t)
	for i := range 100 {
		put(t, db, usual(root.ID, fmt.Sprintf("%d.jpg", i)))
	}
	if forms, whole := count(t, db, `SELECT count(*) FROM forms`), count(t, db, `SELECT count(*) FROM responses`); forms != 1 || whole != 0 {
		t.Errorf("%d forms and %d whole answers instead of 1 and none", forms, whole)
	}
}

func TestAnAnswerThatGetsAFormIsNotKeptTwice(t *testing.T) {
	db, root := openNew(t)
	f := usual(root.ID, "a.jpg")
	f.Response = append(f.Response[:len(f.Response)-1], `,"createdAt":"2026-01-01"}`...)
	put(t, db, f)
	if n := count(t, db, `SELECT count(*) FROM responses`); n != 1 {
		t.Fatalf("%d whole answers instead of 1", n)
	}
	put(t, db, usual(root.ID, "a.jpg"))
	if n := count(t, db, `SELECT count(*) FROM responses`); n != 0 {
		t.Errorf("%d whole answers instead of none", n)
	}
	wantRecord(t, db, usual(root.ID, "a.jpg"))
}

func TestThereAreNotEverMoreForms(t *testing.T) {
	db, root := openNew(t)
	for i := range 600 {
		f := usual(root.ID, fmt.Sprintf("%d.jpg", i))
		f.Response = append(f.Response[:len(f.Response)-1], fmt.Sprintf(`,"tags":["%d"]}`, i)...)
		put(t, db, f)
		if i%100 == 99 {
			wantRecord(t, db, f)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM forms`); n != 512 {
		t.Errorf("%d forms", n)
	}
}

func TestAFormOfATransactionThatFailedIsNotTakenForOne(t *testing.T) {
	db, root := openNew(t)
	failed := fmt.Errorf("on purpose")
	err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		if err := tx.PutFile(usual(root.ID, "a.jpg")); err != nil {
			return err
		}
		return failed
	})
	if err != failed {
		t.Fatal(err)
	}
	put(t, db, usual(root.ID, "b.jpg"))
	wantRecord(t, db, usual(root.ID, "b.jpg"))
}

func TestAnAssetThatMovesTakesItsAnswerAlong(t *testing.T) {
	for name, extra := range map[string]string{"with a form": "", "without": `,"createdAt":"2026-01-01"`} {
		t.Run(name, func(t *testing.T) {
			db, root := openNew(t)
			f := usual(root.ID, "2025/a.jpg")
			f.Response = append(f.Response[:len(f.Response)-1], extra+"}"...)
			put(t, db, f)
			for _, base := range []string{"https://ik.imagekit.io/demo", "https://elsewhere"} {
				f.RemotePath, f.Name = "/photos/2026/b.jpg", "b.jpg"
				f.URL, f.ThumbnailURL = base+f.RemotePath, base+"/tr:n-ik_ml_thumbnail"+f.RemotePath
				f.Response = answer(f)
				f.Response = append(f.Response[:len(f.Response)-1], extra+"}"...)
				err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
					was, err := tx.FileAt(root.ID, f.Path)
					if err != nil {
						return err
					}
					return tx.MoveAsset(was, f.RemotePath, f.URL, f.ThumbnailURL)
				})
				if err != nil {
					t.Fatal(err)
				}
				wantRecord(t, db, f)
			}
			// A new version, as ImageKit tells of it.
			f.VersionID = strings.Repeat("9", 24)
			f.Response = answer(f)
			err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
				was, err := tx.FileAt(root.ID, f.Path)
				if err != nil {
					return err
				}
				was.VersionID, was.Response = f.VersionID, f.Response
				return tx.PutAsset(was)
			})
			if err != nil {
				t.Fatal(err)
			}
			wantRecord(t, db, f)
		})
	}
}
