package state_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// statement is one that the writer ran.
type statement struct {
	query string
	args  []any
}

// BenchmarkClaimComplete is what a pool of workers makes of the queue: jobs are
// claimed in batches and their files recorded, durably. "bare" issues the same
// statements, which one run of the other has told, on a copy of the same file: no
// queue, no writer, no hand-over.
func BenchmarkClaimComplete(b *testing.B) {
	b.Run("queue", func(b *testing.B) {
		w := newBacklog(b)
		db := w.open()
		defer db.Close()
		b.ReportAllocs()
		b.ResetTimer()
		w.drain(db)
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	})
	b.Run("bare", func(b *testing.B) {
		w := newBacklog(b)
		statements := w.tell()
		db := w.open()
		defer db.Close()
		conn := state.Bare(db)
		prepared := make(map[string]*sql.Stmt)
		defer func() {
			for _, stmt := range prepared {
				w.must(stmt.Close())
			}
		}()
		b.ReportAllocs()
		b.ResetTimer()
		for _, s := range statements {
			stmt := prepared[s.query]
			if stmt == nil {
				var err error
				stmt, err = conn.PrepareContext(b.Context(), s.query)
				w.must(err)
				prepared[s.query] = stmt
			}
			if err := s.run(stmt); err != nil {
				b.Fatalf("%s: %v", s.query, err)
			}
		}
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		w.drained(db)
	})
}

// backlog is a state file with b.N jobs, of which each run gets a copy.
type backlog struct {
	*testing.B
	file   string
	root   int64
	opened int
}

func newBacklog(b *testing.B) *backlog {
	w := &backlog{B: b, file: filepath.Join(b.TempDir(), "backlog.db")}
	db, err := state.Open(b.Context(), w.file)
	w.must(err)
	defer db.Close()
	root, err := db.EnsureRoot(b.Context(), "/photos", "/")
	w.must(err)
	w.root = root.ID
	q := queue.New(db, nil)
	var changes []queue.Change
	for i := range b.N {
		path := fmt.Sprintf("%03d/photo%06d.jpg", i/1000, i)
		changes = append(changes, queue.Change{RootID: root.ID, Path: path, Remote: "/" + path,
			Stat: state.Stat{Size: 2048, MtimeNs: 1e18 + int64(i), CtimeNs: 1e18 + int64(i), Dev: 1, Ino: uint64(i + 1)}})
	}
	for some := range slices.Chunk(changes, 1000) {
		_, err := q.Enqueue(b.Context(), some)
		w.must(err)
	}
	return w
}

func (w *backlog) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// open opens a fresh copy.
func (w *backlog) open() *state.DB {
	content, err := os.ReadFile(w.file)
	w.must(err)
	w.opened++
	file := filepath.Join(filepath.Dir(w.file), fmt.Sprint("copy", w.opened, ".db"))
	w.must(os.WriteFile(file, content, 0o600))
	db, err := state.Open(w.Context(), file)
	w.must(err)
	return db
}

// tell drains a copy and returns what was run for that.
func (w *backlog) tell() (told []statement) {
	db := w.open()
	defer db.Close()
	w.must(state.Tell(w.Context(), db, func(query string, args []any) { told = append(told, statement{query, slices.Clone(args)}) }))
	w.drain(db)
	w.must(state.Tell(w.Context(), db, nil))
	// The first is the end of the transaction that began to tell, the last the begin of
	// the one that ended it.
	if len(told) < 4 || told[0].query != "COMMIT" || told[len(told)-1].query != "BEGIN IMMEDIATE" {
		w.Fatalf("%d statements were told", len(told))
	}
	return told[1 : len(told)-1]
}

// drain claims and completes all there is, as a pool does: the next jobs are claimed
// while these are worked on. It returns when all would survive a power cut.
func (w *backlog) drain(db *state.DB) {
	const claimed = 64
	q := queue.New(db, nil)
	outcomes := make(chan error, w.N)
	done := func(err error) { outcomes <- err }
	batches := make(chan []queue.Job, 1)
	go func() {
		defer close(batches)
		for n := 0; n < w.N; {
			jobs, _, err := q.Claim(w.Context(), []int64{w.root}, claimed, time.Hour)
			if err != nil || len(jobs) == 0 {
				w.Errorf("%d jobs of %d were to be had: %v", n, w.N, err)
				return
			}
			n += len(jobs)
			batches <- jobs
		}
	}()
	completed := 0
	for jobs := range batches {
		for i := range jobs {
			j := &jobs[i]
			id := fmt.Sprintf("%024x", 1<<40+j.ID*2)
			url := "https://ik.imagekit.io/demo" + j.RemotePath
			q.Complete(j, &state.File{
				RootID: j.RootID, Path: j.Path, Stat: j.Stat, Hash: state.Hash{1, byte(j.ID >> 16), byte(j.ID >> 8), byte(j.ID)},
				FileID: id, VersionID: fmt.Sprintf("%024x", 1<<40+j.ID*2+1), Name: filepath.Base(j.RemotePath), RemotePath: j.RemotePath, URL: url,
				FileType: "image", Response: fmt.Appendf(nil, `{"fileId":%q,"filePath":%q,"url":%q}`, id, j.RemotePath, url),
				UploadedAt: time.UnixMilli(1e12), CheckedAt: time.UnixMilli(1e12),
			}, done)
		}
		completed += len(jobs)
	}
	w.must(db.Write(w.Context(), state.Durable, func(*state.Tx) error { return nil }))
	for range completed {
		w.must(<-outcomes)
	}
	w.drained(db)
}

// drained proves that all was done.
func (w *backlog) drained(db *state.DB) {
	var files, jobs int
	rows, err := db.Query(w.Context(), `SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM jobs)`)
	w.must(err)
	defer rows.Close()
	if !rows.Next() {
		w.Fatal(rows.Err())
	}
	if w.must(rows.Scan(&files, &jobs)); files != w.N || jobs != 0 {
		w.Fatalf("there are %d records and %d jobs, should be %d and none", files, jobs, w.N)
	}
}

// run runs the statement, and reads what it gives if it is one that does.
func (s *statement) run(stmt *sql.Stmt) error {
	query := strings.TrimSpace(s.query)
	if !strings.HasPrefix(query, "SELECT") && !strings.HasPrefix(query, "WITH") && !strings.Contains(query, "RETURNING") {
		_, err := stmt.Exec(s.args...)
		return err
	}
	rows, err := stmt.Query(s.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}
