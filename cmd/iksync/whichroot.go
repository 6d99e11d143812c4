package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"iksync/cmd/iksync/internal/config"
	"iksync/state"
	"iksync/watcher"
)

// sampledFiles is how many files of a recorded root are looked for in a directory that may be it.
const sampledFiles = 200

// candidate is a recorded root that is not configured, and what shows that a configured
// directory is its directory.
type candidate struct {
	root state.RecordedRoot
	// identity tells that the directory has the recorded inode of the recorded disk.
	identity bool
	folder   bool // it mirrors into the same remote folder
	sampled  int  // files of the root that were looked for
	matched  int  // of them, those that are in the directory with the recorded size and modification time
	stays    bool // the root is at its recorded path still, which is another directory
}

func (c *candidate) most() bool { return 2*c.matched > c.sampled }

// is reports whether the directory is the root's.
func (c *candidate) is() bool {
	if c.identity && c.sampled == 0 {
		return true
	}
	return c.matched > 0 && (c.identity || c.most()) // clones have the same identity, and other files
}

// may reports whether it can't be told.
func (c *candidate) may() bool { return c.identity || c.matched > 0 || c.folder && c.sampled > 0 }

// decision says which root a directory is that is configured and not recorded.
type decision struct {
	is  *candidate   // a recorded one
	may []*candidate // somebody must decide whether it is one of these; with neither it is new
}

// decideRoot decides which of the recorded roots that are not configured a directory is.
func decideRoot(candidates []candidate) decision {
	var is, may []*candidate
	for i := range candidates {
		c := &candidates[i]
		switch {
		case c.stays && !c.folder: // another root, which another command serves
		case c.is():
			is = append(is, c)
		case c.may():
			may = append(may, c)
		}
	}
	if len(is) > 1 { // one of two that have the same files
		if proven := slices.DeleteFunc(slices.Clone(is), func(c *candidate) bool { return !c.identity || !c.most() }); len(proven) == 1 {
			is = proven
		}
	}
	switch len(is) {
	case 0:
		return decision{may: may}
	case 1:
		return decision{is: is[0]}
	}
	return decision{may: is}
}

// undecided is a configured root of which it is not known whether it is a recorded one.
type undecided struct {
	config *config.Root
	may    []*candidate
}

// why says what is known, and what to do.
func (u *undecided) why() string {
	var reasons []string
	for _, c := range u.may {
		r := fmt.Sprintf("it may be the root %s", display(c.root.Path))
		switch {
		case c.identity && c.matched == 0:
			r += " (the same directory of the same disk, or of a copy of it, but none of its files)"
		case c.matched > 0:
			r += fmt.Sprintf(" (%d of %d files that were looked for are as recorded)", c.matched, c.sampled)
		default:
			r += fmt.Sprintf(" (the same folder %s, but none of its files)", c.root.Folder)
		}
		reasons = append(reasons, r)
	}
	first := u.may[0].root.Path
	return fmt.Sprintf("%s is not recorded, and %s: if it is, run iksync relocate %q %q, so that nothing is sent again; if it is another one, run iksync relocate --new-root %q, or iksync backfill with --new-root",
		u.config.Path, strings.Join(reasons, ", or "), first, u.config.Path, u.config.Path)
}

// whichRoot gathers what tells which recorded root the directory of a configured one is, and
// decides.
func whichRoot(ctx context.Context, db *state.DB, r *config.Root, dir *os.Root, recorded []state.RecordedRoot, how *rootOptions) (decision, error) {
	here, err := watcher.Identify(r.Path)
	if err != nil {
		return decision{}, err
	}
	var all []candidate
	for _, root := range recorded {
		if how.configured[root.Path] || root.Path == r.Path {
			continue
		}
		c := candidate{root: root, folder: root.Folder == r.Folder}
		same, proven := here.Is(root.Identity)
		c.identity = same && proven
		files, err := db.SampleRoot(ctx, root.ID, sampledFiles)
		if err != nil {
			return decision{}, err
		}
		c.sampled, c.matched = len(files), matching(dir, files)
		if c.may() { // the recorded path may be on a disk that does not answer: it is asked only if it matters
			c.stays = staysAt(root, r.Path, files)
		}
		if how.adHoc && c.stays && c.matched == 0 { // two directories that mirror into one folder
			continue
		}
		all = append(all, c)
	}
	return decideRoot(all), nil
}

// matching counts the files that a directory has with the recorded size and modification time.
func matching(dir *os.Root, files []state.Sample) (n int) {
	for _, f := range files {
		info, err := dir.Stat(f.Path)
		if err == nil && info.Mode().IsRegular() && info.Size() == f.Size && state.StatOf(info).MtimeNs == f.MtimeNs {
			n++
		}
	}
	return n
}

// staysAt reports whether a recorded root is at its recorded path still, and that is not
// another name of the directory at path.
func staysAt(root state.RecordedRoot, path string, files []state.Sample) bool {
	before, err := os.Stat(root.Path)
	if err != nil || !before.IsDir() {
		return false
	}
	if after, err := os.Stat(path); err == nil && os.SameFile(before, after) {
		return false
	}
	if id, err := watcher.Identify(root.Path); err == nil {
		if same, proven := id.Is(root.Identity); same && proven {
			return true
		}
	}
	dir, err := os.OpenRoot(root.Path)
	if err != nil {
		return false
	}
	defer dir.Close()
	return len(files) > 0 && 2*matching(dir, files) > len(files)
}

// copied reports whether a root's directory, at its recorded path, is on another disk than the
// recorded one although it has most of the recorded files.
func copied(ctx context.Context, db *state.DB, root state.RecordedRoot, dir *os.Root) (bool, error) {
	if len(root.Identity) == 0 || root.Replaced {
		return false, nil
	}
	here, err := watcher.Identify(root.Path)
	if err != nil {
		return false, err
	}
	if same, _ := here.Is(root.Identity); same {
		return false, nil
	}
	files, err := db.SampleRoot(ctx, root.ID, sampledFiles)
	return err == nil && len(files) > 0 && 2*matching(dir, files) > len(files), err
}

// recordRoot records a configured root whose directory is open, and says what is to be told of
// it. It is undecided if it can't be told whether it is a recorded one.
func recordRoot(ctx context.Context, db *state.DB, r *config.Root, dir *os.Root, how *rootOptions) (root state.Root, open *undecided, says []string, err error) {
	for range 3 { // what was decided on may have changed
		root, open, says, err = recordRootOnce(ctx, db, r, dir, how)
		if !errors.Is(err, state.ErrRootsChanged) {
			break
		}
	}
	return root, open, says, err
}

func recordRootOnce(ctx context.Context, db *state.DB, r *config.Root, dir *os.Root, how *rootOptions) (root state.Root, open *undecided, says []string, err error) {
	recorded, err := db.RecordedRoots(ctx)
	if err != nil {
		return root, nil, nil, err
	}
	if i := slices.IndexFunc(recorded, func(o state.RecordedRoot) bool { return o.Path == r.Path }); i >= 0 {
		is, err := copied(ctx, db, recorded[i], dir)
		if err != nil {
			return root, nil, nil, err
		}
		if is {
			says = append(says, fmt.Sprintf("%s is on another disk than the recorded one, with the recorded files: each file is read once, and nothing is removed until you run iksync approve", r.Path))
			if err := db.DistrustRoot(ctx, recorded[i].ID); err != nil {
				return root, nil, nil, err
			}
		}
	} else if !how.newRoot {
		d, err := whichRoot(ctx, db, r, dir, recorded, how)
		if err != nil {
			return root, nil, nil, err
		}
		if d.is != nil {
			if how.busy != nil && how.busy(d.is.root.ID) {
				return root, nil, nil, &rootBusyError{d.is.root.ID}
			}
			root, err = db.RelocateRoot(ctx, d.is.root.Root, r.Path, r.Folder, d.is.identity)
			return root, nil, []string{relocated(d.is, r.Path)}, err
		}
		if len(d.may) > 0 {
			return root, &undecided{config: r, may: d.may}, nil, nil
		}
	}
	root, err = db.EnsureRoot(ctx, r.Path, r.Folder)
	return root, nil, says, err
}

// rootBusyError says that a root can't be recorded at another path while its files are being
// sent from the recorded one.
type rootBusyError struct{ id int64 }

// Error says so.
func (e *rootBusyError) Error() string {
	return fmt.Sprintf("files of root %d are being sent from its previous path", e.id)
}

// relocated says that a directory is that of a recorded root.
func relocated(c *candidate, path string) string {
	how := fmt.Sprintf("%d of %d files that were looked for are as recorded; the others are compared before anything is sent", c.matched, c.sampled)
	if c.identity {
		how = "it is the same directory of the same disk"
	}
	return fmt.Sprintf("%s is the recorded root %s: %s. Its records move with it, and nothing is sent again", path, display(c.root.Path), how)
}
