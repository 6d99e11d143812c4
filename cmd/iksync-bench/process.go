package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cost is what one process took.
type cost struct {
	wall, cpu time.Duration
	rss       int64 // bytes, at the peak
}

func (c cost) result(name, against string) result {
	r := result{name: name, against: against}
	r.add("ns/op", float64(c.wall))
	r.add("cpu-ns", float64(c.cpu))
	r.add("peak-B", float64(c.rss))
	return r
}

// command is one in a process group of its own, which ends with ctx: an interrupt from
// the terminal is the harness' alone.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// cli is a command of iksync against a server at base ("" without one).
func (b *bench) cli(ctx context.Context, base string, args ...string) *exec.Cmd {
	cmd := command(ctx, b.iksync, args...)
	cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=bench", "TMPDIR="+b.dir)
	if base != "" {
		cmd.Env = append(cmd.Env, "IKSYNC_UPLOAD_URL="+base+"/api/v1/files/upload", "IKSYNC_API_URL="+base+"/v1")
	}
	return cmd
}

// do runs a command to its end and follows its peak of memory. The kernel's account
// of an ended process counts what its parent had at the fork.
func do(cmd *exec.Cmd, stdout io.Writer) (cost, error) {
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	var c cost
	looks := 0
	for {
		select {
		case err := <-ended:
			c.wall, c.cpu = time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
			if err != nil {
				err = fmt.Errorf("%s %s: %w: %.2000s", cmd.Path, cmd.Args[1], err, stderr.Bytes())
			}
			return c, err
		case <-ticker.C:
			c.rss = max(c.rss, highWater(cmd.Process.Pid))
			if looks++; looks == 50 { // from here on there is time
				ticker.Reset(10 * time.Millisecond)
			}
		}
	}
}

// highWater is the most memory a process has had; 0 where there is no /proc.
func highWater(pid int) int64 { return memory(pid, "VmHWM:") }

// resident is the memory that a process has now.
func resident(pid int) int64 { return memory(pid, "VmRSS:") }

func memory(pid int, field string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), field)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// spent is the CPU time that a process has had, to a hundredth of a second; an error
// where there is no /proc.
func spent(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name, which may hold anything, come the third field and the others.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 wherever Go runs
}
