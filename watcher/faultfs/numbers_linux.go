package faultfs

import (
	"math/rand/v2"
	"slices"
)

// key tells a file of the backing from every other one, also from a later one with
// the same inode.
type key struct {
	dev, ino uint64
	born     int64
}

// numbers are the inode numbers that are shown. A file keeps its number after its
// removal for those who have it open, while a new file may have it as well.
type numbers struct {
	of    map[key]uint64
	owner map[uint64]key
	next  uint64
	shift uint64 // of the numbers of Stable
	rand  *rand.Rand
	old   map[key]bool // what there was at the mount; nil unless numbers are reused
}

// reset forgets all numbers.
func (n *numbers) reset(seed, mounts uint64) {
	n.of, n.owner, n.next = make(map[key]uint64), make(map[uint64]key), 2
	n.rand = rand.New(rand.NewPCG(seed, mounts))
}

// number gives the number of a file; alive lists the backing.
func (n *numbers) number(k key, o *Options, alive func() map[key]bool) uint64 {
	if o.Inodes == Stable && !o.ReuseInodes {
		return k.ino + n.shift
	}
	if ino, ok := n.of[k]; ok {
		return ino
	}
	ino, ok := uint64(0), false
	if o.ReuseInodes && !n.old[k] {
		ino, ok = n.free(alive())
	}
	for !ok {
		switch o.Inodes {
		case Stable:
			ino = k.ino + n.shift
			if _, taken := n.owner[ino]; taken {
				n.next++
				ino = 1<<40 + n.next
			}
		case InOrder:
			ino = n.next
			n.next++
		case Random:
			ino = 2 + n.rand.Uint64N(64+2*uint64(len(n.of)))
		}
		_, taken := n.owner[ino]
		ok = !taken
	}
	n.of[k], n.owner[ino] = ino, k
	return ino
}

// free gives the lowest number whose file is gone.
func (n *numbers) free(alive map[key]bool) (ino uint64, ok bool) {
	var gone []uint64
	for ino, k := range n.owner {
		if !alive[k] {
			gone = append(gone, ino)
		}
	}
	if len(gone) == 0 {
		return 0, false
	}
	return slices.Min(gone), true
}
