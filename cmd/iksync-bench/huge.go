package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"iksync/state"
	"iksync/uploader/emulator"
)

func hugeRow(files int) row {
	return row{
		name: "huge", goal: "<= 100 MB each, <= 400 bytes a file of state", takes: "45 min, 20 GB",
		text: fmt.Sprintf("%s files in step (hard links, records generated): start, status, export, plan, verify", count(files)),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			t := photos(filepath.Join(dir, "tree"), files, 1000)
			if err := t.link(ctx); err != nil {
				return nil, err
			}
			stat, err := t.linked()
			if err != nil {
				return nil, err
			}
			began := time.Now()
			if err := t.records(ctx, filepath.Join(dir, "iksync.db"), t.recordsOf(stat)); err != nil {
				return nil, err
			}
			made := time.Since(began)
			return func(ctx context.Context) ([]result, error) {
				results, err := b.huge(ctx, dir, t, stat)
				if err != nil {
					return nil, err
				}
				results[0].add("records-made/s", float64(files)/made.Seconds())
				return results, nil
			}, nil
		},
	}
}

func (b *bench) huge(ctx context.Context, dir string, t *tree, stat func(int) (state.Stat, error)) ([]result, error) {
	info, err := os.Stat(filepath.Join(dir, "iksync.db"))
	if err != nil {
		return nil, err
	}
	file := result{name: "state file"}
	file.add("size-B", float64(info.Size()))
	file.add("B/file", float64(info.Size())/float64(t.files))

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
	ready := result{name: "run, until ready"}
	took, err := d.await(ctx, d.ready)
	if err != nil {
		return nil, err
	}
	ready.add("ns/op", float64(took))
	ready.add("peak-B", float64(highWater(d.cmd.Process.Pid)))
	if took, err = d.await(ctx, d.scanned); err != nil {
		return nil, err
	}
	if err := d.watched(); err != nil {
		return nil, err
	}
	scanned := result{name: "run, until scanned"}
	scanned.add("ns/op", float64(took))
	scanned.add("peak-B", float64(highWater(d.cmd.Process.Pid)))
	results := []result{file, ready, scanned}
	step := func(name, says string, base string, args ...string) error {
		var out bytes.Buffer
		cmd := b.cli(ctx, base, append(args, "--config", d.config)...)
		var spent cost
		var err error
		if says == "" {
			spent, err = do(cmd, nil) // to nowhere
		} else if spent, err = do(cmd, &out); err == nil && !strings.Contains(out.String(), says) {
			err = fmt.Errorf("it does not say %q: %.1000s", says, out.Bytes())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, spent.result(name, ""))
		return nil
	}
	files := count(t.files)
	if err := step("status, of the daemon", files, "", "status"); err != nil {
		return nil, err
	}
	total, err := d.stop()
	if err != nil {
		return nil, err
	}
	results[2].add("cpu-ns", float64(total.cpu))
	if n := s.requests(); n > 0 {
		results[2].note = fmt.Sprintf("%s requests", count(int(n)))
	}
	base, end, err := serve(&listing{tree: t, stat: stat})
	if err != nil {
		return nil, err
	}
	defer end()
	err = errors.Join(
		step("status, of the file", files, "", "status"),
		step("export", "", "", "export"),
		step("plan", files+" in step", "", "plan"),
		step("verify", "In step", base, "verify"),
	)
	if err != nil {
		return nil, err
	}
	return results, os.Remove(d.config)
}
