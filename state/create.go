package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"iksync/state/failpoint"
)

// creating is added to the path of a state file that is being made. Who holds the lock
// knows that nobody is making one: what is there is of a process that died.
const creating = ".creating"

// besides are what SQLite keeps beside a file.
var besides = []string{"-wal", "-shm", "-journal"}

// inspect looks whether the state file at path can be used, without opening it: to close
// any descriptor of it would end the locks that SQLite has on it in this process. It is
// false when there is none and one may be made.
func inspect(path string) (exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, mayBeMade(path)
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("look at the state file: %w", err)
	case !info.Mode().IsRegular():
		return true, fmt.Errorf("state file %s: it is not a regular file", path)
	case info.Size() == 0:
		return true, &CorruptError{Path: path, What: "it is empty; if nothing was uploaded with it, remove it", Ours: true}
	}
	if n := linksOf(info); n > 1 {
		return true, &LinkedError{Path: path, Links: n}
	}
	return true, nil
}

// mayBeMade refuses to make a state file where one has been: all would be sent again.
func mayBeMade(path string) error {
	if target, err := os.Readlink(path); err == nil {
		return fmt.Errorf("state file %s is a symlink to %s, where no file is: a disk may have to be mounted; remove the symlink to start anew", path, target)
	}
	for _, log := range []string{path + "-wal", path + "-journal"} {
		if info, err := os.Lstat(log); err == nil && info.Size() > 0 {
			return &CorruptError{Path: path, What: "it is missing, and its log " + log + " is there", Ours: true}
		}
	}
	return nil
}

// create makes the state file, complete before it has its name: who dies meanwhile
// leaves none. The caller holds the lock.
func create(ctx context.Context, path string) (err error) {
	temp := path + creating
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make state file %s: %w", path, err), discard(temp))
		}
	}()
	if err := failpoint.Hit(failpoint.CreateBegin); err != nil {
		return err
	}
	// The file is made here and not by SQLite, so that others can't read the paths in it.
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(giveAway(f), f.Close()); err != nil {
		return err
	}
	if err := build(ctx, temp); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.CreateBuilt); err != nil {
		return err
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := publish(temp, path); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.CreatePlaced); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// build gives an empty file the newest schema.
func build(ctx context.Context, temp string) error {
	db, err := sql.Open(driverName, dsn(temp, url.Values{
		"_journal_mode": {"MEMORY"}, // what is not complete is thrown away
		"_synchronous":  {"OFF"},    // it is synced as a whole
		"_foreign_keys": {"1"},
		"_txlock":       {"immediate"},
	}))
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		err = errors.Join(migrate(ctx, conn, temp), conn.Close())
	}
	return errors.Join(err, db.Close())
}

// syncFile makes the content of a file that SQLite does not have open survive a power cut.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// place gives a file its name, which nothing has, where the kernel can't do that in one
// step. Without hard links the lock alone keeps others away.
func place(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil {
		return os.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	return os.Rename(temp, path)
}

// discard removes a state file that is not complete.
func discard(temp string) error {
	for _, suffix := range append([]string{""}, besides...) {
		info, err := os.Lstat(temp + suffix)
		if err == nil && info.Mode().IsRegular() {
			err = os.Remove(temp + suffix)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what is left of a state file that was not completed: %w", err)
		}
	}
	return nil
}
