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

// betweenListings is the time between two listings of a folder that is to be removed.
const betweenListings = 5 * time.Second
