//go:build !failpoints

package uploader

import (
	"time"

	"iksync/uploader/imagekit"
)

// sending is the client as uploads use it, and managed as all else does: with the
// tag failpoints both can be made to fail.
func sending(c *imagekit.Client) *imagekit.Client { return c }

func managed(c *imagekit.Client) library { return c }

const (
	// listingLag is for how long a new asset may be missing from listings: 1 to 4 s have
	// been seen.
	listingLag = 4 * time.Second
	// orphanLag is the same where an asset would never get a record if it came later.
	orphanLag = 40 * time.Second
)

// betweenListings is the time between two listings of a folder that is to be removed.
const betweenListings = 5 * time.Second
