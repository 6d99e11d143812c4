package main

import (
	"path/filepath"
	"strings"
)

// serviceDir is where the units in systemd/ look for configurations.
const serviceDir = "/etc/iksync"

// serviceUser is whom those units run iksync as.
const serviceUser = "iksync"

// serviceText is where it is written how the service is installed, and what it may read.
const serviceText = "systemd/README.md, in the Debian package /usr/share/doc/iksync/service.md"

// service is what those units make of a configuration. The zero value is that of one
// that belongs to none.
type service struct {
	unit  string // "iksync", or "iksync@studio"
	key   string // the file that the manager hands over as a credential
	state string // the state file, whatever the configuration says
}

// serviceOf returns the service whose configuration a file is.
func serviceOf(configFile string) service {
	abs, err := filepath.Abs(configFile)
	if err != nil || filepath.Dir(abs) != serviceDir {
		return service{}
	}
	name, isConfig := strings.CutSuffix(filepath.Base(abs), ".yaml")
	if !isConfig || name == "" {
		return service{}
	}
	if name == "config" {
		return service{"iksync", serviceDir + "/private_key", "/var/lib/iksync/iksync.db"}
	}
	return service{"iksync@" + name, serviceDir + "/" + name + ".private_key", "/var/lib/iksync-" + name + "/iksync.db"}
}
