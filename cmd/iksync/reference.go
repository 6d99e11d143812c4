package main

import (
	"fmt"
	"strings"
)

// entry is something with a name that is explained, in the help and in the manual.
type entry struct{ name, means string }

// exitCodes explains the exit codes.
var exitCodes = []entry{
	{"0", "all in step"},
	{"1", "some files failed (they are named), or the work could not be done"},
	{"64", "the command line is wrong"},
	{"74", "the state file can't be written: its disk is full or read-only"},
	{"75", "another iksync is using the state file, or one of the roots"},
	{"77", "ImageKit refuses the private key"},
	{"78", "the configuration, a path in it or the state file can't be used"},
	{"130", "interrupted; started again it continues where it was"},
}

// environment explains the variables that iksync heeds.
var environment = []entry{
	{"IMAGEKIT_PRIVATE_KEY", "the private key (never a flag, so that no process list shows it)"},
	{"IKSYNC_STATE", "state file, before the configuration's"},
	{"IKSYNC_UPLOAD_URL", "endpoint for uploads, before the configuration's"},
	{"IKSYNC_API_URL", "base of the management API, before the configuration's"},
}

// ownFiles explains the files of iksync itself.
var ownFiles = []entry{
	{"~/.local/state/iksync/iksync.db", "state file, where nothing names another (below $XDG_STATE_HOME, if set)"},
	{"/etc/iksync/config.yaml", "configuration of the service"},
	{"/etc/iksync/private_key", "its private key"},
	{"/var/lib/iksync/iksync.db", "its state file"},
	{"STATE.schemaN.bak", "a state file as it was before an update changed its schema"},
	{"STATE.sock", "socket by which the commands reach the daemon"},
}

// about is what iksync is, in the help and in the manual.
const about = `iksync uploads local directories into the ImageKit.io media library, mirrors
their folders, and records the fileId of every file.`

// help is about with the tables above.
func help() string {
	var w strings.Builder
	fmt.Fprint(&w, about, "\n\nExit codes:\n")
	for _, t := range exitCodes {
		fmt.Fprintf(&w, "%4s  %s\n", t.name, t.means)
	}
	for _, part := range []struct {
		title   string
		entries []entry
	}{{"Environment", environment}, {"Files", ownFiles}} {
		width := 0
		for _, t := range part.entries {
			width = max(width, len(t.name))
		}
		fmt.Fprintf(&w, "\n%s:\n", part.title)
		for _, t := range part.entries {
			fmt.Fprintf(&w, "  %-*s  %s\n", width, t.name, t.means)
		}
	}
	return strings.TrimSuffix(w.String(), "\n")
}
