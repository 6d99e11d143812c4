//go:build unix

package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"iksync/uploader/emulator"
)

// The address of the page may be taken by the daemon of the same configuration, and by
// nobody else.
func TestATakenAddressOfThePageIsAWarning(t *testing.T) {
	t.Parallel()
	for name, network := range map[string]string{"an address": "tcp", "a socket": "unix"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRunRig(t, emulator.Options{})
			r.write("a.jpg")
			at := filepath.Join(r.base, "page.sock")
			if network == "tcp" {
				at = "127.0.0.1:0"
			}
			other, err := net.Listen(network, at)
			r.must(err)
			defer other.Close()
			at = other.Addr().String()
			r.set("http", strings.TrimPrefix(network+":", "tcp:")+at)
			check := func() string { return r.iksync("check", "--config", r.config) }
			if said := check(); !strings.Contains(said, "warning  page           it can't be served: ") || !strings.Contains(said, at) {
				t.Errorf("another process is at %s, and check says\n%s", at, said)
			}
			r.must(other.Close())
			if said := check(); strings.Contains(said, "page ") {
				t.Errorf("nobody is at %s, and check says\n%s", at, said)
			}
			d := r.start()
			d.says("the page is served")
			if said := check(); strings.Contains(said, "page ") {
				t.Errorf("the daemon serves the page at %s, and check says\n%s", at, said)
			}
			if said := r.iksync("check", "--config", r.config, "--state", filepath.Join(r.base, "other.db")); !strings.Contains(said, "warning  page ") {
				t.Errorf("the daemon of another state file is at %s, and check says\n%s", at, said)
			}
			d.stop()
		})
	}
}
