//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"iksync/state"
	"iksync/uploader/emulator"
)

// onDisk is a file that is there.
type onDisk struct {
	at     string // root's name and path
	hash   state.Hash
	size   int64
	mtime  int64
	ino    uint64
	links  uint64
	wanted bool
}

// look reads the trees.
func (w *movesTrees) look() (map[string]onDisk, error) {
	disk := make(map[string]onDisk)
	for _, root := range w.roots {
		err := filepath.WalkDir(w.abs(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(w.base, path)
			if err != nil {
				return err
			}
			f := onDisk{at: rel, hash: xxh3.Hash128(content).Bytes(), size: info.Size(), mtime: info.ModTime().UnixNano()}
			f.ino, f.links = inodeOf(info)
			f.wanted = !strings.HasSuffix(rel, ".tmp") && !(w.rawOut && strings.HasSuffix(rel, ".raw"))
			disk[rel] = f
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return disk, nil
}

// recorded are the records, by root's name and path, and what else the state file has.
type recorded struct {
	files   map[string]*state.File
	jobs    []string
	intents int
	removed []removedRow
	aliases map[string]state.Hash // contents that other records have, by root's name and path
}

type removedRow struct {
	fileID, trash string
	hash          state.Hash
}

func (m *movesRun) records(ctx context.Context) (*recorded, error) {
	r := &recorded{files: make(map[string]*state.File), aliases: make(map[string]state.Hash)}
	db, err := state.OpenReadOnly(ctx, m.state)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer db.Close()
	roots, err := db.Roots(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[int64]string)
	for _, root := range roots {
		names[root.ID] = filepath.Base(root.Path)
	}
	for f, err := range db.Files(ctx, 0, false) {
		if err != nil {
			return nil, err
		}
		r.files[names[f.RootID]+"/"+f.Path] = f
	}
	for f, err := range db.Aliases(ctx, 0) {
		if err != nil {
			return nil, err
		}
		r.aliases[names[f.RootID]+"/"+f.Path] = f.Hash
	}
	rows, err := db.Query(ctx, `SELECT root_id, CAST(path AS TEXT) || ': state ' || state || ', move ' || move || ', ' || class || ' ' || reason FROM jobs`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var job string
		if err := rows.Scan(&id, &job); err != nil {
			return nil, err
		}
		r.jobs = append(r.jobs, names[id]+"/"+job)
	}
	intents, err := db.Query(ctx, `SELECT count(*) FROM intents`)
	if err != nil {
		return nil, err
	}
	defer intents.Close()
	for intents.Next() {
		if err := intents.Scan(&r.intents); err != nil {
			return nil, err
		}
	}
	gone, err := db.Query(ctx, `SELECT file_id, trash_path, hash FROM removed WHERE trash_path <> ''`)
	if err != nil {
		return nil, err
	}
	defer gone.Close()
	for gone.Next() {
		var row removedRow
		var hash []byte
		if err := gone.Scan(&row.fileID, &row.trash, &hash); err != nil {
			return nil, err
		}
		copy(row.hash[:], hash)
		r.removed = append(r.removed, row)
	}
	return r, errors.Join(rows.Err(), intents.Err(), gone.Err())
}

// inFlight reports whether there is a job for a file.
func (r *recorded) inFlight(at string) bool {
	return slices.ContainsFunc(r.jobs, func(job string) bool { return strings.HasPrefix(job, at+": ") })
}

// expectation is what a perfect player makes of a change of the trees.
type expectation struct {
	ids   map[string]string // fileIds that survive, by root's name and path
	bytes int64             // that must be sent
	why   map[string]string
}

// expect compares the trees with the records before a backfill.
//
// The content of a file must be sent unless the record of its path has it, or it
// was purely moved: a record elsewhere has its inode, time and content, that path
// has another file or none by now, and the record of the path that it has come to,
// if there is one, is of a file that was purely moved itself (else it was moved
// onto that file, whose asset gets a version: its content may be sent). That
// record may have come there with its directory.
//
// These cost their bytes though a cleverer player might spare them: a file with
// several names (hard links); one that was touched or edited as it was moved; one
// that only looks like a deleted one (a copy with its time, restored elsewhere);
// one whose content is recorded at its path, but as that of a file that was moved
// away; one in whose place a file of the same content is, which keeps the fileId; one in
// whose place a file is that was not recorded: the asset stays at its path then, as a
// program that keeps the original under another name wants it (a directory that was moved
// as a whole takes its assets along).
func expect(before *recorded, disk map[string]onDisk) *expectation {
	e := &expectation{ids: make(map[string]string), why: make(map[string]string)}
	donors := make(map[string]string) // by where the file is
	movedTo := make(map[string]string)
	for at, d := range disk {
		if !d.wanted || d.links > 1 {
			continue
		}
		if r := before.files[at]; r != nil && r.Stat.Ino == d.ino && r.Hash == d.hash {
			continue
		}
		var found []string
		for from, r := range before.files {
			there, is := disk[from]
			if from != at && !r.Unproven && r.Stat.Ino == d.ino && r.Stat.MtimeNs == d.mtime && r.Hash == d.hash && !(is && (there.ino == d.ino || there.hash == r.Hash)) {
				found = append(found, from)
			}
		}
		if len(found) == 1 { // several had been one file's names
			donors[at], movedTo[found[0]] = found[0], at
		}
	}
	// A directory's records move along with it, also that of a file that another one
	// was moved onto.
	overwritten := func(at string) bool {
		for to, from := range donors {
			for filepath.Base(to) == filepath.Base(from) {
				to, from = filepath.Dir(to), filepath.Dir(from)
				if below, ok := strings.CutPrefix(at, to+"/"); ok {
					old := from + "/" + below
					if before.files[old] != nil && movedTo[old] == "" && donors[at] != old {
						return true
					}
				}
			}
		}
		return false
	}
	var pure func(at string, above []string) bool
	pure = func(at string, above []string) bool {
		if donors[at] == "" || before.files[at] == nil && overwritten(at) {
			return false
		}
		if before.files[at] == nil || slices.Contains(above, at) {
			return true
		}
		next := movedTo[at]
		return next != "" && pure(next, append(above, at))
	}
	for at, d := range disk {
		if !d.wanted {
			continue
		}
		own := before.files[at]
		_, replaced := disk[donors[at]]
		switch {
		case pure(at, nil) && replaced && donors[donors[at]] == "":
			e.bytes += d.size
		case pure(at, nil) && before.inFlight(at):
			// It was being sent as the process was killed, so there is something at its
			// place perhaps, which gets a version.
			e.bytes += d.size
		case pure(at, nil):
			e.ids[at] = before.files[donors[at]].FileID
			e.why[at] = "moved from " + donors[at]
		case own != nil && own.Hash == d.hash && (own.Stat.Ino == d.ino || movedTo[at] == ""):
			if own.Stat.Ino == d.ino && d.links == 1 {
				e.ids[at] = own.FileID
				e.why[at] = "unchanged"
			}
		default:
			e.bytes += d.size
		}
	}
	return e
}

// judge compares the library with the trees, the records and the policies, after
// a backfill that ended well.
func (m *movesRun) judge(ctx context.Context, e *expectation, checkIDs bool) error {
	disk, err := m.trees.look()
	if err != nil {
		return err
	}
	now, err := m.records(ctx)
	if err != nil {
		return err
	}
	assets := make(map[string]emulator.Asset)
	for _, a := range m.library.server.Assets() {
		assets[a.FilePath] = a
	}
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	left := maps.Clone(assets)
	ids := make(map[string]string)
	for _, at := range slices.Sorted(maps.Keys(now.files)) {
		r := now.files[at]
		if other, ok := ids[r.FileID]; ok {
			bad("%s and %s have one fileId, %s", at, other, r.FileID)
		}
		ids[r.FileID] = at
		a, ok := assets[r.RemotePath]
		delete(left, r.RemotePath)
		switch {
		case !ok:
			bad("the record of %s: nothing is at %s", at, r.RemotePath)
		case m.orphans && r.Absent != state.Present && a.FileID == r.FileID:
			// A new content of it was sent as the process was killed, and the file is gone since.
		case a.FileID != r.FileID || state.Hash(a.Hash) != r.Hash || a.Size != r.Stat.Size:
			bad("the record of %s is not its asset at %s: %s %x %d, there %s %x %d", at, r.RemotePath, r.FileID, r.Hash[:4], r.Stat.Size, a.FileID, a.Hash[:4], a.Size)
		}
		d, there := disk[at]
		switch {
		case there && d.wanted:
			if r.Absent != state.Present {
				bad("%s is there, its record says %s", at, r.Absent)
			}
			if r.Hash != d.hash {
				bad("%s has another content than its record", at)
			}
			if want := "/" + at; r.RemotePath != want {
				bad("%s is at %s", at, r.RemotePath)
			}
		case r.Absent == state.Present && !m.program.world.proven():
			// Device numbers change with a mount: what is absent may be on another disk.
		case r.Absent == state.Present:
			bad("%s is not wanted (there: %v), and its record does not say so", at, there)
		default:
			why := state.Gone
			if there {
				why = state.Filtered
			}
			p := m.program.policies[slices.Index(m.trees.roots, strings.Split(at, "/")[0])]
			// Without a proven identity of the root, absence proves nothing unless most
			// files are found as recorded.
			if policy := p[why-1]; policy != "keep" && m.program.world.proven() {
				bad("%s is %s (its record says %s), and was not removed by %s", at, why, r.Absent, policy)
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(disk)) {
		if disk[at].wanted && now.files[at] == nil && now.aliases[at] != disk[at].hash {
			bad("%s has no record", at)
		}
	}
	for path := range left {
		if !strings.HasPrefix(path, "/iksync-trash/") && !m.orphans {
			bad("%s is in the library and in no record", path)
		}
	}
	for _, row := range now.removed {
		if a, ok := assets[row.trash]; !ok || !row.hash.IsZero() && state.Hash(a.Hash) != row.hash || !m.program.newIDs && a.FileID != row.fileID {
			bad("%s was moved to %s, and is not there", row.fileID, row.trash)
		}
	}
	if len(now.jobs) > 0 || now.intents > 0 {
		bad("%d intents and jobs are left: %q", now.intents, now.jobs)
	}
	if checkIDs && !m.program.newIDs && m.program.world.proven() {
		for _, at := range slices.Sorted(maps.Keys(e.ids)) {
			if r := now.files[at]; r != nil && r.FileID != e.ids[at] {
				bad("%s (%s) has the fileId %s, and had %s", at, e.why[at], r.FileID, e.ids[at])
			}
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}
