package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func queueRow(jobs int) row {
	return row{
		name: "queue", goal: ">= 0.80 x bare", takes: "1 min",
		text: fmt.Sprintf("%s jobs claimed in batches and completed durably, beside the same statements issued bare on a copy of the state file", count(jobs)),
		prepare: func(ctx context.Context, b *bench, dir string) (func(context.Context) ([]result, error), error) {
			return func(ctx context.Context) ([]result, error) { return b.queue(ctx, jobs) }, nil
		},
	}
}

// queue runs the benchmark of package state, which can look at its statements.
func (b *bench) queue(ctx context.Context, jobs int) ([]result, error) {
	cmd := command(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkClaimComplete$", "-benchtime", strconv.Itoa(jobs)+"x", "./state")
	cmd.Env = append(os.Environ(), "TMPDIR="+b.dir)
	var out bytes.Buffer
	if _, err := do(cmd, &out); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out.Bytes())
	}
	var results []result
	for _, name := range []string{"bare", "queue"} {
		r := result{name: name}
		if name == "queue" {
			r.against = "bare"
		}
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			if len(fields) < 4 || !strings.HasPrefix(fields[0], "BenchmarkClaimComplete/"+name) {
				continue
			}
			for i := 2; i+1 < len(fields); i += 2 {
				v, err := strconv.ParseFloat(fields[i], 64)
				if err != nil {
					return nil, fmt.Errorf("the benchmark's %q can't be read", line)
				}
				if fields[i+1] == "jobs/s" {
					r.add(fields[i+1], v)
				}
			}
		}
		if len(r.figures) == 0 {
			return nil, fmt.Errorf("the benchmark tells nothing of %s: %s", name, out.Bytes())
		}
		results = append(results, r)
	}
	return results, nil
}
