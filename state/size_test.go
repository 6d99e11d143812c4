package state_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestASizeThatTheLibraryChangesComesBackWithItsAnswer(t *testing.T) {
	db, root := openNew(t)
	for i, form := range []bool{true, false} {
		f := usual(root.ID, fmt.Sprintf("2026/%d.jpg", i))
		f.SetStoredSize(f.Stat.Size + 40)
		sized := *f
		sized.Stat.Size, sized.StoredSize = f.LibrarySize(), nil
		f.Response = answer(&sized)
		if !form {
			f.Response = append(f.Response[:len(f.Response)-1], `,"metadata":{"size":"small"}}`...)
		}
		put(t, db, f)
		wantRecord(t, db, f)
		f.SetStoredSize(f.Stat.Size)
		f.Response = answer(f)
		put(t, db, f)
		wantRecord(t, db, f)
	}
	if n := count(t, db, `SELECT count(*) FROM forms`); n != 1 {
		t.Errorf("the answers for files of two sizes have %d forms", n)
	}
}

// Records that were made before the two sizes were apart have the library's in the answer.
func TestTheMigrationTakesStoredSizesFromTheAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	scripts, err := filepath.Glob("migrations/000[1-4]_*.sql")
	if err != nil || len(scripts) != 4 {
		t.Fatal(scripts, err)
	}
	slices.Sort(scripts)
	var statements []string
	for _, name := range scripts {
		script, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, string(script))
	}
	record := func(id int, size int, form string) string {
		return fmt.Sprintf(`INSERT INTO files (id, root_id, path, size, mtime_ns, ctime_ns, dev, ino, hash, file_id, version_id, name, remote_path, url, thumbnail_url, width, height, file_type, uploaded_at, checked_at, form)
			VALUES (%d, 1, CAST('%d' AS BLOB), %d, 1, 1, 1, 1, randomblob(16), 'f%d', 'v', 'n', '/%d', 'u', '', 0, 0, 'image', 1, 1, %s)`, id, id, size, id, id, form)
	}
	statements = append(statements,
		`INSERT INTO roots (id, path, folder, created_at) VALUES (1, CAST('/photos' AS BLOB), '/', 1)`,
		`INSERT INTO forms (id, url_base, file_type, body) VALUES (1, '', 'image', '{"name":"'||char(3)||'","size":'||char(14)||',"a":1}'), (2, '', 'image', '{"name":"'||char(3)||'","size":70}')`,
		record(1, 50, "1"), record(2, 50, "2"), record(3, 70, "2"),
		record(4, 50, "NULL"), record(5, 50, "NULL"), record(6, 50, "NULL"), record(7, 50, "NULL"),
		`INSERT INTO responses (file_id, body) VALUES (4, CAST('{"size":60}' AS BLOB)), (5, CAST('{"size":50}' AS BLOB)), (6, CAST('no JSON' AS BLOB))`,
		`PRAGMA application_id = 0x696b7379`, `PRAGMA user_version = 4`)
	raw(t, path, statements...)
	db := open(t, path)
	want := map[string]int64{"1": 50, "2": 70, "3": 70, "4": 60, "5": 50, "6": 50, "7": 50}
	for f, err := range db.Files(t.Context(), 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		if f.LibrarySize() != want[f.Path] || (f.StoredSize != nil) != (f.LibrarySize() != f.Stat.Size) {
			t.Errorf("the record %s has the size %d, and %v in the library", f.Path, f.Stat.Size, f.StoredSize)
		}
		delete(want, f.Path)
		var body struct{ Size int64 }
		if json.Unmarshal(f.Response, &body) == nil && body.Size != f.LibrarySize() {
			t.Errorf("the answer of %s tells %d bytes: %s", f.Path, body.Size, f.Response)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
