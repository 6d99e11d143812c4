package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settle is the settle time of measured daemons; only what comes on top counts.
const settle = 300 * time.Millisecond

// daemon is an `iksync run` on one tree, as under systemd.
type daemon struct {
	cmd     *exec.Cmd
	config  string
	state   string
	started time.Time
	ready   chan time.Time // READY=1 came
	scanned chan time.Time // the first scan has ended
	ended   chan error
	stop    func() (cost, error)

	mu   sync.Mutex
	last []string // lines of the log that tell of trouble
}

// configure writes a configuration for a tree and a server, and returns its path.
func configure(dir, tree, state, base string, workers int) (string, error) {
	file := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`imagekit: {upload_url: %s/api/v1/files/upload, api_url: %s/v1, reads_per_second: 1000, writes_per_second: 1000}
state: %s
settle: %s
workers: %d
shutdown_grace: 1s
log: {format: json}
roots: [{path: %s, folder: /}]
`, base, base, state, settle, workers, tree)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// daemon starts one. Its configuration and, unless it is there, its state file go to dir.
func (b *bench) daemon(ctx context.Context, dir, tree string, s *server) (*daemon, error) {
	d := &daemon{state: filepath.Join(dir, "iksync.db"), ready: make(chan time.Time, 1), scanned: make(chan time.Time, 1), ended: make(chan error, 1)}
	var err error
	if d.config, err = configure(dir, tree, d.state, s.base, b.workers); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen as systemd does (a shorter -dir may help): %w", err)
	}
	d.cmd = b.cli(ctx, "", "run", "--config", d.config)
	d.cmd.Env = append(d.cmd.Env, "NOTIFY_SOCKET="+socket)
	stderr, err := d.cmd.StderrPipe()
	if err == nil {
		d.started = time.Now()
		err = d.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, notify.Close(), os.Remove(socket))
	}
	go d.readNotify(notify)
	go func() {
		d.readLog(bufio.NewScanner(stderr))
		err := d.cmd.Wait()
		d.ended <- errors.Join(err, notify.Close(), os.Remove(socket))
	}()
	d.stop = sync.OnceValues(func() (cost, error) {
		c := cost{wall: time.Since(d.started), rss: highWater(d.cmd.Process.Pid)}
		err := d.cmd.Process.Signal(syscall.SIGTERM)
		if e := <-d.ended; e != nil {
			err = d.trouble(e)
		}
		c.cpu = d.cmd.ProcessState.UserTime() + d.cmd.ProcessState.SystemTime()
		return c, err
	})
	return d, nil
}

func (d *daemon) readNotify(from *net.UnixConn) {
	message := make([]byte, 4096)
	for {
		n, err := from.Read(message)
		if err != nil {
			return
		}
		if slices.Contains(strings.Split(string(message[:n]), "\n"), "READY=1") {
			tell(d.ready)
		}
	}
}

func (d *daemon) readLog(lines *bufio.Scanner) {
	for lines.Scan() {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Level != "info" {
			d.mu.Lock()
			d.last = append(d.last[max(0, len(d.last)-9):], lines.Text())
			d.mu.Unlock()
		}
		if line.Msg == "scanned" {
			tell(d.scanned)
		}
	}
}

func tell(c chan time.Time) {
	select {
	case c <- time.Now():
	default:
	}
}

// trouble adds to an error what the daemon has said.
func (d *daemon) trouble(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Errorf("the daemon: %w: %s", err, strings.Join(d.last, "\n"))
}

// await waits for one of the daemon's channels, and for how long it has been since
// the start then.
func (d *daemon) await(ctx context.Context, c <-chan time.Time) (time.Duration, error) {
	select {
	case at := <-c:
		return at.Sub(d.started), nil
	case err := <-d.ended:
		d.ended <- err
		return 0, d.trouble(errors.Join(err, errors.New("it ended by itself")))
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// watched reports the warnings so far that tell that not all directories are watched.
func (d *daemon) watched() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range d.last {
		if strings.Contains(line, "can be watched") {
			return fmt.Errorf("this machine does not watch so many directories (fs.inotify.max_user_watches): %s", line)
		}
	}
	return nil
}
