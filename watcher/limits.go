package watcher

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"iksync/watcher/filter"
)

// Limits are the largest sizes that ImageKit takes, bytes by type; 0 is none.
type Limits struct {
	Image int64
	Video int64
	Other int64 // audio and everything else
}

// Of returns the limit for a file of that name; 0 is none.
func (l Limits) Of(name string) int64 {
	switch filter.KindOf(name) {
	case filter.Image:
		return l.Image
	case filter.Video:
		return l.Video
	}
	return l.Other
}

// Classes of holds, as listings and metrics name them.
const (
	HoldEmpty    = "empty"
	HoldTooLarge = "too_large"
	HoldTooDeep  = "too_deep"
)

// Hold says why a file of that name and size can't be uploaded as it is:
// its class and its reason, both "" when it can.
func (l Limits) Hold(name string, size int64) (class, reason string) {
	if size == 0 {
		return HoldEmpty, "empty: waits until it has content"
	}
	if most := l.Of(name); most > 0 && size > most {
		return HoldTooLarge, fmt.Sprintf("%s is more than the limit of %s for a file of type %s (see limits in the configuration)",
			humanize.IBytes(uint64(size)), humanize.IBytes(uint64(most)), filter.KindOf(name))
	}
	return "", ""
}
