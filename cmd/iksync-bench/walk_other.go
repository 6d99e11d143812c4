//go:build !linux

package main

import (
	"io/fs"
	"path/filepath"
)

const walkIs = "filepath.WalkDir, and Info of each file; one thread"

// walk looks at every file below dir, one after the other.
func walk(dir string) (files, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		bytes += info.Size()
		return nil
	})
	return files, bytes, err
}
