package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader/emulator"
)

// firstLatency is what each upload takes while the first scan goes on.
const firstLatency = 100 * time.Millisecond

func firstRow(samples, files int) row {
	return row{
		name: "first", takes: "3 min, 2.5 GB",
		goal: ">= 100,000 files/s, first request within 1 s; a new file meanwhile: p50 < 5 ms, p99 < 50 ms",
		text: fmt.Sprintf("first scan by the daemon of %s new files, %v an upload; then new files while that backlog drains", count(files), firstLatency),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			t := photos(filepath.Join(dir, "tree"), files, 1000)
			if err := t.write(ctx); err != nil {
				return nil, err
			}
			// Files that are younger than that are the watcher's, not the scan's.
			if err := pause(ctx, 2*settle); err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]result, error) { return b.first(ctx, t, samples) }, nil
		},
	}
}

func (b *bench) first(ctx context.Context, t *tree, samples int) ([]result, error) {
	work, err := os.MkdirTemp(b.dir, "first-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	s, err := startServer(emulator.Options{}, firstLatency)
	if err != nil {
		return nil, err
	}
	defer s.close()
	d, err := b.daemon(ctx, work, t.at, s)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	took, err := d.await(ctx, d.scanned)
	if err != nil {
		return nil, err
	}
	scan := result{name: "scan"}
	scan.add("ns/op", float64(took))
	cpu, err := spent(d.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	scan.add("cpu-ns", float64(cpu))
	queued, err := waiting(ctx, d.state)
	if err != nil {
		return nil, err
	}
	queued += s.Stats().Uploads
	scan.add("files/s", float64(queued)/took.Seconds())
	scan.add("first-request-ns", float64(s.first.Load()-d.started.UnixNano()))
	scan.add("peak-B", float64(highWater(d.cmd.Process.Pid)))
	if queued < int64(t.files) {
		scan.note = fmt.Sprintf("only %s were queued", count(int(queued)))
	}

	before := s.Stats().Uploads
	began := time.Now()
	p := &probes{s: s, dir: func(i int) string { return t.path(t.dir(i * 37 % t.dirs())) }, every: probeEvery, most: samples}
	defer p.remove()
	if err := p.run(ctx, nil); err != nil {
		return nil, d.trouble(err)
	}
	drained := float64(s.Stats().Uploads-before) / time.Since(began).Seconds()
	left, err := waiting(ctx, d.state)
	if err != nil {
		return nil, err
	}
	total, err := d.stop()
	if err != nil {
		return nil, err
	}
	meanwhile := result{name: "new files meanwhile"}
	p.figures(&meanwhile, "")
	meanwhile.add("uploads/s", drained)
	meanwhile.add("peak-B", float64(total.rss))
	if left == 0 {
		meanwhile.note = "the backlog was gone by then"
	}
	return []result{scan, meanwhile}, s.close()
}

// waiting counts the jobs in a state file that a daemon has.
func waiting(ctx context.Context, file string) (n int64, err error) {
	db, err := state.OpenReadOnly(ctx, file)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	backlogs, err := queue.New(db, nil).Backlogs(ctx)
	for _, backlog := range backlogs {
		n += backlog.Jobs
	}
	return n, err
}
