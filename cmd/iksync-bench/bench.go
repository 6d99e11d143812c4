package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
)

// row is one line of the table.
type row struct {
	name  string
	text  string // what is done
	goal  string
	takes string // time and disk, at full size
	// prepare makes what the row needs in dir, which is new and is removed afterwards,
	// and returns what is measured: once for each run.
	prepare func(ctx context.Context, b *bench, dir string) (measure func(context.Context) ([]result, error), err error)
}

// table lists the rows, with their corpora scaled.
func table(scale float64) []row {
	n := func(full int) int { return max(1, int(float64(full)*scale)) }
	rows := uploadRows(n, scale)
	samples := min(400, max(20, 10*n(400)))
	rows = append(rows, stillRow(n(20_000), n(1_000_000)), firstRow(samples, n(1_000_000)), hugeRow(n(10_000_000)), idleRow(n(1_000_000), n(100_000), scale),
		reactRow(samples, n(100), n(100_000)), queueRow(n(20_000)), renameRow(n(10_000), n(1_000_000)))
	return rows
}

func count(n int) string { return humanize.Comma(int64(n)) }

// bench is one run of the harness.
type bench struct {
	dir     string
	iksync  string
	self    string
	runs    int
	workers int
}

func newBench(ctx context.Context, dir string, runs, workers int) (*bench, error) {
	b := &bench{runs: runs, workers: workers}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	// One of its own even below -dir: it is removed at the end.
	if b.dir, err = os.MkdirTemp(dir, "iksync-bench-"); err != nil {
		return nil, err
	}
	if b.dir, err = filepath.EvalSymlinks(b.dir); err != nil {
		return nil, err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, err
	}
	b.iksync = filepath.Join(b.dir, "iksync")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.iksync, "./cmd/iksync")
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("build iksync (run this in the root of the source): %w\n%s", err, out)
	}
	return b, nil
}

func (b *bench) close() { _ = os.RemoveAll(b.dir) }

func (b *bench) measure(ctx context.Context, rows []row, report *report) error {
	for _, r := range rows {
		if err := b.row(ctx, r, report); err != nil {
			return fmt.Errorf("%s (%s): %w", r.name, r.text, err)
		}
	}
	return nil
}

// row measures one row and removes what was made for it.
func (b *bench) row(ctx context.Context, r row, report *report) (err error) {
	began := time.Now()
	report.begin(&r)
	dir := filepath.Join(b.dir, r.name)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	measure, err := r.prepare(ctx, b, dir)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	made := time.Since(began)
	var all [][]result
	for range b.runs {
		results, err := measure(ctx)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		all = append(all, results)
	}
	return report.end(&r, all, made, time.Since(began))
}
