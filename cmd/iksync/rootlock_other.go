//go:build !unix

package main

import "os"

// lockRoot opens the root; without flock a second process is not kept out.
func lockRoot(path string) (*os.File, error) { return os.Open(path) }
