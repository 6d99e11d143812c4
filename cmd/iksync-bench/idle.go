package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"iksync/uploader/emulator"
)

func idleRow(files, dirs int, scale float64) row {
	long := max(time.Second, time.Duration(min(1, scale)*float64(time.Minute)))
	return row{
		name: "idle", goal: "< 0.1 % CPU, <= 64 MB", takes: "4 min, 2.5 GB",
		text: fmt.Sprintf("daemon on %s files in %s directories, in step, for %v after its first scan", count(files), count(dirs), long),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			t := photos(filepath.Join(dir, "tree"), files, max(1, files/dirs))
			if err := t.write(ctx); err != nil {
				return nil, err
			}
			if err := t.records(ctx, filepath.Join(dir, "iksync.db"), t.recordsOf(t.stat)); err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]result, error) { return b.idle(ctx, dir, t, long) }, nil
		},
	}
}

func (b *bench) idle(ctx context.Context, dir string, t *tree, long time.Duration) ([]result, error) {
	s, err := startServer(emulator.Options{}, 0)
	if err != nil {
		return nil, err
	}
	defer s.close()
	d, err := b.daemon(ctx, dir, t.at, s)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	took, err := d.await(ctx, d.scanned)
	if err != nil {
		return nil, err
	}
	if err := d.watched(); err != nil {
		return nil, err
	}
	pid := d.cmd.Process.Pid
	started := result{name: "start and first scan"}
	started.add("ns/op", float64(took))
	started.add("peak-B", float64(highWater(pid)))
	// What the scan has left behind is collected and given back within this.
	if err := pause(ctx, min(10*time.Second, long)); err != nil {
		return nil, err
	}
	before, err := spent(pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := pause(ctx, long); err != nil {
		return nil, err
	}
	after, err := spent(pid)
	if err != nil {
		return nil, err
	}
	idle := result{name: "idle"}
	idle.add("cpu-%", 100*(after-before).Seconds()/time.Since(began).Seconds())
	idle.add("rss-B", float64(resident(pid)))
	idle.add("requests", float64(s.requests()))
	if _, err := d.stop(); err != nil {
		return nil, err
	}
	return []result{started, idle}, os.Remove(d.config)
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
