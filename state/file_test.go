package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"iksync/state"
)

func TestARecordComesBackAsItWas(t *testing.T) {
	db, root := openNew(t)
	for name, change := range map[string]func(*state.File){
		"plain":                           func(*state.File) {},
		"a path that is not UTF-8":        func(f *state.File) { f.Path = "caf\xe9/\xff\xfe.jpg" },
		"a path with odd bytes":           func(f *state.File) { f.Path = "a\nb\t\x01\x7f'\"%_?*\\.jpg" },
		"a path that looks like a number": func(f *state.File) { f.Path = "00123" },
		"the longest path":                func(f *state.File) { f.Path = longPath() },
		"extreme numbers": func(f *state.File) {
			f.Path = "extreme"
			f.Stat = state.Stat{Size: math.MaxInt64, MtimeNs: math.MinInt64, CtimeNs: -1, Dev: math.MaxUint64, Ino: math.MaxUint64}
		},
		"an answer of a megabyte": func(f *state.File) { f.Path, f.Response = "big", bytes.Repeat([]byte(`{"a":1} `), 1<<17) },
		"what ImageKit left out": func(f *state.File) {
			f.Path, f.VersionID, f.ThumbnailURL, f.Width, f.Height, f.Response = "bare", "", "", 0, 0, []byte{}
		},
		"every field": func(f *state.File) {
			f.Path, f.ThumbnailURL, f.Width, f.Height = "full", "https://t", 4000, 3000
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := record(root.ID, "plain.jpg")
			change(want)
			want.RemotePath = "/remote/" + name
			put(t, db, want)
			got, err := db.FileAt(t.Context(), root.ID, want.Path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(state.File{}, "ID")); diff != "" {
				t.Errorf("FileAt (-want +got):\n%s", diff)
			}
			for f, err := range db.Files(t.Context(), root.ID, true) {
				if err != nil {
					t.Fatal(err)
				}
				if f.Path == want.Path {
					if diff := cmp.Diff(want, f, cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(state.File{}, "ID")); diff != "" {
						t.Errorf("Files (-want +got):\n%s", diff)
					}
				}
			}
		})
	}
}

func longPath() string {
	b := make([]byte, 4095)
	for i := range b {
		b[i] = 'x'
		if i%256 == 255 {
			b[i] = '/'
		}
	}
	return string(b)
}

func TestAnUnknownPathHasNoRecord(t *testing.T) {
	db, root := openNew(t)
	put(t, db, record(root.ID, "a"))
	for _, path := range []string{"A", "", "a/", "b"} {
		if f, err := db.FileAt(t.Context(), root.ID, path); f != nil || err != nil {
			t.Errorf("%q has record %v, error %v", path, f, err)
		}
	}
	if f, err := db.FileAt(t.Context(), root.ID+1, "a"); f != nil || err != nil {
		t.Errorf("another root has record %v, error %v", f, err)
	}
}

func TestASecondRecordOfAPathReplacesTheFirst(t *testing.T) {
	db, root := openNew(t)
	put(t, db, record(root.ID, "a"))
	want := record(root.ID, "a")
	want.FileID, want.RemotePath, want.Response, want.Stat.Size = "other", "/elsewhere", []byte("[]"), 8
	put(t, db, want)
	got, err := db.FileAt(t.Context(), root.ID, "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(state.File{}, "ID")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := paths(t, db, 0); len(got) != 1 {
		t.Errorf("recorded: %q", got)
	}
	put(t, db, func() *state.File { // the remote path it left is free again
		f := record(root.ID, "b")
		f.RemotePath = record(root.ID, "a").RemotePath
		return f
	}())
}

func TestARemotePathBelongsToOneLocalPathOfAllRoots(t *testing.T) {
	db, root := openNew(t)
	other := ensureRoot(t, db, "/other")
	put(t, db, record(root.ID, "a"))
	for name, thief := range map[string]*state.File{
		"not to another path of the root":   record(root.ID, "b"),
		"not to the same path of another":   record(other.ID, "a"),
		"not to a path that had one before": record(root.ID, "c"),
	} {
		t.Run(name, func(t *testing.T) {
			if thief.Path == "c" {
				put(t, db, record(root.ID, "c"))
			}
			thief.RemotePath = record(root.ID, "a").RemotePath
			err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.PutFile(thief) })
			if !errors.Is(err, state.ErrRemoteTaken) {
				t.Errorf("error is %v, should wrap ErrRemoteTaken", err)
			}
		})
	}
	err := db.Write(t.Context(), state.Relaxed, func(tx *state.Tx) error {
		owner, err := tx.RemoteOwner(record(root.ID, "a").RemotePath)
		if err != nil {
			return err
		}
		if owner == nil || *owner != (state.Owner{RootID: root.ID, Path: "a"}) {
			t.Errorf("the owner is %+v", owner)
		}
		if owner, err = tx.RemoteOwner("/nobody"); owner != nil || err != nil {
			t.Errorf("nobody's remote path has owner %+v, error %v", owner, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARecordOfAnUnknownRootIsRefused(t *testing.T) {
	db, root := openNew(t)
	err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error { return tx.PutFile(record(root.ID+9, "a")) })
	if err == nil || errors.Is(err, state.ErrRemoteTaken) {
		t.Errorf("error is %v", err)
	}
}

func TestTouchChangesTheStatAndNothingElse(t *testing.T) {
	db, root := openNew(t)
	want := record(root.ID, "a")
	put(t, db, want)
	put(t, db, record(root.ID, "b"))
	now := time.UnixMilli(1_800_000_000_789)
	want.Stat, want.CheckedAt = state.Stat{Size: 7, MtimeNs: 2, CtimeNs: 3, Dev: math.MaxUint64, Ino: 5}, now
	err := db.Write(t.Context(), state.Durable, func(tx *state.Tx) error {
		return tx.TouchFile(root.ID, "a", want.Stat, now)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*state.File{want, record(root.ID, "b")} {
		got, err := db.FileAt(t.Context(), root.ID, want.Path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal), cmpopts.IgnoreFields(state.File{}, "ID")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Path, diff)
		}
	}
}

func TestSameComparesAllButTheDevice(t *testing.T) {
	a := state.Stat{Size: 1, MtimeNs: 2, CtimeNs: 3, Dev: 4, Ino: 5}
	for name, c := range map[string]struct {
		b    state.Stat
		same bool
	}{
		"itself":                        {a, true},
		"another device after a reboot": {state.Stat{Size: 1, MtimeNs: 2, CtimeNs: 3, Dev: 9, Ino: 5}, true},
		"another size":                  {state.Stat{Size: 9, MtimeNs: 2, CtimeNs: 3, Dev: 4, Ino: 5}, false},
		"another mtime":                 {state.Stat{Size: 1, MtimeNs: 9, CtimeNs: 3, Dev: 4, Ino: 5}, false},
		"another ctime":                 {state.Stat{Size: 1, MtimeNs: 2, CtimeNs: 9, Dev: 4, Ino: 5}, false},
		"another inode":                 {state.Stat{Size: 1, MtimeNs: 2, CtimeNs: 3, Dev: 4, Ino: 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if a.Same(c.b) != c.same || c.b.Same(a) != c.same {
				t.Errorf("Same is %v, should be %v", a.Same(c.b), c.same)
			}
		})
	}
}

func TestStatOfSeesWhatChangedInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write := func(content string) state.Stat {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		// A fixed mtime, so that only what the case is about differs.
		if err := os.Chtimes(path, time.Unix(1, 5), time.Unix(1, 5)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return state.StatOf(info)
	}
	first := write("abc")
	if first.Size != 3 || first.MtimeNs != 1e9+5 || first.Ino == 0 || first.Dev == 0 || first.CtimeNs == 0 {
		t.Errorf("the stat is %+v", first)
	}
	if write("abcd").Same(first) {
		t.Error("a longer content is the same")
	}
	if err := os.WriteFile(path+".new", []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if write("abc").Same(first) {
		t.Error("a file renamed over it is the same")
	}
}

// The scanner merges its walk with this order.
func TestFilesAreInTheOrderOfTheirPathsBytes(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		root := ensureRoot(t, db, fmt.Sprintf("/%d", n))
		octet := rapid.OneOf(rapid.SampledFrom([]byte("a!-./0A~\x01\xff\xc3\n")), rapid.ByteRange(1, 255))
		want := rapid.SliceOfNDistinct(rapid.SliceOfN(octet, 1, 6), 0, 20, func(b []byte) string { return string(b) }).Draw(rt, "paths")
		err := db.Write(t.Context(), state.Relaxed, func(tx *state.Tx) error {
			for i, p := range want {
				f := record(root.ID, string(p))
				f.RemotePath = fmt.Sprintf("/%d/%d", n, i)
				if err := tx.PutFile(f); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		var sorted []string
		for _, p := range want {
			sorted = append(sorted, string(p))
		}
		slices.Sort(sorted)
		if got := paths(t, db, root.ID); !slices.Equal(got, sorted) {
			rt.Errorf("Files gives %q, should be %q", got, sorted)
		}
	})
}

func TestFilesOfEveryRootAndASequenceLeftEarly(t *testing.T) {
	db, one := openNew(t)
	two := ensureRoot(t, db, "/two")
	for _, f := range []*state.File{record(two.ID, "a"), record(one.ID, "b"), record(one.ID, "a")} {
		put(t, db, f)
	}
	if got := paths(t, db, 0); !slices.Equal(got, []string{"a", "b", "a"}) {
		t.Errorf("all roots: %q", got)
	}
	if got := paths(t, db, two.ID); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the second root: %q", got)
	}
	// Each loop that is left must give its connection back: there are few.
	for range 20 {
		for f, err := range db.Files(t.Context(), 0, false) {
			if err != nil {
				t.Fatal(err)
			}
			if f.Response != nil {
				t.Error("a response that was not asked for")
			}
			break
		}
	}
}

func TestARootKeepsItsIdAndTakesANewFolder(t *testing.T) {
	db, first := openNew(t)
	odd := ensureRoot(t, db, "/caf\xe9\n")
	again, err := db.EnsureRoot(t.Context(), first.Path, "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || again.Folder != "/elsewhere" {
		t.Errorf("the root is %+v, was %+v", again, first)
	}
	roots, err := db.Roots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]state.Root{again, odd}, roots); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
