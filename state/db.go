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
	"sync"
	"time"
)

// DB is an open state file. Its methods may be called from several goroutines.
type DB struct {
	path   string
	write  *sql.DB // one connection, used by the writer goroutine alone
	read   *sql.DB
	lock   *os.File
	writer *writer // nil when opened read-only
	mounts Mounts

	closeOnce sync.Once
	closeErr  error
}

func newDB(path string) *DB {
	db := &DB{path: path}
	db.mounts.db, db.mounts.process = db, fmt.Append(nil, "process ", os.Getpid(), " ", Uptime())
	return db
}

// readers bounds the read connections: a scan, an export and a few look-ups.
const readers = 4

// Open opens the state file at path for reading and writing, making it and its
// directory where they are missing, and brings its schema up to date. It takes
// the lock beside the file (path + ".lock"), so that one process at a time
// writes; a held lock is a [*LockedError]. A file written by a newer iksync is
// a [*VersionError]. The caller closes the DB.
func Open(ctx context.Context, path string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	// Two names of one file must have one lock.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the state file: %w", err)
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return nil, err
	}
	db := newDB(path)
	db.lock = lock
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	if err := discard(db.path + creating); err != nil {
		return err
	}
	exists, err := inspect(db.path)
	if err == nil && !exists {
		err = create(ctx, db.path)
	}
	if err == nil {
		err = giveAwayClosed(db.path)
	}
	if err != nil {
		return err
	}
	if wantsCheck(db.path) {
		// The last connection to close folds the write-ahead log into the file, damaged or
		// not, unless it was opened for reading.
		if err := db.openReaders("ro"); err != nil {
			return err
		}
		err := quickCheck(ctx, db.read, db.path)
		if err := errors.Join(err, db.read.Close()); err != nil {
			return err
		}
	}
	if err := db.openReaders("rw"); err != nil {
		return err
	}
	// Opening it for writing would turn a foreign database into one with a write-ahead log.
	if _, err := identify(ctx, db.read, db.path, schemaVersion()); err != nil {
		return err
	}
	db.write, err = sql.Open(driverName, dsn(db.path, url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_busy_timeout": {"10000"},
		"_cache_size":   {"-4000"},
		"_txlock":       {"immediate"},
		"_mutex":        {"no"}, // database/sql lets one goroutine at a time use a connection
	}))
	if err != nil {
		return fmt.Errorf("open state file %s: %w", db.path, err)
	}
	db.write.SetMaxOpenConns(1)
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return describeOpen(ctx, db.read, db.path, err)
	}
	if err := migrate(ctx, conn, db.path); err != nil {
		return errors.Join(err, conn.Close())
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA temp_store = MEMORY"); err != nil {
		return errors.Join(describeOpen(ctx, db.read, db.path, err), conn.Close())
	}
	db.writer = startWriter(conn)
	return nil
}

// checkedSize is up to which size (bytes) a file is checked at each start, which
// reads it all.
const checkedSize = 256 << 20

// wantsCheck reports whether a file is to be checked before it is used: it is
// small, or was not closed in good order.
func wantsCheck(path string) bool {
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && info.Size() <= checkedSize
}

func quickCheck(ctx context.Context, conn querier, path string) error {
	var found string
	if err := conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return describeOpen(ctx, conn, path, err)
	}
	if found != "ok" {
		return &CorruptError{Path: path, What: found, Ours: true}
	}
	return nil
}

// SetAside renames a state file, with what SQLite keeps beside it, and returns the
// new name: path with ".damaged-" and the time. It takes the lock for that.
func SetAside(path string, now time.Time) (aside string, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("state file %s: %w", path, err)
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	info, err := os.Lstat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return "", fmt.Errorf("set the damaged state file aside: %w", err)
	}
	if !missing && info.Size() > 0 && !isOurs(path) {
		return "", fmt.Errorf("%s does not begin as a state file does, so it is left alone: move it away yourself if it is one", path)
	}
	aside = path + ".damaged-" + now.Format("20060102-150405")
	if _, err := os.Lstat(aside); err == nil {
		return "", fmt.Errorf("set the damaged state file aside: %s is there already", aside)
	}
	if err := os.Rename(path, aside); err != nil && !missing {
		return "", fmt.Errorf("set the damaged state file aside: %w", err)
	}
	for _, beside := range besides {
		if err := os.Rename(path+beside, aside+beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set the damaged state file aside: %w", err)
		}
	}
	return aside, nil
}

// OpenReadOnly opens an existing state file for reading, beside a process that
// may be writing it. A missing file is an error that wraps [fs.ErrNotExist];
// a file of another schema version is a [*VersionError].
func OpenReadOnly(ctx context.Context, path string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	exists, err := inspect(path)
	switch {
	case err != nil:
		return nil, err
	case !exists:
		return nil, fmt.Errorf("there is no state file at %s yet: nothing has been uploaded with it (%w)", path, fs.ErrNotExist)
	}
	if err := mayRead(path); err != nil {
		return nil, fmt.Errorf("open the state file %s: %w", path, err)
	}
	db := newDB(path)
	if err := db.openReaders("ro"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := checkVersion(ctx, db.read, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Copy writes a copy of the state file at path to dst, which must not exist, as
// it is at one moment, also beside a process that is writing it. A file that is
// not there has no copy, and that is no error.
func Copy(ctx context.Context, path, dst string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("state file %s: %w", path, err)
	}
	if exists, err := inspect(path); err != nil || !exists {
		return err
	}
	if err := mayRead(path); err != nil {
		return fmt.Errorf("open the state file %s: %w", path, err)
	}
	db := newDB(path)
	if err := db.openReaders("ro"); err != nil {
		return errors.Join(err, db.Close())
	}
	defer db.Close()
	if _, err := identify(ctx, db.read, path, schemaVersion()); err != nil {
		return err
	}
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return describeOpen(ctx, db.read, path, err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only = 0"); err != nil { // it also forbids to write elsewhere
		return describeOpen(ctx, conn, path, err)
	}
	err = copyInto(ctx, conn, dst)
	if notADatabase(err) {
		return describeOpen(ctx, conn, path, err)
	}
	return err
}

func (db *DB) openReaders(mode string) error {
	if wal, err := os.Stat(db.path + "-wal"); err != nil || wal.Size() == 0 {
		mode = "rw" // there is nothing to fold, and what this makes it removes again
	}
	read, err := sql.Open(driverName, dsn(db.path, url.Values{
		"mode":          {mode},
		"_query_only":   {"1"},
		"_busy_timeout": {"10000"},
		"_cache_size":   {"-1000"},
		"_mutex":        {"no"},
	}))
	if err != nil {
		return fmt.Errorf("open state file %s: %w", db.path, err)
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	db.read = read
	return nil
}

// Shrink gives back the memory that holds pages of the file; what is read or
// written later takes some again.
func (db *DB) Shrink() {
	db.read.SetMaxIdleConns(0) // ends those that nobody uses
	db.read.SetMaxIdleConns(readers)
	db.WriteLater(Relaxed, func(tx *Tx) error {
		_, err := tx.w.conn.ExecContext(context.Background(), "PRAGMA shrink_memory") // a prepared one does nothing when it runs
		return err
	}, func(error) {})
}

// Path returns the absolute path of the state file.
func (db *DB) Path() string { return db.path }

// Close commits what is waiting, closes the file and releases its lock.
// Writes after Close fail with [ErrClosed]. It is safe to call twice.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		var errs []error
		if db.writer != nil {
			errs = append(errs, db.writer.close())
		}
		if db.read != nil {
			errs = append(errs, db.read.Close())
		}
		// The last connection to close folds the write-ahead log into the file, which a
		// reading one may not.
		if db.write != nil {
			errs = append(errs, db.write.Close())
		}
		if db.lock != nil {
			errs = append(errs, db.lock.Close())
		}
		db.closeErr = errors.Join(errs...)
	})
	return db.closeErr
}

// dsn builds the driver's data source name; a path may hold "?" and "%".
func dsn(path string, params url.Values) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: params.Encode()}
	return u.String()
}
