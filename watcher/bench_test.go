package watcher_test

import (
	"fmt"
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
		tr.must(tr.q.Cancel(b.Context(), tr.o.Root.ID, paths, time.Now().Add(time.Hour)))
		b.StartTimer()
		tr.run()
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
