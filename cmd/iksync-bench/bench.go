package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"iksync/uploader/emulator"
)

// row is one line of the table.
type row struct {
	name    string
	files   int
	size    int64
	sparse  bool          // contents are holes: for sizes that the disk should not hold
	latency time.Duration // of each request
	text    string
}

func table() []row {
	return []row{
		{name: "small", files: 20000, size: 2 << 10, text: "20,000 x 2 KB, no latency"},
		{name: "latency", files: 2000, size: 200 << 10, latency: 100 * time.Millisecond, text: "2,000 x 200 KB, 100 ms a call"},
		{name: "large", files: 1, size: 2 << 30, sparse: true, text: "1 x 2 GB"},
	}
}

func rowNames() []string {
	var names []string
	for _, r := range table() {
		names = append(names, r.name)
	}
	return names
}

// bench is one run of the harness.
type bench struct {
	dir     string
	remove  bool
	iksync  string
	self    string
	runs    int
	workers int
}

func newBench(dir string, runs, workers int) (*bench, error) {
	b := &bench{dir: dir, runs: runs, workers: workers}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if dir == "" {
		if b.dir, err = os.MkdirTemp("", "iksync-bench-"); err != nil {
			return nil, err
		}
		b.remove = true
	}
	b.iksync = filepath.Join(b.dir, "iksync")
	build := exec.Command("go", "build", "-o", b.iksync, "./cmd/iksync")
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("build iksync (run this in the root of the source): %w\n%s", err, out)
	}
	return b, nil
}

func (b *bench) close() {
	if b.remove {
		_ = os.RemoveAll(b.dir)
	}
}

// cost is what one process took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // bytes, at the peak
	requests  int64
}

func (b *bench) measure(ctx context.Context, only string) error {
	fmt.Printf("%-32s %10s %10s %7s %10s %10s %7s %9s %9s %9s\n", "work (medians of "+strconv.Itoa(b.runs)+")",
		"floor", "iksync", "ratio", "floor cpu", "iksync cpu", "ratio", "floor rss", "rss", "requests")
	for _, r := range table() {
		if only != "" && !slices.Contains(strings.Split(only, ","), r.name) {
			continue
		}
		if err := b.row(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.text, err)
		}
	}
	return nil
}

// row measures one line: the floor and iksync by turns, then iksync once more with
// nothing to do.
func (b *bench) row(ctx context.Context, r row) error {
	corpus := filepath.Join(b.dir, "corpus-"+r.name)
	if err := makeCorpus(corpus, r); err != nil {
		return err
	}
	defer os.RemoveAll(corpus)
	var floors, ours, still []cost
	for i := range b.runs {
		c, err := b.against(ctx, r, func(url string) *exec.Cmd {
			return exec.CommandContext(ctx, b.self, "floor", "-url", url, "-workers", strconv.Itoa(b.workers), corpus)
		})
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		floors = append(floors, c)
		state := filepath.Join(b.dir, fmt.Sprintf("state-%s-%d", r.name, i), "iksync.db")
		command := func(url string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, b.iksync, "backfill", corpus, "--to", "/", "--state", state, "--workers", strconv.Itoa(b.workers), "--json")
			cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=bench", "IKSYNC_UPLOAD_URL="+url, "IKSYNC_API_URL="+strings.TrimSuffix(url, "/api/v1/files/upload")+"/v1")
			return cmd
		}
		if c, err = b.against(ctx, r, command); err != nil {
			return fmt.Errorf("iksync: %w", err)
		}
		ours = append(ours, c)
		if c, err = b.against(ctx, r, command); err != nil {
			return fmt.Errorf("iksync again: %w", err)
		}
		still = append(still, c)
		if err := os.RemoveAll(filepath.Dir(state)); err != nil {
			return err
		}
	}
	f, o, s := median(floors), median(ours), median(still)
	print := func(text string, o cost) {
		fmt.Printf("%-32s %10s %10s %7.2f %10s %10s %7.2f %9s %9s %9d\n", text, round(f.wall), round(o.wall), ratio(o.wall, f.wall),
			round(f.cpu), round(o.cpu), ratio(o.cpu, f.cpu), mb(f.rss), mb(o.rss), o.requests)
	}
	print(r.text, o)
	print("  the same again, no change", s)
	return nil
}

// against runs one command against a fresh emulator that keeps nothing.
func (b *bench) against(ctx context.Context, r row, command func(url string) *exec.Cmd) (cost, error) {
	server, err := emulator.New(emulator.Options{Discard: true})
	if err != nil {
		return cost{}, err
	}
	defer server.Close()
	if r.latency > 0 {
		server.SetFaults(emulator.Faults{Rules: []emulator.Fault{{Endpoint: "upload", Latency: emulator.Duration(r.latency)}}})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return cost{}, err
	}
	web := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	cmd := command("http://" + listener.Addr().String() + "/api/v1/files/upload")
	began := time.Now()
	out, peak, err := output(cmd)
	wall := time.Since(began)
	closeErr := web.Close()
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		closeErr = errors.Join(closeErr, e)
	}
	if err != nil {
		return cost{}, errors.Join(err, closeErr)
	}
	if len(out) > 0 && !json.Valid(out) {
		return cost{}, fmt.Errorf("unexpected output %.200q", out)
	}
	c := cost{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), requests: requests(server.Stats()), rss: peak}
	return c, closeErr
}

// output runs a command and follows its peak of memory, bytes. The kernel's
// account of an ended process counts what its parent had at the fork.
func output(cmd *exec.Cmd) (out []byte, peak int64, err error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = fmt.Errorf("%w: %s", err, stderr.Bytes())
			}
			return stdout.Bytes(), peak, err
		case <-ticker.C:
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the most memory a process has had; 0 where there is no /proc.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// makeCorpus writes the files of a row, 1,000 to a directory, all different.
func makeCorpus(dir string, r row) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	content := make([]byte, r.size)
	if !r.sparse {
		x := uint64(1)
		for i := range content {
			x = x*6364136223846793005 + 1442695040888963407
			content[i] = byte(x >> 56)
		}
	}
	for i := range r.files {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/1000))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		name := filepath.Join(sub, fmt.Sprintf("photo%06d.mp4", i))
		if r.sparse {
			if err := errors.Join(os.WriteFile(name, nil, 0o644), os.Truncate(name, r.size)); err != nil {
				return err
			}
			continue
		}
		copy(content, strconv.Itoa(i))
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// median takes each figure's own median.
func median(costs []cost) cost {
	mid := func(f func(cost) int64) int64 {
		v := make([]int64, len(costs))
		for i, c := range costs {
			v[i] = f(c)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return cost{
		wall:     time.Duration(mid(func(c cost) int64 { return int64(c.wall) })),
		cpu:      time.Duration(mid(func(c cost) int64 { return int64(c.cpu) })),
		rss:      mid(func(c cost) int64 { return c.rss }),
		requests: mid(func(c cost) int64 { return c.requests }),
	}
}

func requests(s emulator.Stats) (n int64) {
	for _, v := range s.Requests {
		n += v
	}
	return n
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }

func mb(n int64) string { return fmt.Sprintf("%d MB", n>>20) }
