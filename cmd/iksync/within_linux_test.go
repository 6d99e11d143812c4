package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"iksync/cmd/iksync/internal/config"
)

// TestAStateFileInsideARootByAnotherMountIsRefused: iksync would write into the watched
// tree, and upload its own database.
func TestAStateFileInsideARootByAnotherMountIsRefused(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	h := newHostile(t)
	roots := []config.Root{{Path: h.tree()}}
	h.write("d/e/a.jpg")
	bind := func(from, to string) string {
		h.must(os.MkdirAll(to, 0o755))
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			t.Skip("nothing can be mounted here: ", err)
		}
		t.Cleanup(func() { h.must(unix.Unmount(to, unix.MNT_DETACH)) })
		return to
	}
	at := func(name string) string { return filepath.Join(h.base, name) }
	h.must(errors.Join(os.MkdirAll(at("disk/sub"), 0o755), os.MkdirAll(at("state"), 0o755)))
	h.must(os.Mkdir(h.at("mounted"), 0o755))
	bind(at("disk"), h.at("mounted"))
	for name, dir := range map[string]string{
		"the root":                         bind(h.tree(), at("root")),
		"a directory of the root":          bind(h.at("d/e"), at("a b\\c")),
		"below such a directory":           filepath.Join(bind(h.at("d"), at("upper")), "e", "new"),
		"a directory mounted in the root":  at("disk/sub"),
		"another mount of that":            bind(at("disk/sub"), at("third")),
		"a mount of a mount of its parent": filepath.Join(bind(bind(h.base, at("whole")), at("again")), filepath.Base(h.tree()), "d"),
	} {
		t.Run(name, func(t *testing.T) {
			var refused *exitError
			if err := outsideRoots("the state file", filepath.Join(dir, "iksync.db"), roots); !errors.As(err, &refused) || refused.code != exitConfig {
				t.Errorf("%s is outside of %s: %v", dir, h.tree(), err)
			}
		})
	}
	for name, dir := range map[string]string{
		"beside the root":             at("state"),
		"beside what is mounted":      at("other"),
		"another mount beside it all": bind(at("state"), at("states")),
	} {
		t.Run(name, func(t *testing.T) {
			if err := outsideRoots("the state file", filepath.Join(dir, "iksync.db"), roots); err != nil {
				t.Error(err)
			}
		})
	}
}
