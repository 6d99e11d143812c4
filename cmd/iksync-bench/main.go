// Command iksync-bench measures whole runs of iksync beside a floor: a walk,
// N goroutines and net/http, with no queue and no state. Both upload the same
// corpus to the same emulator, turn by turn in one run, as processes of their
// own. It also makes the sample pictures.
//
//	go run ./cmd/iksync-bench            every row of README's table
//	go run ./cmd/iksync-bench -row small -runs 5
//	go run ./cmd/iksync-bench -react 100,100000   how fast the daemon reacts to a new file
//	go run ./cmd/iksync-bench photos DIR
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "iksync-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "photos" {
		if len(args) != 2 {
			return errors.New("usage: iksync-bench photos DIR")
		}
		return makePhotos(args[1])
	}
	if len(args) > 0 && args[0] == "floor" {
		return floorMain(ctx, args[1:])
	}
	fs := flag.NewFlagSet("iksync-bench", flag.ContinueOnError)
	rows := fs.String("row", "", "comma-separated rows to measure (default all): "+strings.Join(rowNames(), ", "))
	runs := fs.Int("runs", 3, "runs of each, turn by turn; medians are reported")
	workers := fs.Int("workers", 16, "uploads at once")
	dir := fs.String("dir", "", "where corpora and state files are made (default: a temporary directory)")
	react := fs.String("react", "", "comma-separated numbers of watched directories: measure the daemon's time from a closed file to its request instead")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	b, err := newBench(*dir, *runs, *workers)
	if err != nil {
		return err
	}
	defer b.close()
	if *react != "" {
		for n := range strings.SplitSeq(*react, ",") {
			dirs, err := strconv.Atoi(n)
			if err != nil || dirs < 1 {
				return fmt.Errorf("-react %s: not a number of directories", n)
			}
			if err := b.react(ctx, dirs); err != nil {
				return err
			}
		}
		return nil
	}
	return b.measure(ctx, *rows)
}
