//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package emulator

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir only opens the file: this system has no flock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	return f, nil
}
