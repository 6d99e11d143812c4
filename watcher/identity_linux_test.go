package watcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/queue"
)

// TestIdentify tells directories apart, by an id of their disk where there is one.
func TestIdentify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, other := filepath.Join(dir, "one"), filepath.Join(dir, "other")
	for _, d := range []string{one, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	kind := int64(fs.Type) & 0xffffffff
	if kind != unix.EXT4_SUPER_MAGIC && kind != unix.BTRFS_SUPER_MAGIC && kind != unix.TMPFS_MAGIC && kind != unix.XFS_SUPER_MAGIC {
		t.Skipf("a file system of type %#x may have no id", kind)
	}
	identifyOf := func(path string) queue.Identity {
		t.Helper()
		id, err := Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	a, b := identifyOf(one), identifyOf(other)
	if string(a.ID) == queue.ByFiles || string(a.ID) == string(b.ID) {
		t.Errorf("they are %s and %s", a.ID, b.ID)
	}
	if err := os.Rename(one, one+"-renamed"); err != nil {
		t.Fatal(err)
	}
	again := identifyOf(one + "-renamed")
	if same, proven := again.Is(a.ID); !same || !proven {
		t.Errorf("renamed, %s is %s", a.ID, again.ID)
	}
	if same, _ := again.Is(b.ID); same {
		t.Errorf("%s is %s", again.ID, b.ID)
	}
	var st unix.Stat_t
	if err := unix.Stat(other, &st); err != nil {
		t.Fatal(err)
	}
	if old := fmt.Sprintf("%x:%x:0:%x", uint32(fs.Fsid.Val[0]), uint32(fs.Fsid.Val[1]), st.Ino); string(b.Earlier) != old {
		t.Errorf("an earlier version has recorded %s, and not %s", old, b.Earlier)
	}
	if !strings.Contains(string(a.ID), fmt.Sprintf(":%x", kind)) && !strings.HasPrefix(string(a.ID), "uuid:") {
		t.Errorf("it is %s", a.ID)
	}
}

// TestNoIDIsTakenFromSpecialFileSystems: what they answer says nothing about a disk.
func TestNoIDIsTakenFromSpecialFileSystems(t *testing.T) {
	t.Parallel()
	id, err := Identify("/proc")
	if err != nil {
		t.Skip(err)
	}
	if string(id.ID) != queue.ByFiles {
		t.Errorf("/proc is %s", id.ID)
	}
}

func TestOnlyADirectoryIsIdentified(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "-missing"} {
		if id, err := Identify(path); err == nil {
			t.Errorf("%s is %s", path, id.ID)
		}
	}
}
