//go:build linux || darwin || freebsd

package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"iksync/state"
)

func TestASurveyTellsWhereAStateFileCanBeAndMakesNothing(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a", "b", "state.db")
	place, err := state.Survey(path)
	if err != nil || place.Exists || place.Path != path || place.Dir != dir || place.Holder != nil || place.Free < 1 {
		t.Errorf("before there is a file: %+v, %v", place, err)
	}
	if left := names(t, dir); left != "" {
		t.Errorf("the survey has made %s", left)
	}

	db := open(t, path)
	place, err = state.Survey(path)
	if err != nil || !place.Exists || place.Dir != filepath.Dir(path) {
		t.Errorf("beside a process that has it: %+v, %v", place, err)
	}
	if place.Holder == nil || *place.Holder != (state.LockedError{Path: path + ".lock", PID: os.Getpid()}) {
		t.Errorf("the holder is %+v", place.Holder)
	}
	closeDB(t, db)
	if place, err = state.Survey(path); err != nil || place.Holder != nil {
		t.Errorf("when nobody has it any more: %+v, %v", place, err)
	}
	open(t, path) // the survey keeps no lock

	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if place, err = state.Survey(link); err != nil || place.Path != path || place.Holder == nil {
		t.Errorf("by a symlink: %+v, %v", place, err)
	}
}

func TestASurveySaysWhyAStateFileCanNotBeThere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"below a file": filepath.Join(file, "state.db"), "where a directory is": dir} {
		if _, err := state.Survey(path); err == nil {
			t.Errorf("%s there is no error", name)
		}
	}
	if os.Getuid() == 0 {
		return // root may write anywhere
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700) // to remove it
	if _, err := state.Survey(filepath.Join(dir, "state.db")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("without write rights: %v", err)
	}
}
