package uploader_test

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iksync/queue"
	"iksync/state"
	"iksync/uploader"
	"iksync/uploader/emulator"
	"iksync/uploader/imagekit"
	"iksync/watcher/faultfs"
)

// fatLike is a file system that proves nothing: vfat, exfat, sshfs.
var fatLike = faultfs.Options{Inodes: faultfs.InOrder, CtimeIsMtime: true, Grain: 2 * time.Second}

// noon is a time of a camera whose clock was never set.
var noon = time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)

// photo writes a file with a modification time.
func (m *mirror) photo(path, content string) {
	m.Helper()
	m.fill(path, content)
	m.must(os.Chtimes(m.at(path), noon, noon))
}

// lookAt looks files up in an order, which numbers them on some file systems.
func (m *mirror) lookAt(paths ...string) {
	m.Helper()
	for _, p := range paths {
		_, err := os.Lstat(m.at(p))
		m.must(err)
	}
}

// holds checks that the asset of each file has its bytes.
func (m *mirror) holds(contents map[string]string) {
	m.Helper()
	records := m.records()
	for path, content := range contents {
		f := records[path]
		if f == nil {
			m.Errorf("%q has no record", path)
			continue
		}
		if got := m.assetContent(f.FileID); got != content {
			m.Errorf("the asset of %q holds %q, should hold %q", path, got, content)
		}
	}
}

func (m *mirror) assetContent(fileID string) string {
	m.Helper()
	for _, a := range m.server.Assets() {
		if a.FileID == fileID {
			for _, content := range m.written() {
				if state.Hash(a.Hash) == hashOf(content) {
					return content
				}
			}
		}
	}
	return "something else"
}

func TestPicturesKeepTheirNamesWhereInodesAreRenumbered(t *testing.T) {
	t.Parallel()
	fs := faultfs.New(t, fatLike)
	m := newMirrorOf(t, emulator.Behaviour{}, fs.Dir())
	contents := map[string]string{"a.jpg": "picture A", "b.jpg": "picture B", "c.jpg": "picture C", "d.jpg": "picture D"}
	for _, path := range slices.Sorted(maps.Keys(contents)) { // which numbers them
		m.photo(path, contents[path])
	}
	m.sync()
	before := m.records()
	m.calls()

	fs.Remount()
	m.lookAt("d.jpg", "c.jpg", "b.jpg", "a.jpg")
	stats := m.sync()
	if stats.Moved != 0 || stats.Touched != 4 {
		t.Errorf("moved %d, found unchanged %d; should be 0 and 4", stats.Moved, stats.Touched)
	}
	m.wantCalls("")
	m.holds(contents)
	m.kept(before, "a.jpg", "a.jpg", "b.jpg", "b.jpg", "c.jpg", "c.jpg", "d.jpg", "d.jpg")
	m.verify()

	// They are compared once in a mount.
	fs.ForgetReads()
	fs.Renumber()
	m.lookAt("b.jpg", "a.jpg", "d.jpg", "c.jpg")
	m.sync()
	if read := fs.BytesRead(); len(read) > 0 {
		t.Errorf("files were read again in the same mount: %v", read)
	}
}

func TestANewPictureWithTheInodeOfADeletedOneIsSent(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]faultfs.Options{
		"as on FAT":                              {Inodes: faultfs.InOrder, ReuseInodes: true, CtimeIsMtime: true, Grain: 2 * time.Second},
		"with lasting inodes and no change time": {ReuseInodes: true, CtimeIsMtime: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := faultfs.New(t, o)
			m := newMirrorOf(t, emulator.Behaviour{}, fs.Dir())
			m.photo("old.jpg", "picture A")
			m.sync()
			m.rm("old.jpg")
			m.photo("new.jpg", "picture B")
			if stats := m.sync(); stats.Moved != 0 || stats.Uploaded != 1 {
				t.Errorf("moved %d, sent %d; should be 0 and 1", stats.Moved, stats.Uploaded)
			}
			m.holds(map[string]string{"new.jpg": "picture B"})
		})
	}
}

func TestAMoveWhereIdentityIsNotProvenIsReadOnceAndNotSent(t *testing.T) {
	t.Parallel()
	fs := faultfs.New(t, fatLike)
	m := newMirrorOf(t, emulator.Behaviour{}, fs.Dir())
	before := m.synced(many("d", 6)...)
	fs.Remount()
	m.mv("d", "e")
	if stats := m.sync(); stats.Uploaded != 0 || stats.MovedFolders != 1 {
		t.Errorf("sent %d, moved %d folders; should be 0 and 1", stats.Uploaded, stats.MovedFolders)
	}
	m.keptBelow(before, "d", "e")
	m.verify()
}

func TestARewriteWithinTheGrainOfTimeStampsIsSent(t *testing.T) {
	t.Parallel()
	fs := faultfs.New(t, fatLike)
	m := newMirrorOf(t, emulator.Behaviour{}, fs.Dir())
	m.photo("a.jpg", "picture A")
	m.scan()
	// It is rewritten, with its time stamps as they were, once iksync has looked at it and
	// before a whole grain has passed.
	written := state.Uptime()
	m.photo("a.jpg", "picture B")
	m.run()
	if state.Uptime()-written < fatLike.Grain {
		t.Error("it was read before a later write had to show in its time stamps")
	}
	m.holds(map[string]string{"a.jpg": "picture B"})
}

func TestACopyInTheLibraryIsNotMadeOfAnAssetThatIsAboutToChange(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.duplicates = uploader.CopyDuplicates
	m.photo("a.jpg", "picture A")
	m.sync()
	m.photo("orig/a.jpg", "picture A")
	m.fill("a.jpg", "picture B")
	var first sync.Once
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		serve()
		if endpoint(r) == "upload" { // the library has the new bytes, and iksync does not know it
			first.Do(func() { m.awaitRecord("orig/a.jpg") })
		}
	})
	m.sync()
	m.stand(nil)
	m.holds(map[string]string{"a.jpg": "picture B", "orig/a.jpg": "picture A"})
	m.verify()
}

func TestACopyInTheLibraryHasTheParametersOfItsOwnRoot(t *testing.T) {
	t.Parallel()
	yes := true
	for name, params := range map[string]imagekit.Params{
		"tags":    {Tags: []string{"secret"}},
		"private": {IsPrivateFile: &yes},
		"none":    {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMirror(t, emulator.Behaviour{}, "/photos", "/other")
			m.duplicates = uploader.CopyDuplicates
			m.roots[0].params.Tags = []string{"public"}
			m.roots[1].params = params
			m.photo("a.jpg", "picture A")
			m.sync()
			content, err := os.ReadFile(m.at("a.jpg"))
			m.must(err)
			m.must(os.WriteFile(m.roots[1].at("a.jpg"), content, 0o644))
			if stats := m.sync(); stats.Copied != 0 {
				t.Errorf("copied %d", stats.Copied)
			}
			asset, err := m.client.Find(t.Context(), "/other/a.jpg")
			if err != nil || asset == nil || !params.CarriedBy(asset.Raw) {
				t.Errorf("the asset is %s (%v)", asset.Raw, err)
			}
			// With the same parameters it is copied.
			m.must(os.WriteFile(m.at("b.jpg"), content, 0o644))
			if stats := m.sync(); stats.Copied != 1 {
				t.Errorf("in the same root: copied %d", stats.Copied)
			}
		})
	}
}

func TestAnEditedPictureKeepsItsFileIdAndTheOriginalBesideItIsNew(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.jpg", "b.jpg")
	m.mv("a.jpg", "a.jpg_original")
	m.fill("a.jpg", "edited")
	m.sync()
	m.kept(before, "a.jpg", "a.jpg", "b.jpg", "b.jpg")
	m.holds(map[string]string{"a.jpg": "edited", "a.jpg_original": "content of a.jpg"})
	m.wantVersions(map[string]int{"/photos/a.jpg": 2})
	m.verify()
}

func TestAScanBetweenTwoRenamesDoesNotMoveTheAsset(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("a.jpg")
	m.settle = 3 * time.Second
	m.fill("a.jpg_exiftool_tmp", "edited")
	m.mv("a.jpg", "a.jpg_original")
	m.scan()
	var first sync.Once
	moved := make(chan struct{}, 10)
	m.stand(func(_ http.ResponseWriter, r *http.Request, serve func()) {
		switch endpoint(r) {
		case "rename", "move":
			moved <- struct{}{}
		case "upload":
			first.Do(func() {
				select { // a mover that does not wait has moved the asset by then
				case <-moved:
				case <-time.After(500 * time.Millisecond):
				}
				m.mv("a.jpg_exiftool_tmp", "a.jpg")
			})
		}
		serve()
	})
	m.run()
	m.stand(nil)
	m.sync()
	m.kept(before, "a.jpg", "a.jpg")
	m.holds(map[string]string{"a.jpg": "edited", "a.jpg_original": "content of a.jpg"})
}

func TestLogRotationMovesWhatIsRecorded(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	before := m.synced("log", "log.1", "log.2")
	m.mv("log.2", "log.3", "log.1", "log.2", "log", "log.1")
	m.fill("log", "new")
	m.sync()
	m.kept(before, "log", "log", "log.1", "log.2", "log.2", "log.3")
	m.holds(map[string]string{"log": "new", "log.1": "content of log", "log.2": "content of log.1", "log.3": "content of log.2"})
	m.verify()
}

// alter changes content and leaves no trace in the metadata, as damage does.
func (m *mirror) alter(fs *faultfs.FS, path, content string) {
	m.Helper()
	info, err := os.Stat(fs.Backing(path))
	m.must(err)
	m.must(os.WriteFile(fs.Backing(path), []byte(content), 0o644))
	m.contents = append(m.contents, content)
	m.must(os.Chtimes(fs.Backing(path), info.ModTime(), info.ModTime()))
}

func TestContentThatChangedWithoutATraceIsListedAndNotSent(t *testing.T) {
	t.Parallel()
	fs := faultfs.New(t, faultfs.Options{CtimeIsMtime: true})
	m := newMirrorOf(t, emulator.Behaviour{}, fs.Dir())
	m.photo("a.jpg", "picture A")
	m.photo("b.jpg", "picture B")
	m.sync()
	m.calls()
	m.alter(fs, "a.jpg", "picture X")
	m.rehashed()
	var failed []string
	for item, err := range m.q.List(t.Context(), []int64{m.root.ID}, queue.Failed) {
		m.must(err)
		failed = append(failed, item.Path+" "+item.Class)
	}
	if len(failed) != 1 || failed[0] != "a.jpg altered" {
		t.Fatalf("listed as failed: %q", failed)
	}
	m.wantCalls("")
	// It is no source of a copy, and no backfill sends it.
	if same, err := m.q.SameContent(t.Context(), hashOf("picture A"), 9, "a.jpg"); err != nil || same != nil {
		t.Errorf("a source of a copy: %v, %v", same, err)
	}
	_, err := m.q.Retry(t.Context(), queue.Selection{Roots: []int64{m.root.ID}, Automatic: true})
	m.must(err)
	m.sync()
	m.wantCalls("")
	n, err := m.q.Retry(t.Context(), queue.Selection{Roots: []int64{m.root.ID}, Path: "a.jpg"})
	if err != nil || n != 1 {
		t.Fatalf("tried again: %d, %v", n, err)
	}
	m.run()
	m.holds(map[string]string{"a.jpg": "picture X", "b.jpg": "picture B"})
	m.verify()
}

func TestAMemoryMappedWriteIsFoundByReadingTheFileAgain(t *testing.T) {
	t.Parallel()
	m := newMirror(t, emulator.Behaviour{})
	m.fill("a.bin", "picture A")
	file, err := os.OpenFile(m.at("a.bin"), os.O_RDWR, 0)
	m.must(err)
	mapped, err := unix.Mmap(int(file.Fd()), 0, 9, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	m.must(err)
	mapped[8] = 'B' // the page is writable from here on: a later write is seen by nobody
	m.must(errors.Join(unix.Msync(mapped, unix.MS_ASYNC), file.Close()))
	m.contents = append(m.contents, "picture B", "picture C")
	m.sync()
	info, err := os.Stat(m.at("a.bin"))
	m.must(err)
	mapped[8] = 'C'
	if now, err := os.Stat(m.at("a.bin")); err != nil || state.StatOf(now) != state.StatOf(info) {
		t.Skip("this file system shows the write in its time stamps")
	}
	m.rehashed()
	m.must(unix.Munmap(mapped))
	m.sync()
	depths, err := m.q.Depths(t.Context(), []int64{m.root.ID})
	if err != nil || depths[queue.Failed].Jobs+depths[queue.Ready].Jobs == 0 && m.assetContent(m.records()["a.bin"].FileID) != "picture C" {
		t.Errorf("the write is neither listed nor sent: %v, %v", depths, err)
	}
}
