//go:build !linux

package uploader

import (
	"errors"
	"os"
)

const openFlags = 0

// openAtOnce is for Linux alone.
func openAtOnce(*os.File, string) (*os.File, error) { return nil, errors.ErrUnsupported }
