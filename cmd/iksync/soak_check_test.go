//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"iksync/state"
	"iksync/uploader/emulator"
)

// soakTolerates are faults that are counted and no error yet. A kind is made strict
// by deleting its line.
var soakTolerates = map[string]bool{}

// fileIDsTwiceWhileMoving are two records of one asset while what became of a move
// is not known: its file was edited, and sent onto the asset that had just come.
const fileIDsTwiceWhileMoving = "fileId recorded twice while its asset is moved"

// secondAsset is one in the place of a file whose record has another.
const secondAsset = "second asset"

// staleRecordsOfVanishedFiles are records, of files that are gone, of a content that
// their assets had before the last upload: its answer named another size or no
// fileId (202), and the file was gone before it could be sent again.
const staleRecordsOfVanishedFiles = "stale record of a file that vanished"

// soakFinding is something that is wrong, and what it is about.
type soakFinding struct {
	what, about string
}

// soakOutcome is what a soak ends with.
type soakOutcome struct {
	disk     map[string]onDisk
	records  *recorded
	assets   []emulator.Asset
	policies map[string]string               // delete, by root
	proven   bool                            // absence proves that a file was removed
	ids      map[string]string               // fileIds that the files which nothing happens to had first
	why      func(emulator.Asset) string     // the kind of an orphan
	kinds    map[string]int                  // of what is tolerated, counted by check
	versions int                             // of the files that nothing happens to, beyond one each; counted by check
	bad      func(about, f string, a ...any) // takes findings
}

// check compares the library with the trees and the records.
func (o *soakOutcome) check() (all []soakFinding) {
	o.kinds, o.versions = make(map[string]int), 0
	o.bad = func(about, f string, a ...any) {
		all = append(all, soakFinding{fmt.Sprintf(f, a...), about})
	}
	byPath := make(map[string]emulator.Asset)
	for _, a := range o.assets {
		byPath[a.FilePath] = a
	}
	left := maps.Clone(byPath)
	o.checkRecords(byPath, left)
	for _, at := range slices.Sorted(maps.Keys(o.disk)) {
		if o.disk[at].wanted && o.records.files[at] == nil {
			o.bad(at, "%s has no record", at)
		}
	}
	for _, row := range o.records.removed {
		a, ok := byPath[row.trash]
		switch {
		case !ok || a.FileID != row.fileID:
			o.bad(row.trash, "%s was moved to %s, and is not there", row.fileID, row.trash)
		case !row.hash.IsZero() && state.Hash(a.Hash) != row.hash:
			o.tell(row.trash, staleRecordsOfVanishedFiles, "what was moved to %s is %x, not %x as was recorded", row.trash, a.Hash[:4], row.hash[:4])
		}
		delete(left, row.trash)
	}
	for _, at := range slices.Sorted(maps.Keys(left)) {
		kind := o.why(left[at])
		if o.disk[at[1:]].wanted && o.records.files[at[1:]] != nil {
			kind = secondAsset
		}
		o.tell(at, kind, "%s, which no record has (%s)", at, left[at].FileID)
	}
	for _, at := range slices.Sorted(maps.Keys(o.ids)) {
		if r := o.records.files[at]; r != nil && r.FileID != o.ids[at] {
			o.bad(at, "%s has the fileId %s, and had %s, though nothing happened to it", at, r.FileID, o.ids[at])
		}
	}
	if len(o.records.jobs) > 0 || o.records.intents > 0 {
		o.bad("", "%d intents and jobs are left: %q", o.records.intents, o.records.jobs)
	}
	return all
}

// tell counts a finding of a kind, and reports it unless that is tolerated.
func (o *soakOutcome) tell(about, kind, f string, a ...any) {
	o.kinds[kind]++
	if !soakTolerates[kind] {
		o.bad(about, kind+": "+f, a...)
	}
}

// checkRecords takes the assets of records out of left.
func (o *soakOutcome) checkRecords(assets, left map[string]emulator.Asset) {
	ids := make(map[string]string)
	for _, at := range slices.Sorted(maps.Keys(o.records.files)) {
		r := o.records.files[at]
		if other, ok := ids[r.FileID]; ok {
			o.bad(at, "%s and %s have one fileId, %s", at, other, r.FileID)
		}
		ids[r.FileID] = at
		a, ok := assets[r.RemotePath]
		root, below, _ := strings.Cut(at, "/")
		d, there := o.disk[at]
		switch {
		case !ok || a.FileID != r.FileID:
			o.bad(at, "the record of %s: at %s is not %s but %+v", at, r.RemotePath, r.FileID, a)
		case state.Hash(a.Hash) == r.Hash || r.Hash.IsZero() && !there: // zero is that it is not known
		case there:
			o.bad(at, "the record of %s says %x, its asset is %x", at, r.Hash[:4], a.Hash[:4])
		default:
			o.tell(at, staleRecordsOfVanishedFiles, "the record of %s says %x, its asset is %x", at, r.Hash[:4], a.Hash[:4])
		}
		if ok && a.FileID == r.FileID {
			delete(left, r.RemotePath)
		}
		switch {
		case there && d.wanted:
			if r.Hash != d.hash {
				o.bad(at, "%s is %x, its record says %x", at, d.hash[:4], r.Hash[:4])
			}
			if strings.HasPrefix(below, still+"/") {
				o.versions += a.Versions - 1
			}
		case !there && o.policies[root] != "keep" && o.proven:
			o.bad(at, "%s is gone (its record says %s), and was not removed by %s", at, r.Absent, o.policies[root])
		}
	}
}

// soakLook reads the state file, which nothing is writing, and whether it is sound.
func soakLook(ctx context.Context, path string) (*recorded, error) {
	db, err := state.OpenReadOnly(ctx, path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query(ctx, `PRAGMA integrity_check`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var said string
		if err := rows.Scan(&said); err != nil {
			return nil, err
		}
		if said != "ok" {
			return nil, fmt.Errorf("the state file is damaged: %s", said)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return (&movesRun{state: path}).records(ctx)
}

// soundOutcome is one in which nothing is wrong: a file, its record and asset in
// each root, one that was moved to the trash and one that is gone and kept.
func soundOutcome() *soakOutcome {
	hash := state.Hash{1, 2, 3}
	at := func(root, below, id string) (string, *state.File, emulator.Asset) {
		remote := "/" + root + "/" + below
		return root + "/" + below, &state.File{Path: below, Hash: hash, FileID: id, RemotePath: remote},
			emulator.Asset{FileID: id, FilePath: remote, Hash: hash, Versions: 1}
	}
	o := &soakOutcome{
		disk: make(map[string]onDisk), records: &recorded{files: make(map[string]*state.File)},
		policies: map[string]string{"a": "keep", "b": "trash"}, proven: true, ids: map[string]string{"a/still/f": "1"},
		why: func(emulator.Asset) string { return unexplained },
	}
	for i, f := range [][2]string{{"a", "still/f"}, {"b", "f"}, {"a", "gone"}} {
		path, record, asset := at(f[0], f[1], fmt.Sprint(i+1))
		o.records.files[path] = record
		o.assets = append(o.assets, asset)
		if f[1] != "gone" {
			o.disk[path] = onDisk{at: path, hash: hash, wanted: true}
		}
	}
	o.assets = append(o.assets, emulator.Asset{FileID: "9", FilePath: "/iksync-trash/f", Hash: hash, Versions: 1})
	o.records.removed = []removedRow{{fileID: "9", trash: "/iksync-trash/f", hash: hash}}
	return o
}

// TestTheSoaksCheckFindsWhatIsWrong proves that the check of TestSoakOfKills can fail.
func TestTheSoaksCheckFindsWhatIsWrong(t *testing.T) {
	if found := soundOutcome().check(); len(found) > 0 {
		t.Fatalf("nothing is wrong, and it found %v", found)
	}
	for _, c := range []struct {
		name  string
		spoil func(o *soakOutcome)
		want  string
	}{
		{"a record is missing", func(o *soakOutcome) { delete(o.records.files, "b/f") }, "b/f has no record"},
		{"and its asset is an orphan", func(o *soakOutcome) { delete(o.records.files, "b/f") }, "unexplained orphan: /b/f"},
		{"a second asset", func(o *soakOutcome) { o.assets = append(o.assets, emulator.Asset{FileID: "8", FilePath: "/a/f-1"}) }, "unexplained orphan: /a/f-1"},
		{"a second asset in the place of a file", func(o *soakOutcome) { o.records.files["b/f"].RemotePath, o.assets[1].FileID = "/b/f-1", "7" }, "second asset: /b/f"},
		{"an orphan of another kind", func(o *soakOutcome) {
			o.assets = append(o.assets, emulator.Asset{FileID: "8", FilePath: "/a/x"})
			o.why = func(emulator.Asset) string { return "a kind that is not tolerated" }
		}, "a kind that is not tolerated"},
		{"something in the trash that was not removed", func(o *soakOutcome) { o.records.removed = nil }, "unexplained orphan: /iksync-trash/f"},
		{"something removed that is not in the trash", func(o *soakOutcome) { o.assets = o.assets[:3] }, "9 was moved to"},
		{"an asset is missing", func(o *soakOutcome) { o.assets = o.assets[1:] }, "the record of a/still/f: at"},
		{"the asset of a file that is gone is missing", func(o *soakOutcome) { o.assets = slices.Delete(o.assets, 2, 3) }, "the record of a/gone: at"},
		{"another asset is in its place", func(o *soakOutcome) { o.assets[1].FileID = "7" }, "the record of b/f: at"},
		{"an asset has another content", func(o *soakOutcome) { o.assets[1].Hash = [16]byte{4} }, "the record of b/f says 01020300, its asset is 04"},
		{"the file is another by now", func(o *soakOutcome) { o.disk["b/f"] = onDisk{wanted: true, hash: state.Hash{4}} }, "b/f is 04"},
		{"a record has another content", func(o *soakOutcome) { o.records.files["b/f"].Hash = state.Hash{4} }, "its record says 04"},
		{"a fileId is recorded twice", func(o *soakOutcome) { o.records.files["b/f"].FileID = "1" }, "have one fileId, 1"},
		{"a fileId has changed", func(o *soakOutcome) { o.ids["a/still/f"] = "0" }, "and had 0"},
		{"a policy was not followed", func(o *soakOutcome) { delete(o.disk, "b/f") }, "was not removed by trash"},
		{"a job is left", func(o *soakOutcome) { o.records.jobs = []string{"a/x"} }, `["a/x"]`},
		{"an intent is left", func(o *soakOutcome) { o.records.intents = 1 }, "1 intents and jobs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := soundOutcome()
			c.spoil(o)
			found := o.check()
			if !slices.ContainsFunc(found, func(f soakFinding) bool { return strings.Contains(f.what, c.want) }) {
				t.Errorf("it found %v, not %q", found, c.want)
			}
		})
	}
	o := soundOutcome()
	o.assets[0].Versions = 3
	o.assets[2].Hash, o.assets[3].Hash = [16]byte{4}, [16]byte{4} // of a file that is gone, and in the trash
	if o.check(); o.versions != 2 || o.kinds[staleRecordsOfVanishedFiles] != 2 {
		t.Errorf("%d versions too many, not 2; %v", o.versions, o.kinds)
	}
}
