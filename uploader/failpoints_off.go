//go:build !failpoints

package uploader

import "iksync/uploader/imagekit"

// sending is the client as uploads use it, and managed as all else does: with the
// tag failpoints both can be made to fail.
func sending(c *imagekit.Client) *imagekit.Client { return c }

func managed(c *imagekit.Client) library { return c }
