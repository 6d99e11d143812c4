package imagekit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// MaxDelete is how many files one call of [Client.DeleteFiles] can take
// (ImageKit's documentation of its bulk delete).
const MaxDelete = 100

// DeleteFiles deletes files with all their versions, for good; at most
// [MaxDelete] ids. Files that are not in the library count as deleted. Caches
// are not purged.
//
// Refused tells by id why ImageKit kept a file. Even with an error, which is an
// [*Error], deleted and refused hold what is known by then.
func (c *Client) DeleteFiles(ctx context.Context, ids []string) (deleted []string, refused map[string]string, err error) {
	if len(ids) > MaxDelete {
		return nil, nil, unsendable("delete files", fmt.Sprintf("%d ids are more than %d", len(ids), MaxDelete))
	}
	left := make(map[string]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	done := func(ids []string) bool {
		before := len(left)
		for _, id := range ids {
			if left[id] {
				delete(left, id)
				deleted = append(deleted, id)
			}
		}
		return len(left) < before
	}
	for len(left) > 0 {
		m := call{method: http.MethodPost, path: "/files/batch/deleteByFileIds", body: map[string][]string{
			"fileIds": slices.Sorted(maps.Keys(left)),
		}}
		ans, err := c.manage(ctx, m)
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusNotFound && done(e.missingIDs) {
			continue // one id that is not there keeps all others from being deleted
		}
		if err != nil {
			return deleted, nil, err
		}
		refused, err = ans.deletions(m, left, done)
		return deleted, refused, err
	}
	return deleted, nil, nil
}

// deletions reads the answer to a bulk delete of the ids left.
func (a *answer) deletions(m call, left map[string]bool, done func([]string) bool) (refused map[string]string, err error) {
	var body struct {
		Deleted []string `json:"successfullyDeletedFileIds"`
		Errors  []struct {
			ID    string `json:"fileId"`
			Error string `json:"error"`
		} `json:"errors"`
	}
	if err := decode(a.body, &body); err != nil {
		return nil, a.broken(m.method+" "+m.path, err)
	}
	for _, e := range body.Errors {
		if left[e.ID] {
			if refused == nil {
				refused = make(map[string]string)
			}
			refused[e.ID] = clip(e.Error)
			delete(left, e.ID)
		}
	}
	done(body.Deleted)
	if len(left) > 0 {
		return refused, a.broken(m.method+" "+m.path, fmt.Errorf("it does not tell of %d of the files", len(left)))
	}
	return refused, nil
}
