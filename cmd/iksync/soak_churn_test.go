//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// still is the directory of each root that nothing happens to.
const still = "still"

// soakOps are what the churn does, each as often as it is likely.
var soakOps = []string{
	"create", "create", "create", "create", "edit", "edit", "edit same size", "touch", "save", "save",
	"rename", "rename", "rename here", "move", "move", "rename case", "rename onto", "rename edit", "swap", "chain", "rotate",
	"rename dir", "move dir", "move dir both", "swap dirs", "retire dir",
	"revert", "revert", "delete", "delete", "delete dir", "restore", "copy", "copy -p", "copy dir", "hide", "show", "mkdir", "rmdir",
}

// The trees are kept from growing without end.
const (
	soakFiles = 120
	soakDirs  = 40
	soakDepth = 10
)

// soakChurn changes the trees all the time.
type soakChurn struct {
	trees   *movesTrees
	rand    *rand.Rand
	journal *journal
	before  []movesDeleted // contents of files that were changed since

	mu      sync.Mutex // held while something changes
	changes int
	rests   bool
}

// while does something to the disk while nothing else happens to it. What is not to
// happen to another disk rests until it is back.
func (c *soakChurn) while(rests bool, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	c.rests = rests
}

// run churns until ctx ends.
func (c *soakChurn) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.step()
		pause := time.Duration(2+c.rand.IntN(20)) * time.Millisecond
		if c.rand.IntN(50) == 0 {
			pause = 400 * time.Millisecond // what has happened is in step before more does, perhaps
		}
		timer.Reset(pause)
	}
}

func (c *soakChurn) step() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rests {
		return
	}
	op := movesOp{soakOps[c.rand.IntN(len(soakOps))], [4]uint32{c.rand.Uint32() >> 1, c.rand.Uint32() >> 1, c.rand.Uint32() >> 1, c.rand.Uint32() >> 1}}
	w := c.trees
	files, dirs := w.list()
	var inner, deep []string
	for _, d := range dirs {
		if strings.Contains(d, "/") {
			inner = append(inner, d)
		}
		if strings.Count(d, "/") > soakDepth {
			deep = append(deep, d)
		}
	}
	switch dir := dirs[int(op.n[1])%len(dirs)]; {
	case len(deep) > 0:
		c.prune(deep[0])
	case len(inner) > 0 && (len(files) > soakFiles || len(dirs) > soakDirs):
		c.prune(inner[int(op.n[0])%len(inner)])
	case len(files) > soakFiles:
		w.do(movesOp{"delete", op.n})
	case op.what == "mkdir":
		at := w.free(dir, fmt.Sprintf("m%d", op.n[0]%8))
		w.say("mkdir %s: %v", at, os.MkdirAll(filepath.Join(w.abs(at), "in"), 0o755))
	case op.what == "rmdir":
		for _, d := range inner {
			if os.Remove(w.abs(d)) == nil { // only empty ones can be
				w.say("rmdir %s", d)
				break
			}
		}
	case op.what == "revert":
		c.revert(op.n)
	default:
		c.remember(op, files)
		w.do(op)
	}
	if len(w.said) > 0 {
		c.changes++
	}
	for _, said := range w.said {
		c.journal.say("%s", said)
	}
	w.said = w.said[:0]
	w.deleted = w.deleted[max(0, len(w.deleted)-30):]
}

// remember keeps the content of a file that is about to be changed.
func (c *soakChurn) remember(op movesOp, files []string) {
	if len(files) == 0 || op.what != "edit" && op.what != "edit same size" && op.what != "save" {
		return
	}
	at := files[int(op.n[0])%len(files)]
	content, err := os.ReadFile(c.trees.abs(at))
	if err == nil { // else it is not there any more
		c.before = append(c.before[max(0, len(c.before)-5):], movesDeleted{path: at, content: content})
	}
}

// revert gives a file back the content that it had.
func (c *soakChurn) revert(n [4]uint32) {
	if len(c.before) == 0 {
		return
	}
	b := c.before[int(n[0])%len(c.before)]
	if c.trees.exists(b.path) {
		c.trees.say("revert: %v", c.trees.write(b.path, b.content))
	}
}

func (c *soakChurn) prune(dir string) {
	c.trees.say("rm -r %s: %v", dir, os.RemoveAll(c.trees.abs(dir)))
}
