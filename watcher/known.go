package watcher

import (
	"context"

	"iksync/queue"
)

// knownPage is how many rows are read at a time.
const knownPage = 4096

// knownRows gives what the state file knows of a root, in the order of the
// paths' bytes, page by page. The next page is read while one is merged.
type knownRows struct {
	pages <-chan knownResult
	page  []queue.Known
	err   error
}

type knownResult struct {
	rows []queue.Known
	err  error
}

// readKnown starts reading what is below dir, "" for all. It ends with ctx or at the last row.
func readKnown(ctx context.Context, q *queue.Queue, rootID int64, dir string) (*knownRows, func()) {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan knownResult, 1)
	go func() {
		defer close(pages)
		after := ""
		for {
			rows, more, err := q.KnownBelow(ctx, rootID, dir, after, knownPage)
			select {
			case pages <- knownResult{rows, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || !more {
				return
			}
			after = rows[len(rows)-1].Path
		}
	}()
	stop := func() {
		cancel()
		for range pages { // wait for the reader
		}
	}
	return &knownRows{pages: pages}, stop
}

// peek returns the next row; nil after the last, or after an error.
func (k *knownRows) peek() *queue.Known {
	for len(k.page) == 0 {
		if k.err != nil {
			return nil
		}
		next, ok := <-k.pages
		if !ok {
			return nil
		}
		k.page, k.err = next.rows, next.err
	}
	return &k.page[0]
}

func (k *knownRows) skip() { k.page = k.page[1:] }
