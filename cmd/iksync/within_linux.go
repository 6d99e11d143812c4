package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"iksync/cmd/iksync/internal/config"
)

// mount is a line of /proc/self/mountinfo: a part of a file system, and where it is.
type mount struct {
	device string // of the file system
	part   string // path within it
	at     string // where that is mounted
}

// mounts are those that this process sees, in the order in which they were made. None
// where the kernel doesn't tell.
func mounts() []mount {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return parseMounts(text)
}

func parseMounts(text []byte) []mount {
	var all []mount
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		// 36 35 98:0 /part /at rw,noatime master:1 - ext3 /dev/root rw
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			all = append(all, mount{device: fields[2], part: unescape(fields[3]), at: unescape(fields[4])})
		}
	}
	return all
}

// unescape gives the bytes of a path in which the kernel writes some as \ooo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// place is where a path is in its file system: that does not depend on the mount by which
// it is reached.
func place(all []mount, path string) (device, within string) {
	var best mount
	for _, m := range all {
		if config.Inside(path, m.at) && len(m.at) >= len(best.at) { // of several at one place the last one is seen
			best = m
		}
	}
	rel, err := filepath.Rel(best.at, path)
	if best.at == "" || err != nil {
		return "", ""
	}
	return best.device, filepath.Join(best.part, rel)
}

// mountedWithin reports whether a path leads into dir by another mount: dir is a part of a
// file system, and so is each mount below it.
func mountedWithin(all []mount, path, dir string) bool {
	device, at := place(all, path)
	if device == "" {
		return false
	}
	if d, part := place(all, dir); d == device && config.Inside(at, part) {
		return true
	}
	for _, m := range all {
		if m.at != dir && config.Inside(m.at, dir) && m.device == device && config.Inside(at, m.part) {
			return true
		}
	}
	return false
}
