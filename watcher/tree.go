package watcher

import (
	"slices"

	"iksync/state"
)

// kind is what a directory entry is.
type kind uint8

const (
	unknown kind = iota
	regular
	directory
	symlink
	special // FIFO, socket, device
)

// entry is one name in a directory. A directory's name has "/" at its end.
type entry struct {
	name string
	kind kind
	link bool // reached through a symlink that is followed
}

// fileInfo is what one stat call gives.
type fileInfo struct {
	kind kind
	stat state.Stat
}

// sortEntries brings entries to the order of their names' bytes.
func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int {
		if a.name < b.name {
			return -1
		}
		if a.name > b.name {
			return 1
		}
		return 0
	})
}
