package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"iksync/uploader/emulator"
)

func stillRow(sizes ...int) row {
	return row{
		name: "still", goal: "small: < 0.2 s; big: <= 2 x the walk; no request, <= 64 MB", takes: "2 min, 1.5 GB",
		text: fmt.Sprintf("no-change pass over %s and %s files in step, warm, beside a bare walk (%s)", count(sizes[0]), count(sizes[1]), walkIs),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			var trees []*tree
			for i, files := range sizes {
				t := photos(filepath.Join(dir, fmt.Sprint(i), "tree"), files, 100)
				if err := t.write(ctx); err != nil {
					return nil, err
				}
				if err := t.records(ctx, t.at+".db", t.recordsOf(t.stat)); err != nil {
					return nil, err
				}
				trees = append(trees, t)
			}
			return func(ctx context.Context) (results []result, err error) {
				for _, t := range trees {
					two, err := b.still(ctx, t)
					if err != nil {
						return nil, err
					}
					results = append(results, two...)
				}
				return results, nil
			}, nil
		},
	}
}

// still measures a bare walk and a pass that finds nothing.
func (b *bench) still(ctx context.Context, t *tree) ([]result, error) {
	walked, err := do(command(ctx, b.self, "walk", t.at), nil)
	if err != nil {
		return nil, err
	}
	s, err := startServer(emulator.Options{}, 0)
	if err != nil {
		return nil, err
	}
	defer s.close()
	spent, err := do(b.cli(ctx, s.base, "backfill", t.at, "--to", "/", "--state", t.at+".db", "--json"), nil)
	if err != nil {
		return nil, err
	}
	walk := walked.result("walk, "+count(t.files), "")
	ours := spent.result("iksync, "+count(t.files), walk.name)
	ours.add("requests", float64(s.requests()))
	return []result{walk, ours}, s.close()
}

// walkMain is a bare walk as a process of its own: it looks at every file, one after
// the other, and does nothing about it.
func walkMain(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: iksync-bench walk DIR")
	}
	files, bytes, err := walk(args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, files, "files,", bytes, "bytes")
	return err
}
