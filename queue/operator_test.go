package queue_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

func TestAPauseLastsAcrossRestartsAndUntilItsTime(t *testing.T) {
	f := open(t)
	other := f.ensureRoot("/other")
	if f.q.PausedUntil(f.root) != nil {
		t.Error("it is paused from the start")
	}
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	f.must(f.q.Pause(t.Context(), []int64{f.root}, until))
	f.must(f.q.Pause(t.Context(), []int64{other}, time.Time{}))
	for _, when := range []string{"at once", "after a restart"} {
		if p := f.q.PausedUntil(f.root); p == nil || !p.Until.Equal(until) {
			t.Errorf("%s: %v, should be paused until %v", when, p, until)
		}
		if p := f.q.PausedUntil(other); p == nil || !p.Until.IsZero() {
			t.Errorf("%s: %v, should be paused until it is resumed", when, p)
		}
		pauses, err := f.q.Pauses(t.Context())
		f.must(err)
		if len(pauses) != 2 {
			t.Errorf("%s: the file has %d pauses", when, len(pauses))
		}
		f.reopen()
		_, err = f.q.Recover(t.Context())
		f.must(err)
	}
	f.must(f.q.Resume(t.Context(), []int64{other}))
	f.must(f.q.Pause(t.Context(), []int64{f.root}, time.Now().Add(-time.Second)))
	for _, id := range []int64{f.root, other} {
		if p := f.q.PausedUntil(id); p != nil {
			t.Errorf("%d is paused: %v", id, p)
		}
	}
	if pauses, err := f.q.Pauses(t.Context()); err != nil || len(pauses) != 0 {
		t.Errorf("the file has %v, %v", pauses, err)
	}
}

func (f *fixture) ignore(path string) int64 {
	f.Helper()
	n, err := f.q.Ignore(f.Context(), queue.Place{RootID: f.root, Path: path})
	f.must(err)
	return n
}

func (f *fixture) ignored() (paths []string) {
	f.Helper()
	for i, err := range f.q.IgnoredFiles(f.Context()) {
		f.must(err)
		paths = append(paths, i.Path)
	}
	return paths
}

func (f *fixture) held() (classes []string) {
	f.Helper()
	for it, err := range f.q.List(f.Context(), []int64{f.root}, queue.Held) {
		f.must(err)
		classes = append(classes, it.Path+": "+it.Class)
	}
	slices.Sort(classes)
	return classes
}

// What is left out stays so, whatever happens to its file, until it is taken up again.
func TestWhatIsIgnoredIsNotSent(t *testing.T) {
	f := open(t)
	f.upload("recorded", 1)
	f.enqueue(f.change("d/a", 1), f.change("d/b", 1), f.change("e", 1))
	if n := f.ignore("d"); n != 2 {
		t.Errorf("of the directory %d are left out", n)
	}
	if n := f.ignore("recorded"); n != 1 {
		t.Errorf("of the recorded file %d are left out", n)
	}
	for _, path := range []string{"d", "recorded", "nothing"} {
		if n := f.ignore(path); n != 0 {
			t.Errorf("%s again: %d", path, n)
		}
	}
	f.reopen()
	if _, err := f.q.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.enqueue(f.change("d/a", 2), f.change("recorded", 2), f.change("d/new", 1))
	jobs := f.claim(10)
	if got := pathsOf(jobs); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"d/new", "e"}) {
		t.Errorf("%q are sent", got)
	}
	if got, want := f.held(), []string{"d/a: ignored", "d/b: ignored", "recorded: ignored"}; !slices.Equal(got, want) {
		t.Errorf("held are %q, should be %q", got, want)
	}
	if got, want := f.ignored(), []string{"d/a", "d/b", "recorded"}; !slices.Equal(got, want) {
		t.Errorf("left out are %q, should be %q", got, want)
	}
	for _, c := range []struct {
		path string
		want int64
	}{{"d/a", 1}, {"d/a", 0}, {"", 2}} {
		if n, err := f.q.Unignore(t.Context(), queue.Place{RootID: f.root, Path: c.path}); err != nil || n != c.want {
			t.Errorf("%q: %d are taken up again, %v; should be %d", c.path, n, err, c.want)
		}
	}
	f.enqueue(f.change("d/a", 2), f.change("d/b", 1), f.change("recorded", 2)) // as the scan does
	if got := pathsOf(f.claim(10)); len(got) != 3 {
		t.Errorf("%q are sent after that", got)
	}
}

// One that a worker has may come; after that it is left out.
func TestAnUploadThatIsIgnoredMeanwhile(t *testing.T) {
	for name, end := range map[string]func(f *fixture, job queue.Job){
		"succeeds": func(f *fixture, job queue.Job) { f.complete(job) },
		"fails": func(f *fixture, job queue.Job) {
			f.fail(job, queue.Failure{Class: "transient", Reason: "no", NotBefore: time.Now()})
		},
		"is given back": func(f *fixture, job queue.Job) { f.fail(job, queue.Failure{Free: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			f.enqueue(f.change("a", 1))
			job := f.claimOne()
			if n := f.ignore("a"); n != 1 {
				t.Errorf("%d are left out", n)
			}
			end(f, job)
			f.enqueue(f.change("a", 2))
			if jobs := f.claim(10); len(jobs) != 0 {
				t.Errorf("%q are sent", pathsOf(jobs))
			}
			if got := f.held(); !slices.Equal(got, []string{"a: ignored"}) {
				t.Errorf("held are %q", got)
			}
		})
	}
}

func TestTheHistoryOfAPath(t *testing.T) {
	f := open(t)
	place := func(path string) queue.Place { return queue.Place{RootID: f.root, Path: path} }
	read := func(path string) *queue.History {
		t.Helper()
		h, err := f.q.History(t.Context(), place(path))
		f.must(err)
		return h
	}
	if h := read("nothing"); h.Record != nil || h.Job != nil || len(h.Attempts) != 0 || !h.Ignored.IsZero() {
		t.Errorf("of nothing it knows %+v", h)
	}
	f.enqueue(f.change("a", 1))
	for i := range 25 {
		job := f.claimOne()
		job.Began = time.UnixMilli(int64(1000 + i))
		f.fail(job, queue.Failure{Class: "transient", Reason: fmt.Sprint("no ", i), RequestID: "r", NotBefore: time.Now()})
	}
	h := read("a")
	if len(h.Attempts) != 20 || h.Attempts[0].Reason != "no 5" || h.Attempts[19].Reason != "no 24" || h.Attempts[19].Began != time.UnixMilli(1024) || h.Attempts[19].RequestID != "r" {
		t.Errorf("the attempts are %+v", h.Attempts)
	}
	if h.Job == nil || h.Job.Attempts != 25 || h.Job.Class != "transient" {
		t.Errorf("the job is %+v", h.Job)
	}
	f.complete(f.claimOne())
	if h := read("a"); h.Record == nil || h.Job != nil || len(h.Attempts) != 20 {
		t.Errorf("after the upload %+v", h)
	}
	f.ignore("a")
	if h := read("a"); h.Ignored.IsZero() {
		t.Error("it is left out, and nobody says so")
	}
}

func TestTheHistoryTellsWhereAFileIsByNow(t *testing.T) {
	f := recorded(t, "old", "gone", "gone too")
	f.enqueue(f.renamed("old", "dir/new", sameInode))
	h, err := f.q.History(t.Context(), queue.Place{RootID: f.root, Path: "old"})
	f.must(err)
	if want := "/photos/dir/new"; h.MovesTo != want {
		t.Errorf("its asset is to move to %q, not to %q", h.MovesTo, want)
	}
	f.absent(state.Gone, "gone", "gone too")
	for path, trash := range map[string]string{"gone": "/trash/gone", "gone too": ""} {
		record := f.record(path)
		i := &queue.Intent{Kind: queue.TrashFile, File: record.ID, Source: record.RemotePath, Target: trash}
		f.must(f.q.Intend(t.Context(), i))
		f.must(f.q.Removed(t.Context(), i, trash))
		h, err := f.q.History(t.Context(), queue.Place{RootID: f.root, Path: path})
		f.must(err)
		if r := h.Removed; h.Record != nil || r == nil || r.FileID != record.FileID || r.RemotePath != record.RemotePath || r.TrashPath != trash || r.At.IsZero() {
			t.Errorf("of %s was removed %+v", path, r)
		}
		for _, name := range []string{record.FileID, record.RemotePath, trash} {
			r, err := f.q.RemovedAsset(t.Context(), name)
			f.must(err)
			if found := r != nil && r.Path == path; found != (name != "") {
				t.Errorf("with %q was removed %+v", name, r)
			}
		}
	}
}

// The counts and the pages of what fails agree, whatever the states.
func TestWhatFailsIsCountedAndListedByClass(t *testing.T) {
	f := open(t)
	want := make(map[string]bool)
	for i := range 25 {
		path := fmt.Sprintf("p/%02d", i)
		f.enqueue(f.change(path, 1))
		class := []string{"file", "transient", "account"}[i%3]
		f.fail(f.claimOne(), queue.Failure{Class: class, Reason: "no", Dead: class == "file", NotBefore: time.Now().Add(time.Hour)})
		want[path] = true
	}
	f.enqueue(queue.Change{RootID: f.root, Path: "empty", Hold: "it is empty", HoldClass: "empty"}, f.change("new", 1))
	all, err := f.q.ByClass(t.Context())
	f.must(err)
	c := all[f.root]
	if c.Failing["file"] != 9 || c.Failing["transient"] != 8 || c.Failing["account"] != 8 || c.Again != 16 || c.Held["empty"] != 1 || len(c.Held) != 1 {
		t.Errorf("counted are %+v", c)
	}
	backlogs, err := f.q.Backlogs(t.Context())
	f.must(err)
	if b := backlogs[f.root]; b.Jobs != 17 || b.Oldest.IsZero() {
		t.Errorf("the backlog is %+v", b)
	}
	var classes []string
	after := queue.Cursor{}
	for {
		page, err := f.q.FailingPage(t.Context(), after, 4)
		f.must(err)
		if len(page) == 0 {
			break
		}
		for _, it := range page {
			if !want[it.Path] {
				t.Errorf("%s is listed twice, or does not fail", it.Path)
			}
			delete(want, it.Path)
			classes = append(classes, it.Class)
		}
		after = page[len(page)-1].After()
	}
	if len(want) > 0 || !slices.IsSorted(classes) {
		t.Errorf("not listed are %v; the classes are in the order %q", want, classes)
	}
}

func TestSearchFindsByAllThatAFileIsKnownBy(t *testing.T) {
	f := open(t)
	f.upload("album/summer 1.jpg", 1)
	f.upload("album/summer 2.jpg", 1)
	f.enqueue(f.change("album/summer 3.jpg", 1))
	for text, want := range map[string]int{"summer": 3, "summer 2": 1, "/album/summer 1.jpg": 1, "album/summer 1.jpg@1": 1, "100%": 0, "": 0} {
		hits, more, err := f.q.Search(t.Context(), text, 10)
		if err != nil || more || len(hits) != want {
			t.Errorf("%q finds %v, %v, %v; should find %d", text, hits, more, err, want)
		}
	}
	if hits, more, err := f.q.Search(t.Context(), "summer", 2); err != nil || !more || len(hits) != 2 {
		t.Errorf("of three it gives %v, %v, %v", hits, more, err)
	}
}

// The view is for everybody's queries: its columns stay.
func TestTheViewOfTheRecords(t *testing.T) {
	f := open(t)
	f.upload("a.jpg", 1)
	rows, err := f.db.Query(t.Context(), `SELECT * FROM iksync_files`)
	f.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	f.must(err)
	const want = "root local_path remote_path file_id version_id name url thumbnail_url size hash width height file_type modified_at uploaded_at checked_at gone response proven"
	if got := strings.Join(columns, " "); got != want {
		t.Errorf("the columns are\n%s, should be\n%s", got, want)
	}
	if !rows.Next() {
		t.Fatal("no row")
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	f.must(rows.Scan(into...))
	row := make(map[string]string)
	for i, c := range columns {
		row[c] = values[i].String
	}
	for column, want := range map[string]string{"root": "/photos", "local_path": "a.jpg", "remote_path": "/a.jpg", "file_id": "a.jpg@1", "size": "101", "gone": "",
		"uploaded_at": "1970-01-01T00:00:00.001Z", "response": "{}", "hash": "01010000000000000000000000000000"} {
		if row[column] != want {
			t.Errorf("%s is %q, should be %q", column, row[column], want)
		}
	}
}
