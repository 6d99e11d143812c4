package uploader_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
	"iksync/watcher/filter"
)

func TestFilesThatAreMovedKeepTheirFileIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files []string
		moves []string // through temporary names, as mv does it
		kept  []string // from, to
		calls string
	}{
		"renamed":           {[]string{"a.txt"}, []string{"a.txt", "b.txt"}, []string{"a.txt", "b.txt"}, "rename 1"},
		"moved":             {[]string{"d/a.txt"}, []string{"d/a.txt", "e/a.txt"}, []string{"d/a.txt", "e/a.txt"}, "move 1"},
		"renamed and moved": {[]string{"d/a.txt"}, []string{"d/a.txt", "e/b.txt"}, []string{"d/a.txt", "e/b.txt"}, "move 1, rename 1"},
		"renamed and moved, the new name being another's in the old directory": {[]string{"d/a.txt", "d/b.txt"},
			[]string{"d/a.txt", "e/b.txt"}, []string{"d/a.txt", "e/b.txt", "d/b.txt", "d/b.txt"}, "move 1, rename 2"},
		"renamed in case only": {[]string{"A.txt"}, []string{"A.txt", "a.txt"}, []string{"A.txt", "a.txt"}, "rename 1"},
		"renamed to a name that is the same in the library": {[]string{"a b.txt"}, []string{"a b.txt", "a_b.txt"},
			[]string{"a b.txt", "a_b.txt"}, ""},
		"renamed to a hostile name": {[]string{"a.txt"}, []string{"a.txt", "\"\\ %2f\xff'ü.txt"},
			[]string{"a.txt", "\"\\ %2f\xff'ü.txt"}, "rename 1"},
		"swapped": {[]string{"a.txt", "b.txt"}, []string{"a.txt", "t", "b.txt", "a.txt", "t", "b.txt"},
			[]string{"a.txt", "b.txt", "b.txt", "a.txt"}, "rename 3"},
		"swapped between directories": {[]string{"d/a.txt", "e/a.txt"}, []string{"d/a.txt", "t", "e/a.txt", "d/a.txt", "t", "e/a.txt"},
			[]string{"d/a.txt", "e/a.txt", "e/a.txt", "d/a.txt"}, "move 2, rename 2"},
		"rotated by three": {[]string{"a.txt", "b.txt", "c.txt"}, []string{"c.txt", "t", "b.txt", "c.txt", "a.txt", "b.txt", "t", "a.txt"},
			[]string{"a.txt", "b.txt", "b.txt", "c.txt", "c.txt", "a.txt"}, "rename 4"},
		"rotated through directories": {[]string{"x/a.txt", "y/b.txt", "z/c.txt"},
			[]string{"z/c.txt", "t", "y/b.txt", "z/c.txt", "x/a.txt", "y/b.txt", "t", "x/a.txt"},
			[]string{"x/a.txt", "y/b.txt", "y/b.txt", "z/c.txt", "z/c.txt", "x/a.txt"}, "move 3, rename 4"},
		"moved up a chain": {[]string{"1.txt", "2.txt", "3.txt"}, []string{"3.txt", "4.txt", "2.txt", "3.txt", "1.txt", "2.txt"},
			[]string{"1.txt", "2.txt", "2.txt", "3.txt", "3.txt", "4.txt"}, "rename 3"},
		"moved down a chain": {[]string{"2.txt", "3.txt", "4.txt"}, []string{"2.txt", "1.txt", "3.txt", "2.txt", "4.txt", "3.txt"},
			[]string{"2.txt", "1.txt", "3.txt", "2.txt", "4.txt", "3.txt"}, "rename 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(c.files...)
			m.mv(c.moves...)
			if stats := m.sync(); stats.Uploaded != 0 || stats.Sent != 0 || stats.Moved != int64(len(c.kept)/2) && !strings.Contains(name, "another's") {
				t.Errorf("stats %+v", stats)
			}
			m.wantCalls(c.calls)
			m.kept(before, c.kept...)
			m.verify()
			m.wantVersions(nil)
			m.sync()
			m.wantCalls("")
		})
	}
}

func TestAFileMovedOverARecordedOneBecomesItsNewVersion(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.txt", "b.txt")
	m.mv("a.txt", "b.txt")
	m.sync()
	m.wantCalls("upload 1")
	m.kept(before, "b.txt", "b.txt", "a.txt", "a.txt")
	m.verify()
	m.wantVersions(map[string]int{"/photos/b.txt": 2})
}

func TestAFileMovedToWhereOnlyTheLibraryHasOneDoesNotJoinTheirHistories(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{"by rename": "d/b.txt", "by move": "e/a.txt", "by both": "e/b.txt"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced("d/a.txt")
			id := m.put("/photos/"+to, "theirs")
			delete(m.foreign, id)
			m.mv("d/a.txt", to)
			m.sync()
			m.wantCalls("upload 1") // as that of any new file: a version of what is there
			m.kept(before, "d/a.txt", "d/a.txt")
			m.verify()
			m.wantVersions(map[string]int{"/photos/" + to: 2})
		})
	}
}

func TestWhatOnlyLooksMovedIsUploaded(t *testing.T) {
	t.Parallel()
	stamp := time.Now().Add(-time.Hour)
	for name, change := range map[string]func(m *mirror){
		"renamed, then edited": func(m *mirror) { m.mv("a.txt", "b.txt"); m.fill("b.txt", "edited since") },
		"a hard link":          func(m *mirror) { m.must(os.Link(m.at("a.txt"), m.at("b.txt"))) },
		"a copy with its times": func(m *mirror) {
			m.fill("b.txt", "content of a.txt")
			m.must(os.Chtimes(m.at("b.txt"), stamp, stamp))
		},
		"another content of the same inode, size and time": func(m *mirror) {
			m.mv("a.txt", "b.txt")
			f, err := os.OpenFile(m.at("b.txt"), os.O_WRONLY, 0)
			m.must(err)
			_, err = f.WriteString("CONTENT")
			m.must(errors.Join(err, f.Close(), os.Chtimes(m.at("b.txt"), stamp, stamp)))
		},
		"another file of the same size and time": func(m *mirror) {
			m.rm("a.txt")
			m.fill("b.txt", "CONTENT of a.txt")
			m.must(os.Chtimes(m.at("b.txt"), stamp, stamp))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			m.write("a.txt")
			m.must(os.Chtimes(m.at("a.txt"), stamp, stamp))
			m.sync()
			m.calls()
			before := m.records()
			change(m)
			if stats := m.sync(); stats.Moved != 0 {
				t.Errorf("stats %+v", stats)
			}
			m.wantCalls("upload 1")
			m.kept(before, "a.txt", "a.txt")
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestACopyWithItsTimesWhoseOriginalIsGoneIsAMove(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	stamp := time.Now().Add(-time.Hour)
	m.write("a.txt")
	m.must(os.Chtimes(m.at("a.txt"), stamp, stamp))
	before := m.synced()
	for _, copied := range []string{"0.txt", "b.txt"} {
		m.fill(copied, "content of a.txt")
		m.must(os.Chtimes(m.at(copied), stamp, stamp))
	}
	m.rm("a.txt")
	m.sync()
	m.wantCalls("rename 1, upload 1")
	m.kept(before, "a.txt", "0.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestOfAFileAndItsCopyTheOneOfTheInodeIsTheMovedOne(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	stamp := time.Now().Add(-time.Hour)
	m.write("m.txt")
	m.must(os.Chtimes(m.at("m.txt"), stamp, stamp))
	before := m.synced()
	m.mv("m.txt", "n.txt")
	for _, copied := range []string{"a.txt", "z.txt"} {
		m.fill(copied, "content of m.txt")
		m.must(os.Chtimes(m.at(copied), stamp, stamp))
	}
	m.sync()
	m.wantCalls("rename 1, upload 2")
	m.kept(before, "m.txt", "n.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestAFileMovedOutOfTheFiltersAndBackKeepsItsFileID(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	var err error
	m.filter, err = filter.New(filter.Options{Exclude: []string{"*.tmp", "out/"}})
	m.must(err)
	before := m.synced("a.txt", "d/b.txt", "d/c.txt")
	m.mv("a.txt", "a.tmp", "d", "out")
	m.sync()
	m.wantCalls("")
	m.verify()
	m.mv("a.tmp", "b.txt", "out", "in")
	m.sync()
	m.wantCalls("rename 1, renameFolder 1")
	m.kept(before, "a.txt", "b.txt", "d/b.txt", "in/b.txt", "d/c.txt", "in/c.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestAFileThatIsMovedBackBeforeAnyPoolSawItCostsNothing(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("d", 3), "a.txt")...)
	m.mv("d", "e", "a.txt", "b.txt")
	m.scan()
	m.mv("e", "d", "b.txt", "a.txt")
	m.sync()
	m.wantCalls("")
	m.kept(before, "a.txt", "a.txt")
	m.keptBelow(before, "d", "d")
	m.verify()
}

func TestAFileThatMovesOnBeforeAnyPoolSawItIsMovedOnce(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(append(many("d", 3), "a.txt")...)
	m.mv("d", "e", "a.txt", "b.txt")
	m.scan()
	m.mv("e", "f", "b.txt", "c.txt")
	m.sync()
	m.wantCalls("rename 1, renameFolder 1")
	m.kept(before, "a.txt", "c.txt")
	m.keptBelow(before, "d", "f")
	m.verify()
}

func TestAMovedFileThatIsEditedLaterGetsAVersionUnderItsNewName(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.txt")
	m.mv("a.txt", "d/b.txt")
	m.sync()
	m.fill("d/b.txt", "edited")
	m.calls()
	m.sync()
	m.wantCalls("upload 1")
	m.kept(before, "a.txt", "d/b.txt")
	m.verify()
	m.wantVersions(map[string]int{"/photos/d/b.txt": 2})
}

func TestFilesAreMovedFromOneRootToAnother(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{}, "/photos", "/archive")
	before := m.synced("a.txt", "b.txt")
	m.must(errors.Join(os.Rename(m.at("a.txt"), m.roots[1].at("a.txt")), os.Rename(m.at("b.txt"), m.roots[1].at("c.txt"))))
	m.sync()
	m.wantCalls("move 2, rename 1")
	m.kept(before, "a.txt", "2:a.txt", "b.txt", "2:c.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestANewFileUnderTheNameThatAnAssetHasOnItsWayKeepsToItself(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("d/a.txt")
	m.mv("d/a.txt", "e/b.txt")
	m.write("d/b.txt") // its upload is on its way already
	m.scan()
	renamed, uploaded := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.runWhile(func(calm func()) between {
		return func(_ http.ResponseWriter, r *http.Request, serve func()) {
			switch endpoint(r) {
			case "upload":
				calm()
				<-renamed
				serve()
				once.Do(func() { close(uploaded) })
			case "rename":
				serve()
				select {
				case <-renamed:
				default:
					close(renamed)
					<-uploaded
				}
			default:
				serve()
			}
		}
	})
	m.kept(before, "d/a.txt", "e/b.txt")
	m.verify()
	m.wantVersions(nil)
}

func TestANewFileInTheFolderThatAnotherIsOnItsWayStaysThere(t *testing.T) {
	t.Parallel()
	// The mover asks four times whether the folders are free, and again when the upload is in its way.
	for _, requests := range []int64{1, 4, 5} {
		t.Run(fmt.Sprint("uploaded while the mover makes requests: ", requests), func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(many("d", 3)...)
			m.mv("d", "x/e")
			m.write("e/new.txt") // its upload is on its way already
			m.scan()
			m.runWithUploadsHeld(requests, func() {})
			m.keptBelow(before, "d", "x/e")
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestAFileQueuedWhileAFolderIsMovedStaysWhereItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ to, at, file string }{
		"in the folder that is moved away":                   {"e", "renameFolder", "d/new.txt"},
		"in the folder that it becomes":                      {"e", "renameFolder", "e/new.txt"},
		"in the folder that it was, when it is on its way":   {"x/e", "moveFolder", "d/new.txt"},
		"in the folder that it is on its way":                {"x/e", "moveFolder", "e/new.txt"},
		"in the folder that it becomes, before":              {"x/e", "renameFolder", "x/e/new.txt"},
		"in the folder that it will be on its way, before":   {"x/e", "renameFolder", "e/new.txt"},
		"in the folder that it becomes, when on its way":     {"x/e", "moveFolder", "x/e/new.txt"},
		"in a folder below that, new, when it is on its way": {"x/e", "moveFolder", "e/in/new.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(many("d", 3)...)
			m.mv("d", c.to)
			m.scan()
			var once sync.Once
			stored := make(chan struct{})
			m.runWhile(func(calm func()) between {
				calm()
				return func(_ http.ResponseWriter, r *http.Request, serve func()) {
					switch endpoint(r) {
					case c.at:
						m.write(c.file)
						m.scan()
						select {
						case <-stored:
						case <-time.After(300 * time.Millisecond): // it waits, as it should
						}
						serve()
					case "upload":
						serve()
						once.Do(func() { close(stored) })
						m.awaitRecord(c.to + "/f00.txt")
					default:
						serve()
					}
				}
			})
			m.keptBelow(before, "d", c.to)
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestAnUploadOnItsWayToAFolderThatAnotherBecomesIsRecordedOnce(t *testing.T) {
	t.Parallel()
	for _, requests := range []int64{1, 2, 3} {
		t.Run(fmt.Sprint("uploaded while the mover makes requests: ", requests), func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{})
			before := m.synced(many("d", 5)...)
			m.mv("d", "e")
			m.fill("e/f03.txt", "edited")
			info, err := os.Stat(m.at("e/f03.txt"))
			m.must(err)
			// It is in a batch before the others.
			_, err = m.q.Enqueue(t.Context(), []queue.Change{{RootID: m.root.ID, Path: "e/f03.txt", Stat: state.StatOf(info), Remote: "/photos/e/f03.txt"}})
			m.must(err)
			m.runWithUploadsHeld(requests, m.scan)
			for _, name := range []string{"/f00.txt", "/f01.txt", "/f02.txt", "/f04.txt"} {
				m.kept(before, "d"+name, "e"+name)
			}
			m.verify()
			m.wantVersions(nil)
		})
	}
}

func TestUploadsIntoADirectoryThatIsBeingMovedWaitForTheDecision(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced(many("d", 5)...)
	m.mv("d", "e")
	m.write("e/a.txt", "e/in/a.txt", "z.txt")
	m.scan()
	var mu sync.Mutex
	var order []string
	m.runWhile(func(calm func()) between {
		return func(_ http.ResponseWriter, r *http.Request, serve func()) {
			if name := endpoint(r); name != "" {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				calm() // that of z.txt has come: the others could have
			}
			serve()
		}
	})
	if got := strings.Join(order, " "); got != "upload renameFolder upload upload" {
		t.Errorf("the calls were %s", got)
	}
	m.keptBelow(before, "d", "e")
	m.verify()
}

func TestAPoolWithNothingToDoRests(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "iksync.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := state.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { check(t, db.Close()) }()
		root, err := db.EnsureRoot(t.Context(), dir, "/photos")
		check(t, err)
		held, err := os.OpenRoot(dir)
		check(t, err)
		defer held.Close()
		looks := 0 // of the dispatcher
		o := uploader.Options{Roots: []uploader.Root{{ID: root.ID, Dir: held, Paused: func() bool { looks++; return false }}}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		check(t, uploader.New(db, queue.New(db, imagekit.Alternate), o).Run(ctx))
		if looks > 100 {
			t.Errorf("the pool looked for work %d times in ten minutes without any", looks)
		}
	})
}
