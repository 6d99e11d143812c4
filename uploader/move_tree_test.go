package uploader_test

import (
	"os"
	"strings"
	"testing"

	"iksync/uploader/emulator"
)

func TestADirectoryOf50FilesIsRenamedByOneJob(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.fill("d/picture.gif", "GIF89a\x01\x00\x01\x00\x00\x00\x00;")
	m.fill("d/é ü/\xff x.txt", "not UTF-8")
	before := m.synced(many("d", 50)...)
	m.mv("d", "e")
	if stats := m.sync(); stats.Moved != 52 || stats.MovedFolders != 1 || stats.Uploaded != 0 || stats.Sent != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.wantCalls("renameFolder 1")
	m.keptBelow(before, "d", "e")
	m.verify()
	m.wantVersions(nil)
	m.sync()
	m.wantCalls("")
}

func TestADirectoryIsMovedInAsFewJobsAsItTakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, calls string }{
		"moved":               {"d", "x/d", "moveFolder 1"},
		"renamed and moved":   {"d", "x/e", "moveFolder 1, renameFolder 1"},
		"moved up":            {"x/y/d", "d", "moveFolder 1"},
		"moved into a sister": {"x/d", "y/d", "renameFolder 1"}, // x itself has become y
		"moved below itself":  {"d", "e/d", "moveFolder 1"},
		"renamed in place":    {"x/y/d", "x/y/e", "renameFolder 1"},
		"a name with letters that ImageKit does not take": {"d", "x/e f.g", "moveFolder 1, renameFolder 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(append(append(many(c.from, 5), many(c.from+"/in/side", 5)...), many(c.from+"/other", 1)...)...)
			m.mv(c.from, c.to)
			if stats := m.sync(); stats.Uploaded != 0 || stats.Moved != 11 {
				t.Errorf("stats %+v", stats)
			}
			m.wantCalls(c.calls)
			m.keptBelow(before, c.from, c.to)
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestADirectoryBelowAnotherThatStaysIsMovedByItself(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("p/a/b", 10), many("p/a", 10)...)...)
	m.mv("p/a/b", "p/c")
	m.sync()
	m.wantCalls("moveFolder 1, renameFolder 1")
	m.keptBelow(before, "p/a/b", "p/c")
	m.verify()
}

func TestTheRootsOwnFolderIsNeverMoved(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{}, "/")
	before := m.synced(many("d", 5)...)
	for _, path := range many("d", 5) {
		m.mv(path, strings.TrimPrefix(path, "d/"))
	}
	m.sync()
	m.wantCalls("move 5")
	m.kept(before, "d/f00.txt", "f00.txt", "d/f04.txt", "f04.txt")
	m.verify()
}

func TestADirectoryThatIsSplitInTwoHalvesCostsNoUpload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		leave int // of ten files, for f
		calls string
	}{
		"alike":              {5, "move 10"},
		"one of them larger": {4, "move 4, renameFolder 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(many("d", 10)...)
			m.mv("d", "e")
			for _, path := range many("", 10)[10-c.leave:] {
				m.mv("e"+path, "f"+path)
			}
			m.sync()
			m.wantCalls(c.calls)
			m.verify()
			m.wantVersions(nil)
			for i, path := range many("", 10) {
				m.kept(before, "d"+path, map[bool]string{true: "e", false: "f"}[i < 10-c.leave]+path)
			}
		})
	}
}

func TestDirectoriesThatAreMergedIntoOneThatExistsKeepTheirFileIDs(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a/1.txt", "a/2.txt", "a/3.txt", "b/4.txt", "b/5.txt", "b/6.txt", "all/7.txt")
	m.mv("a/1.txt", "all/1.txt", "a/2.txt", "all/2.txt", "a/3.txt", "all/3.txt", "b/4.txt", "all/4.txt", "b/5.txt", "all/5.txt", "b/6.txt", "all/6.txt")
	m.sync()
	m.wantCalls("move 6")
	m.kept(before, "a/1.txt", "all/1.txt", "a/3.txt", "all/3.txt", "b/4.txt", "all/4.txt", "b/6.txt", "all/6.txt", "all/7.txt", "all/7.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestADirectoryWhoseFolderStaysTheSameMakesNoCallAtAll(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("a b", 10), many("a b/c", 10)...)...)
	m.mv("a b", "a_b")
	requests := m.server.Stats().Requests
	if stats := m.sync(); stats.Requests != 0 || stats.Moved != 20 {
		t.Errorf("stats %+v", stats)
	}
	for name, n := range m.server.Stats().Requests {
		if n != requests[name] {
			t.Errorf("%d calls of %s", n-requests[name], name)
		}
	}
	m.keptBelow(before, "a b", "a_b")
	m.verify()
}

func TestFilesWithSuffixesInAMovedDirectoryKeepTheirFileIDs(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	for _, dir := range []string{"d/", "e/"} {
		m.astray[dir+"a b.txt"], m.astray[dir+"a_b.txt"], m.astray[dir+"a+b.txt"] = true, true, true
	}
	before := m.synced("d/a b.txt", "d/a_b.txt", "d/a+b.txt", "d/c.txt", "d/x/y.txt")
	m.mv("d", "e")
	if stats := m.sync(); stats.Uploaded != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.keptBelow(before, "d", "e")
	m.verify()
	m.wantVersions(nil)
}

func TestWhatHappenedInAMovedDirectoryBesidesIsDoneAsWell(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 10)...)
	m.mv("d", "e")
	m.write("e/added.txt", "e/a/added.txt")
	m.fill("e/f03.txt", "edited")
	m.rm("e/f04.txt")
	if stats := m.sync(); stats.Uploaded != 3 {
		t.Errorf("stats %+v", stats)
	}
	m.wantCalls("renameFolder 1, upload 3")
	for _, path := range many("d", 10) {
		if path != "d/f04.txt" {
			m.kept(before, path, "e"+strings.TrimPrefix(path, "d"))
		}
	}
	m.kept(before, "d/f04.txt", "e/f04.txt") // gone, and its copy is kept, where it is by now
	m.verify()
	m.wantVersions(map[string]int{"/photos/e/f03.txt": 2})
}

func TestAFileThatIsLeftBehindStaysWhereItIs(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 10)...)
	m.mv("d", "e", "e/f03.txt", "d/f03.txt")
	if stats := m.sync(); stats.Uploaded != 0 || stats.Moved != 9 {
		t.Errorf("stats %+v", stats)
	}
	m.wantCalls("move 9")
	m.kept(before, "d/f03.txt", "d/f03.txt", "d/f04.txt", "e/f04.txt")
	m.verify()
}

func TestANewDirectoryInThePlaceOfAMovedOneGetsAssetsOfItsOwn(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 10)...)
	m.mv("d", "e")
	for _, path := range many("d", 10) {
		m.fill(path, "another "+path)
	}
	if stats := m.sync(); stats.Uploaded != 10 || stats.Moved != 10 {
		t.Errorf("stats %+v", stats)
	}
	m.keptBelow(before, "d", "e")
	m.verify()
	m.wantVersions(nil)
}

func TestDirectoriesThatMoveUpAChainAreOneJobEach(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(append(many("a", 5), many("b", 5)...), many("c", 5)...)...)
	m.mv("c", "d", "b", "c", "a", "b")
	m.sync()
	m.wantCalls("renameFolder 3")
	m.keptBelow(before, "a", "b")
	m.keptBelow(before, "b", "c")
	m.keptBelow(before, "c", "d")
	m.verify()
	m.wantVersions(nil)
}

func TestDirectoriesThatChangePlacesKeepTheirFileIDs(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(append(many("a", 5), many("b", 5)...), "a/only.txt")...)
	m.mv("a", "tmp", "b", "a", "tmp", "b")
	if stats := m.sync(); stats.Uploaded != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.keptBelow(before, "a", "b")
	m.keptBelow(before, "b", "a")
	m.verify()
	m.wantVersions(nil)
}

func TestADirectoryThatIsMovedIntoItsOwnNewParentOfTheOldNameIsMoved(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 5)...)
	m.mv("d", "tmp", "tmp", "d/in")
	if stats := m.sync(); stats.Uploaded != 0 {
		t.Errorf("stats %+v", stats)
	}
	m.keptBelow(before, "d", "d/in")
	m.verify()
	m.wantVersions(nil)
}

func TestAFolderThatOnlyTheLibraryHasIsNotMovedInto(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 5)...)
	m.put("/photos/x/e/theirs.txt", "theirs")
	m.mv("d", "x/e")
	m.sync()
	m.keptBelow(before, "d", "x/e")
	m.verify()
	m.wantVersions(nil)
}

func TestAFileFromElsewhereInARenamedDirectoryDoesNotKeepItFromBeingOneJob(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("d", 10), "x/a.txt", "x/b.txt", "x/c.txt")...)
	m.mv("d", "e", "x/a.txt", "e/a.txt")
	m.sync()
	m.wantCalls("move 1, renameFolder 1")
	m.keptBelow(before, "d", "e")
	m.kept(before, "x/a.txt", "e/a.txt")
	m.verify()
}

func TestADirectoryIsMovedFromOneRootToAnother(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"that is configured": false, "while its own is not configured any more": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{}, "/photos", "/archive/old")
			before := m.synced(many("d", 5)...)
			m.must(os.Rename(m.at("d"), m.roots[1].at("d")))
			m.roots[0].off = off
			stats := m.sync()
			if off {
				m.wantCalls("upload 5")
				if stats.Moved != 0 {
					t.Errorf("stats %+v", stats)
				}
			} else {
				m.wantCalls("moveFolder 1")
				for _, path := range many("d", 5) {
					m.kept(before, path, "2:"+path)
				}
			}
			m.verify()
			m.wantVersions(nil)
		})
	}
}
