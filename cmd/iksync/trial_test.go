//go:build unix

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"iksync/uploader/emulator"
)

// A trial that goes on to serve says where it does, and names no other address.
func TestATrialThatServesSaysWhere(t *testing.T) {
	t.Parallel()
	r := newRunRig(t, emulator.Options{})
	r.write("a.jpg")
	d := r.begin(r.command("iksync", []string{"backfill", r.tree(), "--emulator", "--serve", "--emulator-dir", filepath.Join(r.base, "trial")}))
	d.says("until Ctrl-C")
	d.signal(syscall.SIGINT)
	d.ends(0)
	at := regexp.MustCompile(`Serving (http://\S+/) until Ctrl-C`).FindStringSubmatch(d.log())
	if at == nil || !strings.Contains(d.log(), "Look at it: open "+at[1]+" in a browser\n") || strings.Contains(d.log(), "iksync emulator") {
		t.Errorf("it says\n%s", d.log())
	}
}
