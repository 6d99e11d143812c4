//go:build !linux

package main

type mount struct{}

// mounts are not told here.
func mounts() []mount { return nil }

func mountedWithin([]mount, string, string) bool { return false }
