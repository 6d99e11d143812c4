//go:build unix

package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"iksync/watcher/faultfs"
)

// world is the kind of file system that the trees of a test are on.
type world string

const (
	// worldExt4 is a directory of this machine: inode numbers are stable, and the
	// change time is the system's own.
	worldExt4 world = "ext4"
	// worldFAT is as a memory card is: each mount numbers the files anew, a new file
	// takes over the number of a removed one, all times are the modification time in
	// steps of two seconds, and the case of names is folded. It is mounted again all
	// the time.
	worldFAT world = "fat"
	// worldFUSE has stable inode numbers, and its change time is the modification time.
	worldFUSE world = "fuse"
)

var worlds = []world{worldExt4, worldFAT, worldFUSE}

// proven reports whether an inode, its change time and its size prove that a file is
// the one that they were recorded of. Where they don't, nothing can be demanded of
// what is not sent.
func (w world) proven() bool { return w == worldExt4 }

// worldOf is the world of a seed, or that which the environment variable names, or
// ext4 where there is no FUSE.
func worldOf(t *testing.T, variable string, otherwise string, seed uint64) world {
	t.Helper()
	said := os.Getenv(variable)
	if said == "" {
		said = otherwise
	}
	w := world(said)
	switch {
	case said == "all":
		w = worlds[rand.New(rand.NewPCG(seed, 9)).IntN(len(worlds))]
	case !slices.Contains(worlds, w):
		t.Fatalf("%s=%s is not all or one of %v", variable, said, worlds)
	}
	return w
}

// mount mounts the file system of a world at a directory; nil for ext4.
func (w world) mount(t *testing.T, dir string, seed uint64) *faultfs.FS {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 10))
	o := faultfs.Options{Dir: dir, CtimeIsMtime: true, Seed: seed}
	switch w {
	case worldExt4:
		return nil
	case worldFAT:
		o.Inodes = []faultfs.Inodes{faultfs.InOrder, faultfs.Random}[r.IntN(2)]
		o.Grain, o.ReuseInodes, o.FoldCase = 2*time.Second, true, r.IntN(2) == 0
	}
	return faultfs.New(t, o)
}
