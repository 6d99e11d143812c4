package watcher_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"iksync/watcher"
)

func bigTree(b *testing.B) *tree {
	b.Helper()
	tr := newTree(b)
	for d := range 200 {
		for f := range 100 {
			tr.write(fmt.Sprintf("2026/%03d/IMG_%04d.jpg", d, f))
		}
	}
	return tr
}

func (t *tree) run() {
	t.Helper()
	t.must(watcher.NewScanner(t.q, t.o).Run(t.Context()))
}

func BenchmarkScanUnchanged(b *testing.B) {
	tr := bigTree(b)
	tr.run()
	tr.upload(all)
	b.ReportAllocs()
	for b.Loop() {
		tr.run()
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkScanNew(b *testing.B) {
	tr := bigTree(b)
	paths := sortedKeys(tr.onDisk())
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		tr.must(tr.q.Cancel(b.Context(), tr.o.Root.ID, paths, time.Now().Add(time.Hour), nil))
		b.StartTimer()
		tr.run()
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

// From the close of a file to its job in the queue, beyond the settle time.
func BenchmarkCloseToQueued(b *testing.B) {
	for _, dirs := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("watched=%d", dirs), func(b *testing.B) {
			if dirs > 1000 && testing.Short() {
				b.Skip("it makes many directories")
			}
			tr := newTree(b)
			for i := range dirs {
				tr.must(os.MkdirAll(tr.at(fmt.Sprintf("%04d/%04d", i/100, i%100)), 0o755))
			}
			const quiet = 20 * time.Millisecond
			f := tr.follow(func(o *watcher.WatchOptions) { o.Settle = quiet })
			if s := f.w.Stats(); s.Watched < int64(dirs) {
				b.Skipf("%d of %d directories can be watched here", s.Watched, dirs)
			}
			var took []time.Duration
			for b.Loop() {
				i := len(took)
				p := fmt.Sprintf("%04d/%04d/%d", i*37%dirs/100, i*37%100, i)
				tr.must(os.WriteFile(tr.at(p), []byte(p), 0o644))
				closed := time.Now()
				for {
					<-tr.q.Wake()
					known, err := tr.q.Lookup(b.Context(), tr.o.Root.ID, []string{p})
					tr.must(err)
					if known[0].Job != nil {
						break
					}
				}
				took = append(took, time.Since(closed)-quiet)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
