package uploader

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"iksync/queue"
	"iksync/uploader/imagekit/names"
)

// rehome moves assets that are outside of their root's folder into it, where somebody has asked
// for that; false when nobody has. Whole folders go by one job of ImageKit's where that is
// possible, the rest file by file. A crash leaves the wish, and the intents of what was begun.
func (m *mover) rehome(ctx context.Context, roots []int64) (bool, error) {
	id, err := m.p.q.Rehoming(ctx, roots)
	if err != nil || id == 0 {
		return false, err
	}
	root := m.p.roots[id]
	if root.away() {
		return false, nil
	}
	moved, err := m.rehomeFolder(ctx, root)
	if err != nil || moved { // what is outside still is seen to next
		return true, err
	}
	return true, m.p.q.Rehomed(ctx, id, root.Folder)
}

// rehomeFolder moves the folder that mirrored a root to where it is mirrored now; false when
// that can't be done as a whole, or nothing is outside.
func (m *mover) rehomeFolder(ctx context.Context, root *Root) (bool, error) {
	f, err := m.p.q.OutsideOf(ctx, root.ID, root.Folder)
	if err != nil || f == nil {
		return false, err
	}
	source, whole := "", false
	for _, mode := range []names.Mode{names.Safe, names.Keep} { // it may have been uploaded with either
		below, err := names.Path("/", f.Path, mode)
		if err != nil {
			return false, nil // it is seen to alone
		}
		if source, whole = strings.CutSuffix(f.RemotePath, below); whole {
			break
		}
	}
	why := ""
	switch {
	case !whole:
		why = "it has another name in the library"
	case source == "", root.Folder == "/", under(source, root.Folder), under(root.Folder, source):
		why = "one folder is in the other"
	}
	var n int64
	if why == "" {
		if why, n, err = m.p.q.Whole(ctx, root.ID, source, root.Folder); err != nil {
			return false, err
		}
	}
	if why == "" {
		taken, err := m.folderTaken(ctx, root.Folder)
		if err != nil {
			return false, m.treeFailed(ctx, err)
		}
		if taken {
			why = "the library has that folder already"
		}
	}
	if why != "" {
		m.p.o.Log.Info("the assets of a root whose folder was changed are moved one by one", zap.String("root", root.Dir.Name()), zap.String("from", f.RemotePath), zap.String("to", root.Folder), zap.String("why", why))
		return false, nil
	}
	at := queue.Place{RootID: root.ID}
	return m.moveFolder(ctx, &queue.Tree{From: at, To: at, Source: source, Target: root.Folder, Records: n})
}
