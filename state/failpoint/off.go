//go:build !failpoints

// Package failpoint marks the places where a test lets the process die, or a step
// fail: between what is written down and what is asked of the library. It is
// nothing unless the program is built with the tag failpoints. Then
// IKSYNC_FAILPOINTS tells what happens where, separated by ";":
//
//	NAME=kill     the process kills itself the first time that it comes there
//	NAME=error@3  an error the third time, and only then
//	NAME=trace    each time it is told on standard error; NAME may be "all"
package failpoint

// Hit does what is wanted of a failpoint: nothing.
func Hit(string) error { return nil }
