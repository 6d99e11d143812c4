//go:build !linux

package uploader

const openFlags = 0
