package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"iksync/uploader/emulator"
)

const (
	// reactSettle is the settle time of the measured daemon; only what comes on top counts.
	reactSettle  = 300 * time.Millisecond
	reactSamples = 100
)

// react measures the time from the close of a file to the arrival of its
// request, beyond the settle time, while a daemon watches that many directories.
func (b *bench) react(ctx context.Context, dirs int) error {
	tree := filepath.Join(b.dir, fmt.Sprintf("react-%d", dirs))
	defer os.RemoveAll(tree)
	for i := range dirs {
		if err := os.MkdirAll(filepath.Join(tree, fmt.Sprintf("%03d/%05d", i%500, i)), 0o755); err != nil {
			return err
		}
	}
	server, err := emulator.New(emulator.Options{Discard: true})
	if err != nil {
		return err
	}
	defer server.Close()
	arrived := make(chan time.Time, reactSamples)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/upload") {
			arrived <- time.Now()
		}
		server.ServeHTTP(w, r)
	})}
	go web.Serve(listener)
	defer web.Close()
	base := "http://" + listener.Addr().String()
	work, err := os.MkdirTemp(b.dir, "react-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	config := filepath.Join(work, "config.yaml")
	text := fmt.Sprintf("imagekit: {upload_url: %s/api/v1/files/upload, api_url: %s/v1}\nstate: %s\nsettle: %s\nlog: {format: json}\nroots: [{path: %s, folder: /}]\n",
		base, base, filepath.Join(work, "iksync.db"), reactSettle, tree)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.iksync, "run", "--config", config)
	cmd.Env = append(os.Environ(), "IMAGEKIT_PRIVATE_KEY=bench")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	log := bufio.NewScanner(stderr)
	for log.Scan() && !strings.Contains(log.Text(), `"scanned"`) {
		if strings.Contains(log.Text(), "can be watched") {
			return fmt.Errorf("this machine does not watch %d directories: %s", dirs, log.Text())
		}
	}
	go io.Copy(io.Discard, stderr)
	beyond := make([]time.Duration, 0, reactSamples)
	for i := range reactSamples {
		name := filepath.Join(tree, fmt.Sprintf("%03d/%05d/new%d.jpg", i%min(500, dirs), i%dirs, i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			return err
		}
		closed := time.Now()
		select {
		case at := <-arrived:
			beyond = append(beyond, at.Sub(closed)-reactSettle)
		case <-time.After(time.Minute):
			return errors.New("a new file was not uploaded within a minute")
		}
	}
	slices.Sort(beyond)
	fmt.Printf("%7d directories: close of a file to its request, beyond settle: p50 %s, p99 %s, most %s; daemon's memory at its peak %s\n", dirs,
		beyond[len(beyond)/2].Round(10*time.Microsecond), beyond[len(beyond)*99/100].Round(10*time.Microsecond), beyond[len(beyond)-1].Round(10*time.Microsecond), mb(highWater(cmd.Process.Pid)))
	return cmd.Process.Signal(syscall.SIGTERM)
}
