// Command iksync-bench measures whole runs of iksync, the real binary, on corpora
// that it makes and removes, beside a floor: a walk, N goroutines and net/http, with
// no queue and no state; or a bare walk; or the bare statements. What is compared
// runs turn by turn, as processes of their own, against the emulator with its storage
// switched off. It also makes the sample pictures.
//
//	go run ./cmd/iksync-bench                   every row, at full size: some hours
//	go run ./cmd/iksync-bench -row small,react -runs 5
//	go run ./cmd/iksync-bench -scale 0.001 -runs 1 -o new.txt   does every row work?
//	go run ./cmd/iksync-bench photos DIR
//
// With -o the results are also written in the format of Go's benchmarks, which
// benchstat compares. -h lists the rows, what each takes, and its goal. Nothing
// fails because it is slow.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "iksync-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "photos":
			if len(args) != 2 {
				return errors.New("usage: iksync-bench photos DIR")
			}
			return makePhotos(args[1])
		case "floor":
			return floorMain(ctx, args[1:])
		case "walk":
			return walkMain(args[1:])
		}
	}
	fs := flag.NewFlagSet("iksync-bench", flag.ContinueOnError)
	only := fs.String("row", "", "comma-separated `rows` to measure (default all)")
	runs := fs.Int("runs", 3, "runs of each, turn by turn; medians are reported")
	scale := fs.Float64("scale", 1, "share of each corpus' files, such as 0.01")
	workers := fs.Int("workers", 16, "uploads at once")
	dir := fs.String("dir", "", "where corpora and state files are made (default: a temporary directory)")
	out := fs.String("o", "", "also write the results to this `file`, for benchstat")
	fs.Usage = func() { usage(fs) }
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	if *scale <= 0 || *runs < 1 || *workers < 1 {
		return errors.New("-scale, -runs and -workers must be above 0")
	}
	rows := table(*scale)
	if *only != "" {
		var picked []row
		for name := range strings.SplitSeq(*only, ",") {
			i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
			if i < 0 {
				return fmt.Errorf("-row %s: there is no such row (see -h)", name)
			}
			picked = append(picked, rows[i])
		}
		rows = picked
	}
	b, err := newBench(ctx, *dir, *runs, *workers)
	if err != nil {
		return err
	}
	defer b.close()
	report, err := newReport(os.Stdout, *out)
	if err != nil {
		return err
	}
	return errors.Join(b.measure(ctx, rows, report), report.close())
}

func usage(fs *flag.FlagSet) {
	w := fs.Output()
	fmt.Fprintln(w, "usage: iksync-bench [flags]\n       iksync-bench photos DIR")
	fs.PrintDefaults()
	fmt.Fprintln(w, "\nThe rows, and what a run of each takes (on two cores):")
	for _, r := range table(1) {
		fmt.Fprintf(w, "  %-8s %s\n           takes %s; goal: %s\n", r.name, r.text, r.takes, r.goal)
	}
}
