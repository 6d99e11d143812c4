package watcher

import (
	"context"
	"fmt"
	"strings"

	"iksync/watcher/filter"
)

// Survey is what a look at the directories of a tree has found.
type Survey struct {
	Dirs  int64 // the root and the directories below it that the filters don't cut
	Files int64 // what else is in them, wanted or not
	Whole bool  // all were looked at; else there are more
}

// Count counts the directories that a watcher of the root at path would watch, until
// ctx ends. Symlinks are not followed, and what can't be read below the root is left
// out. An error is one of the root itself.
func Count(ctx context.Context, path string, set *filter.Set) (Survey, error) {
	top, err := openRootDir(path)
	if err != nil {
		return Survey{}, fmt.Errorf("look at root %s: %w", path, err)
	}
	defer top.close()
	var s Survey
	scratch := make([]byte, direntBuffer)
	entries, err := top.entries(scratch)
	if err != nil {
		return Survey{}, fmt.Errorf("look at root %s: %w", path, err)
	}
	s.Whole = s.count(ctx, top, entries, set.Root(), scratch)
	return s, nil
}

// count counts a directory and all below it; false when ctx has ended before.
func (s *Survey) count(ctx context.Context, d *dir, entries []entry, scope filter.Scope, scratch []byte) bool {
	s.Dirs++
	for i := range entries {
		if ctx.Err() != nil {
			return false
		}
		name, isDir := strings.CutSuffix(entries[i].name, "/")
		if !isDir {
			s.Files++
			continue
		}
		inner, decision := scope.Enter(name)
		if decision.Excluded {
			continue
		}
		below, err := d.open(entries[i].name)
		if err != nil {
			continue
		}
		listed, err := below.entries(scratch)
		whole := err != nil || s.count(ctx, below, listed, inner, scratch)
		below.close()
		if !whole {
			return false
		}
	}
	return true
}

// Cure is the setting of the system that lets all of so many directories be watched.
func Cure(directories int64) string {
	return fmt.Sprintf("sysctl -w fs.inotify.max_user_watches=%d", roundUp(2*directories))
}
