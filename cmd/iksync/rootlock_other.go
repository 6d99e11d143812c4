//go:build !unix

package main

import "os"

// lockRoot opens the root; without flock a second process is not kept out.
func lockRoot(path string) (*os.File, error) { return os.Open(path) }

// rootHolder is not known here.
func rootHolder(string) int { return 0 }
