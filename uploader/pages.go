package uploader

import (
	"context"
	"fmt"

	"iksync/uploader/imagekit"
)

// maxDepth is how deep folders are followed: ImageKit allows 50 levels.
const maxDepth = 60

// eachPage lists a folder page by page. A listing that gives a page twice would
// never end: it is given up.
func eachPage(ctx context.Context, folder string, list func(ctx context.Context, folder string, skip, limit int) ([]imagekit.Entry, error), visit func([]imagekit.Entry) error) error {
	begun := make(map[string]bool) // by the first entry of a page
	for skip := 0; ; skip += imagekit.MaxPage {
		page, err := list(ctx, folder, skip, imagekit.MaxPage)
		if err != nil {
			return err
		}
		if len(page) > 0 {
			first := page[0].Path
			if begun[first] {
				return fmt.Errorf("%w: the listing of %s gives the page that begins with %s again and again", errWrongAnswer, folder, first)
			}
			begun[first] = true
		}
		if err := visit(page); err != nil {
			return err
		}
		if len(page) < imagekit.MaxPage {
			return nil
		}
	}
}
