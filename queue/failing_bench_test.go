package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"iksync/queue"
	"iksync/state"
)

// BenchmarkFailing is what the page asks for, of a queue with many failures: those of
// one page, wherever it is, and how many there are of each class.
func BenchmarkFailing(b *testing.B) {
	failures := 100_000
	if testing.Short() {
		failures = 1_000
	}
	f := open(b)
	var changes []queue.Change
	for i := range failures {
		path := fmt.Sprintf("%03d/photo%06d.jpg", i/1000, i)
		changes = append(changes, queue.Change{RootID: f.root, Path: path, Remote: "/" + path, Stat: state.Stat{Size: 2048, MtimeNs: int64(i), Ino: uint64(i + 1)}})
	}
	for some := range slices.Chunk(changes, 1000) {
		if _, err := f.q.Enqueue(b.Context(), some); err != nil {
			b.Fatal(err)
		}
	}
	outcomes := make(chan error, failures)
	for range failures / 1000 {
		jobs, _, err := f.q.Claim(b.Context(), []int64{f.root}, 1000, time.Hour)
		if err != nil || len(jobs) != 1000 {
			b.Fatalf("%d jobs: %v", len(jobs), err)
		}
		for i := range jobs {
			f.q.Fail(&jobs[i], queue.Failure{Class: []string{"file", "transient"}[i%2], Reason: "Your request contains an invalid file.", RequestID: "0123", Dead: true},
				func(err error) { outcomes <- err })
		}
	}
	for range failures {
		if err := <-outcomes; err != nil {
			b.Fatal(err)
		}
	}
	for name, after := range map[string]queue.Cursor{
		"first page":  {},
		"middle page": {RootID: f.root, Class: "file", State: queue.Failed, Path: changes[failures/2].Path},
		"last page":   {RootID: f.root, Class: "transient", State: queue.Failed, Path: changes[failures-100].Path},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				page, err := f.q.FailingPage(b.Context(), after, 50)
				if err != nil || len(page) != 50 {
					b.Fatalf("%d failures: %v", len(page), err)
				}
			}
		})
	}
	b.Run("classes", func(b *testing.B) {
		for b.Loop() {
			all, err := f.q.ByClass(b.Context())
			if err != nil || all[f.root].Failing["file"] != int64(failures/2) {
				b.Fatalf("%v: %v", all, err)
			}
		}
	})
}
