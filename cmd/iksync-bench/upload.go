package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"iksync/uploader/emulator"
)

// corpus is what an upload row sends.
type corpus struct {
	files   int
	size    int64
	sparse  bool          // contents are holes: for sizes that the disk should not hold
	latency time.Duration // of each request
}

func uploadRows(n func(int) int, scale float64) []row {
	uploads := func(name, what, goal, takes string, c corpus) row {
		return row{name: name, goal: goal, takes: takes, text: fmt.Sprintf("%s x %s", count(c.files), what), prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			tree := filepath.Join(dir, "corpus")
			if err := c.write(ctx, tree); err != nil {
				return nil, err
			}
			return func(ctx context.Context) ([]result, error) { return b.uploads(ctx, dir, tree, c) }, nil
		}}
	}
	big := max(1<<20, int64(min(1, 10*scale)*(500<<20))) // a smoke run has small ones
	return []row{
		uploads("small", "2 KB, no latency", "<= 1.10 x floor, <= 1.5 x its CPU, one request a file", "10 s", corpus{files: n(20_000), size: 2 << 10}),
		uploads("latency", "200 KB, 100 ms a call", "<= 1.05 x floor", "30 s, 400 MB", corpus{files: n(2_000), size: 200 << 10, latency: 100 * time.Millisecond}),
		uploads("large", fmt.Sprintf("%d MB, sparse", big>>20), "<= 1.02 x floor, memory flat, hash included", "30 s", corpus{files: n(20), size: big, sparse: true}),
	}
}

// uploads measures the floor, iksync, and iksync once more with nothing to do.
func (b *bench) uploads(ctx context.Context, dir, tree string, c corpus) ([]result, error) {
	floor, err := b.against(c, func(base string) *exec.Cmd {
		return command(ctx, b.self, "floor", "-url", base+"/api/v1/files/upload", "-workers", strconv.Itoa(b.workers), tree)
	})
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	floor.name = "floor"
	at := filepath.Join(dir, "state")
	defer os.RemoveAll(at)
	results := []result{floor}
	for _, name := range []string{"iksync", "again, no change"} {
		r, err := b.against(c, func(base string) *exec.Cmd {
			return b.cli(ctx, base, "backfill", tree, "--to", "/", "--state", filepath.Join(at, "iksync.db"), "--workers", strconv.Itoa(b.workers), "--json")
		})
		if err != nil {
			return nil, err
		}
		if r.name = name; name == "iksync" {
			r.against = "floor"
		}
		results = append(results, r)
	}
	return results, nil
}

// against runs one command against a fresh emulator.
func (b *bench) against(c corpus, command func(base string) *exec.Cmd) (result, error) {
	s, err := startServer(emulator.Options{}, c.latency)
	if err != nil {
		return result{}, err
	}
	defer s.close()
	var out bytes.Buffer
	spent, err := do(command(s.base), &out)
	if err != nil {
		return result{}, err
	}
	if out.Len() > 0 && !json.Valid(out.Bytes()) {
		return result{}, fmt.Errorf("unexpected output %.200q", out.Bytes())
	}
	r := spent.result("", "")
	r.add("requests", float64(s.requests()))
	return r, s.close()
}

// write makes the files of a row, 1,000 to a directory, all different.
func (c *corpus) write(ctx context.Context, dir string) error {
	content := make([]byte, c.size)
	if c.sparse {
		content = nil
	}
	x := uint64(1)
	for i := range content {
		x = x*6364136223846793005 + 1442695040888963407
		content[i] = byte(x >> 56)
	}
	for i := range c.files {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/1000))
		if i%1000 == 0 {
			if err := errors.Join(ctx.Err(), os.MkdirAll(sub, 0o755)); err != nil {
				return err
			}
		}
		name := filepath.Join(sub, fmt.Sprintf("photo%06d.mp4", i))
		copy(content, strconv.Itoa(i))
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
		if c.sparse {
			if err := os.Truncate(name, c.size); err != nil {
				return err
			}
		}
	}
	return nil
}
