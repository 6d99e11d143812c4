package state_test

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// column is a column of the state file.
type column struct{ table, name, kind string }

func (c column) is(table, name string) bool { return c.table == table && c.name == name }

// rowsRig is a state file with a row in every table, and its columns.
type rowsRig struct {
	db      *state.DB
	q       *queue.Queue
	tables  []string // in the order in which they can be filled
	columns []column
}

// newRowsRig fills a state file.
func newRowsRig(t testing.TB) *rowsRig {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	r := &rowsRig{db: db, tables: []string{"roots", "forms", "files", "responses", "jobs", "intents", "removed", "folders", "aliases", "survey", "seen", "ignored", "attempts"}}
	r.q = queue.New(db, func(remote, path string, n int) string { return fmt.Sprint(remote, n) })
	for _, table := range r.tables {
		rows, err := db.Query(t.Context(), `SELECT name, type FROM pragma_table_info(?)`, table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			c := column{table: table}
			if err := rows.Scan(&c.name, &c.kind); err != nil {
				t.Fatal(err)
			}
			r.columns = append(r.columns, c)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.columns) < 80 {
		t.Fatalf("the tables have the columns %v", r.columns)
	}
	return r
}

// fill brings the tables to where they begin, and then damages them.
func (r *rowsRig) fill(t testing.TB, damage func(*state.Tx) error) {
	t.Helper()
	err := r.db.Write(t.Context(), state.Relaxed, func(tx *state.Tx) error {
		for _, table := range slices.Backward(r.tables) {
			if err := tx.Exec(`DELETE FROM ` + table); err != nil {
				return err
			}
		}
		for _, insert := range []string{
			`INSERT INTO roots (id, path, folder, created_at, scanned_at) VALUES (1, x'2f61', '/a', 1, 9)`,
			`INSERT INTO forms (id, url_base, thumbnail_base, file_type, body) VALUES (1, 'https://h/d', 'https://h/d/tr:t', 'image', '{"fileId":"' || char(1) || '","size":' || char(14) || '}')`,
			`INSERT INTO files (id, root_id, path, size, mtime_ns, ctime_ns, dev, ino, hash, file_id, version_id, name, remote_path, url, thumbnail_url, width, height, file_type, uploaded_at, checked_at, absent, absent_at, astray, form)
				VALUES (1, 1, x'642f31', 7, 11, 13, 17, 19, zeroblob(16), 'f1', 'v', '1', '/a/d/1', 'u', '', 1, 1, 'image', 1, 1, 0, 0, 0, NULL),
				       (2, 1, x'642f32', 8, 11, 13, 17, 20, zeroblob(16), 'f2', '', '', '/a/d/2', '', '', 1, 1, '', 1, 1, 1, 1, 1, 1)`,
			`INSERT INTO responses (file_id, body) VALUES (1, x'7b7d')`,
			`INSERT INTO jobs (id, root_id, path, gen, state, leased, priority, not_before, attempts, size, mtime_ns, ctime_ns, dev, ino, remote_path, class, reason, request_id, created_at, updated_at, donor, move)
				VALUES (1, 1, x'642f31', 1, 0, 0, 0, 0, 0, 9, 1, 1, 1, 1, '/a/d/1', '', '', '', 1, 1, NULL, 0),
				       (2, 1, x'652f33', 1, 0, 0, 0, 0, 0, 7, 11, 13, 17, 19, '/a/e/3', '', '', '', 1, 1, 1, 2)`,
			`INSERT INTO intents (id, kind, file, source, target, job, from_root, from_path, to_root, to_path, approved, created_at) VALUES (1, 2, NULL, '/x', '/y', '', 1, x'78', 1, x'79', 0, 1)`,
			`INSERT INTO removed (id, root_id, path, file_id, remote_path, trash_path, size, hash, approved, removed_at) VALUES (1, 1, x'72', 'f9', '/a/r', '', 1, zeroblob(16), 0, 1)`,
			`INSERT INTO folders (path, made, emptied) VALUES ('/a/d', 1, 1)`,
			`INSERT INTO aliases (id, root_id, path, of, size, mtime_ns, ctime_ns, dev, ino, hash, remote_path) VALUES (1, 1, x'642f34', 1, 7, 1, 1, 1, 1, zeroblob(16), '/a/d/4')`,
			`INSERT INTO survey (root_id, folder, listed) VALUES (1, '/a', 0)`,
			`INSERT INTO seen (file) VALUES (2)`,
		} {
			if err := tx.Exec(insert); err != nil {
				return err
			}
		}
		return damage(tx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drain reads a sequence to its end.
func drain[T any](seq iter.Seq2[T, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// reads calls everything that reads rows, those last that also change them. path
// and remote are what to look for.
func (r *rowsRig) reads(ctx context.Context, path, remote string) map[string]error {
	db, q, roots := r.db, r.q, []int64{1}
	errs := make(map[string]error)
	note := func(what string, err error) {
		if err != nil {
			errs[what] = err
		}
	}
	errOf := func(_ any, err error) error { return err }
	note("DB.Files", drain(db.Files(ctx, 0, true)))
	note("DB.Files without answers", drain(db.Files(ctx, 1, false)))
	note("DB.FileAt", errOf(db.FileAt(ctx, 1, path)))
	note("DB.FileByID", errOf(db.FileByID(ctx, 1)))
	note("DB.Aliases", drain(db.Aliases(ctx, 0)))
	note("DB.FilesBelow", drain(db.FilesBelow(ctx, 1, "d")))
	note("DB.RemoteOwner", errOf(db.RemoteOwner(ctx, remote)))
	note("DB.FilesWhere", drain(db.FilesWhere(ctx, `f.absent <> 0`)))
	note("DB.FileByAsset", errOf(db.FileByAsset(ctx, "f1")))
	note("DB.Roots", errOf(db.Roots(ctx)))
	_ = db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		note("Tx.FileAt", errOf(tx.FileAt(1, path)))
		note("Tx.FileByID", errOf(tx.FileByID(2)))
		note("Tx.RemoteOwner", errOf(tx.RemoteOwner(remote)))
		note("Tx.FilesWhere", errOf(tx.FilesWhere(`f.size > ?`, 7)))
		return nil
	})
	for _, dir := range []string{"", "d"} {
		after, more := "", true
		for pages := 0; more; pages++ {
			known, next, err := q.KnownBelow(ctx, 1, dir, after, 4)
			note("Queue.KnownBelow", err)
			if err == nil && pages > 10 {
				err = fmt.Errorf("%d pages of 5 rows have no end", pages)
				note("Queue.KnownBelow", err)
			}
			if more = next && err == nil; more {
				after = known[len(known)-1].Path
			}
		}
	}
	note("Queue.Lookup", errOf(q.Lookup(ctx, 1, []string{path, "d/1"})))
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Failed, queue.Held, -1} {
		note("Queue.List", drain(q.List(ctx, roots, s)))
	}
	note("Queue.Depths", errOf(q.Depths(ctx, roots)))
	note("Queue.Intents", errOf(q.Intents(ctx)))
	note("Queue.IsAstray", errOf(q.IsAstray(ctx, &state.File{ID: 2})))
	note("Queue.HasMoves", errOf(q.HasMoves(ctx, roots)))
	note("Queue.Reserved", errOf(q.Reserved(ctx, remote)))
	note("Queue.IsDonor", errOf(q.IsDonor(ctx, 1, path)))
	note("Queue.AbsentFiles", drain(q.AbsentFiles(ctx, 1)))
	note("Queue.Standing", errOf(q.Standing(ctx, 1)))
	note("Queue.Unseen", drain(q.Unseen(ctx, 1)))
	note("Queue.Sample", drain(q.Sample(ctx, 1, 5)))
	note("Queue.FoldersToSend", errOf(q.FoldersToSend(ctx, 1, 5, func(remote string) string { return remote })))
	note("Queue.FilesBelow", drain(q.FilesBelow(ctx, queue.Place{RootID: 1, Path: "d"})))
	note("Queue.FilesUnder", drain(q.FilesUnder(ctx, "/a/d")))
	note("Queue.KnowsFolder", errOf(q.KnowsFolder(ctx, "/a/d")))
	note("Queue.MadeFolder", errOf(q.MadeFolder(ctx, "/a/d")))
	note("Queue.EmptiedFolders", errOf(q.EmptiedFolders(ctx, "/a")))
	note("Queue.QuietFolders", errOf(q.QuietFolders(ctx, "/a", queue.Clock{Boot: "b"}, time.Minute, 5)))
	note("Queue.HasAside", errOf(q.HasAside(ctx)))
	note("Queue.SomeOf", errOf(q.SomeOf(ctx, "/a/d")))
	note("Queue.SameContent", errOf(q.SameContent(ctx, state.Hash{}, 7, "1")))
	note("Queue.Tree", q.Tree(ctx, &queue.Tree{From: queue.Place{RootID: 1, Path: "d"}, To: queue.Place{RootID: 1, Path: "e"}, Source: "/a/d", Target: "/a/e"}))
	note("Queue.Astray", errOf(q.Astray(ctx, roots)))
	note("Queue.MatchAll", errOf(q.MatchAll(ctx, []queue.Found{{Location: queue.Location{RemotePath: remote}, Size: 7}})))
	note("Queue.NextFolder", errOf(q.NextFolder(ctx, 1, "/a")))
	note("Queue.MoveOf", errOf(q.MoveOf(ctx, 1)))
	for what, next := range map[string]func(context.Context, []int64) (*queue.Move, time.Time, error){"Queue.Undecided": q.Undecided, "Queue.NextMove": q.NextMove} {
		_, _, err := next(ctx, roots)
		note(what, err)
	}
	note("Queue.Due", errOf(q.Due(ctx, queue.Removal{RootID: 1, Gone: true, Filtered: true, MaxFiles: 5, Limit: 5})))
	note("Queue.ClaimOne", errOf(q.ClaimOne(ctx, 1, path, time.Hour)))
	_, _, err := q.ClaimMixed(ctx, roots, 8, 8, time.Hour)
	note("Queue.ClaimMixed", err)
	note("Queue.Recover", errOf(q.Recover(ctx)))
	return errs
}

// FuzzRows writes any values into any columns of a state file, as far as its
// schema lets them in, and reads them in every way there is: nothing panics, an
// error names the column or the record, and a path comes back byte by byte.
func FuzzRows(f *testing.F) {
	r := newRowsRig(f)
	r.fill(f, func(*state.Tx) error { return nil })
	if errs := r.reads(f.Context(), "d/1", "/a/d/1"); len(errs) > 0 {
		f.Fatalf("without any damage: %v", errs)
	}
	seeds := map[string][]struct {
		kind byte
		n    int64
		b    []byte
	}{
		"INTEGER": {{kind: 0, n: -1 << 63}, {kind: 0, n: 2}},
		"TEXT":    {{kind: 1, b: []byte("a\x00\xff/\n")}, {kind: 1, b: []byte{}}},
		"BLOB":    {{kind: 2, b: []byte("a\x00\xff/\n")}, {kind: 2, b: make([]byte, 17)}, {kind: 2, b: []byte("d/1")}, {kind: 4}},
	}
	for i, c := range r.columns {
		for j, seed := range seeds[c.kind] {
			// The second damage is NULL, which few columns let in, or a largest number.
			f.Add(byte(i), seed.kind, seed.n, seed.b, byte(i+1+j), 3*byte(j%2), int64(1<<63-1), []byte{})
		}
	}
	f.Fuzz(func(t *testing.T, at1, kind1 byte, n1 int64, b1 []byte, at2, kind2 byte, n2 int64, b2 []byte) {
		var damaged []column
		var path, remote = "d/1", "/a/d/1"
		r.fill(t, func(tx *state.Tx) error {
			damage := func(at, kind byte, n int64, b []byte) {
				c := r.columns[int(at)%len(r.columns)]
				var value any
				switch kind % 5 {
				case 0:
					value = n
				case 1:
					value = string(b)
				case 2:
					value = slices.Concat(b) // not nil, which would be NULL
				case 3:
					value = nil
				case 4:
					value = make([]byte, 1<<20+len(b))
				}
				where := ` WHERE rowid = (SELECT min(rowid) FROM ` + c.table + `)`
				if kind&0x40 != 0 {
					where = ` WHERE rowid = (SELECT max(rowid) FROM ` + c.table + `)`
				}
				if c.table == "survey" {
					where = ""
				}
				if tx.Exec(`UPDATE `+c.table+` SET `+c.name+` = ?`+where, value) != nil {
					return // the schema does not let it in
				}
				damaged = append(damaged, c)
				switch {
				case c.is("files", "path") && kind&0x40 == 0:
					path = fmt.Sprintf("%s", value)
				case c.is("files", "remote_path") && kind&0x40 == 0:
					remote = fmt.Sprint(value)
				}
			}
			damage(at1, kind1, n1, b1)
			damage(at2, kind2, n2, b2)
			return nil
		})
		found, err := r.db.FileAt(t.Context(), 1, path)
		if err == nil && (found == nil || found.Path != path) && !slices.ContainsFunc(damaged, func(c column) bool { return c.is("files", "root_id") }) {
			t.Errorf("the record of %q is %+v", path, found)
		}
		for reader, err := range r.reads(t.Context(), path, remote) {
			if strings.Contains(err.Error(), "integer overflow") { // of a sum, to which many rows belong
				continue
			}
			if !slices.ContainsFunc(damaged, func(c column) bool { return strings.Contains(err.Error(), c.name) }) {
				t.Errorf("%s, after damage to %v: the error %q does not name the column", reader, damaged, err)
			}
			if reader == "DB.Files" && !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) && !strings.Contains(err.Error(), `"d/`) {
				t.Errorf("%s, after damage to %v: the error %q does not name the record", reader, damaged, err)
			}
		}
	})
}
