package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"iksync/queue"
)

// failing makes jobs that have failed, one of each path.
func (f *fixture) failing(failures map[string]queue.Failure) {
	f.Helper()
	for path, why := range failures {
		f.enqueue(f.change(path, 1))
		f.fail(f.claimOne(), why)
	}
}

func TestRetryTakesWhatIsSelected(t *testing.T) {
	later := func() time.Time { return time.Now().Add(time.Hour) }
	all := map[string]queue.Failure{
		"a.jpg":         {Class: "file", Dead: true},
		"album":         {Class: "conflict", Dead: true},
		"album/1.jpg":   {Class: "file", Dead: true},
		"album/2.jpg":   {Class: "transient", NotBefore: later()},
		"album/sub/3":   {Class: "unreadable", Dead: true},
		"album.jpg":     {Class: "file_throttled", NotBefore: later()},
		"album0":        {Class: "file", Dead: true},
		"b\xff/\xfe":    {Class: "file", Dead: true},
		"b_percent%/_c": {Class: "account", NotBefore: later()},
	}
	for _, c := range []struct {
		name string
		s    queue.Selection
		want []string
	}{
		{"everything", queue.Selection{}, []string{"a.jpg", "album", "album.jpg", "album/1.jpg", "album/2.jpg", "album/sub/3", "album0", "b_percent%/_c", "b\xff/\xfe"}},
		{"a path", queue.Selection{Path: "a.jpg"}, []string{"a.jpg"}},
		{"a path and what is below it", queue.Selection{Path: "album"}, []string{"album", "album/1.jpg", "album/2.jpg", "album/sub/3"}},
		{"a path that is not UTF-8", queue.Selection{Path: "b\xff"}, []string{"b\xff/\xfe"}},
		{"a path that is none", queue.Selection{Path: "alb"}, nil},
		{"a pattern, which is none", queue.Selection{Path: "b_%"}, nil},
		{"a class", queue.Selection{Classes: []string{"file"}}, []string{"a.jpg", "album/1.jpg", "album0", "b\xff/\xfe"}},
		{"two classes", queue.Selection{Classes: []string{"account", "transient"}}, []string{"album/2.jpg", "b_percent%/_c"}},
		{"a class below a path", queue.Selection{Path: "album", Classes: []string{"file"}}, []string{"album/1.jpg"}},
		{"a class that is none", queue.Selection{Classes: []string{"fil"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := open(t)
			f.failing(all)
			other := queue.Selection{Roots: []int64{f.ensureRoot("/other")}, Path: c.s.Path, Classes: c.s.Classes}
			if n, err := f.q.Retry(t.Context(), other); err != nil || n != 0 {
				t.Errorf("of another root it takes %d, %v", n, err)
			}
			c.s.Roots = []int64{f.root}
			var listed []string
			for it, err := range f.q.Failing(t.Context(), c.s) {
				if err != nil {
					t.Fatal(err)
				}
				if why := all[it.Path]; it.RootID != f.root || it.Class != why.Class || (it.State == queue.Failed) != why.Dead || it.Attempts != 1 {
					t.Errorf("it is listed as %+v", it)
				}
				listed = append(listed, it.Path)
			}
			if !slices.Equal(listed, c.want) {
				t.Errorf("listed is %q, should be %q", listed, c.want)
			}
			n, err := f.q.Retry(t.Context(), c.s)
			if err != nil || n != int64(len(c.want)) {
				t.Errorf("it takes %d, %v; should take %d", n, err, len(c.want))
			}
			jobs := f.claim(100)
			if got := slices.Sorted(slices.Values(pathsOf(jobs))); !slices.Equal(got, c.want) {
				t.Errorf("ready is %q, should be %q", got, c.want)
			}
			for _, job := range jobs {
				if job.Attempts != 0 {
					t.Errorf("%q has %d attempts", job.Path, job.Attempts)
				}
			}
		})
	}
}

// What waits for the account or the network has no backoff of its own.
func TestWhatWasTriedInVainIsFailingAlsoWithoutABackoff(t *testing.T) {
	f := open(t)
	f.failing(map[string]queue.Failure{"a": {Class: "account", Reason: "storage limit", RequestID: "r1", Free: true}})
	f.enqueue(f.change("new", 1))
	var got []queue.Item
	for it, err := range f.q.Failing(t.Context(), queue.Selection{Roots: []int64{f.root}}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, it)
	}
	if len(got) != 1 || got[0].Path != "a" || got[0].State != queue.Ready || got[0].Reason != "storage limit" || got[0].RequestID != "r1" {
		t.Errorf("failing is %+v", got)
	}
	if n, err := f.q.Retry(t.Context(), queue.Selection{Roots: []int64{f.root}, Classes: []string{"account"}}); err != nil || n != 1 {
		t.Errorf("retried %d, %v", n, err)
	}
}

// TestADeadLetterBlocksNoOthers: neither those that were before it, nor those that
// come after, nor the one that wants its remote path, whatever the lane.
func TestADeadLetterBlocksNoOthers(t *testing.T) {
	f := open(t)
	first := f.change("a", 1)
	first.Priority = 9
	f.enqueue(first)
	f.fail(f.claimOne(), queue.Failure{Class: "file", Dead: true})
	var want []string
	for i := range 20 {
		c := f.change(fmt.Sprintf("%02d", i), 1)
		c.Priority = i % 3
		if i == 7 {
			c.Remote = first.Remote
		}
		f.enqueue(c)
		want = append(want, c.Path)
	}
	jobs := f.claim(100)
	if got := slices.Sorted(slices.Values(pathsOf(jobs))); !slices.Equal(got, want) {
		t.Errorf("claimed %q, should be %q", got, want)
	}
	for _, job := range jobs {
		f.complete(job)
	}
	f.wantStates(map[string]queue.State{"a": queue.Failed})
	if err := f.retry(f.root); err != nil {
		t.Fatal(err)
	}
	f.complete(f.claimOne())
	if a := f.record("a"); a == nil || a.RemotePath != first.Remote {
		t.Errorf("its record is %+v", a)
	}
}
