package state

import (
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"iksync/state/failpoint"
)

// applicationID marks a SQLite file as iksync's ("iksy").
const applicationID = 0x696b7379

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to the newest version, one transaction per step,
// after a backup of a file that holds an older one.
func migrate(ctx context.Context, conn *sql.Conn, path string) error {
	steps := migrationSteps()
	have, err := identify(ctx, conn, path, len(steps))
	if err != nil {
		return err
	}
	if have == len(steps) {
		return nil
	}
	if have > 0 {
		if err := failpoint.Hit(failpoint.MigrateBackup); err != nil {
			return err
		}
		if err := backup(ctx, conn, fmt.Sprintf("%s.schema%d.bak", path, have)); err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.MigrateBackedUp); err != nil {
			return err
		}
	}
	for i := have; i < len(steps); i++ {
		if err := failpoint.Hit(failpoint.MigrateStep); err != nil {
			return err
		}
		script, err := migrations.ReadFile(steps[i])
		if err != nil {
			return fmt.Errorf("read migration %s: %w", steps[i], err)
		}
		if err := apply(ctx, conn, string(script), i+1); err != nil {
			return fmt.Errorf("bring state file %s to schema %d: %w", path, i+1, err)
		}
		if err := failpoint.Hit(failpoint.MigrateStepAfter); err != nil {
			return err
		}
	}
	return nil
}

// migrationSteps names the migrations in their order.
func migrationSteps() []string {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil { // only a malformed pattern
		return nil
	}
	return steps
}

// schemaVersion is the newest schema that this program knows.
func schemaVersion() int { return len(migrationSteps()) }

// identify returns the schema version of the file, 0 for an empty one, and
// refuses files that are not iksync's or are newer than want.
func identify(ctx context.Context, conn querier, path string, want int) (int, error) {
	var have, app, tables int
	for pragma, dst := range map[string]*int{
		"PRAGMA user_version":                &have,
		"PRAGMA application_id":              &app,
		"SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := conn.QueryRowContext(ctx, pragma).Scan(dst); err != nil {
			return 0, describeOpen(ctx, conn, path, err)
		}
	}
	if app != applicationID && (tables > 0 || have > 0) {
		return 0, fmt.Errorf("%s is a database, but not an iksync state file: name another file with --state; it was not touched", path)
	}
	if have > want {
		return 0, &VersionError{Path: path, Have: have, Want: want}
	}
	return have, nil
}

// checkVersion refuses a file whose schema is not exactly this program's.
func checkVersion(ctx context.Context, db *sql.DB, path string) error {
	have, err := identify(ctx, db, path, schemaVersion())
	if err != nil {
		return err
	}
	if have != schemaVersion() {
		return &VersionError{Path: path, Have: have, Want: schemaVersion()}
	}
	return nil
}

func apply(ctx context.Context, conn *sql.Conn, script string, version int) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	// PRAGMA takes no parameters; both values are numbers of ours.
	marks := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)
	if _, err := tx.ExecContext(ctx, marks); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.MigrateStepCommit); err != nil {
		return err
	}
	return tx.Commit()
}

// backup copies the database to dst, replacing a copy that an interrupted
// migration left there.
func backup(ctx context.Context, conn *sql.Conn, dst string) error {
	if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old backup of the state file: %w", err)
	}
	if err := copyInto(ctx, conn, dst); err != nil {
		return fmt.Errorf("before changing its schema: %w", err)
	}
	return nil
}

// copyInto writes a copy of the database to a file that must not exist.
func copyInto(ctx context.Context, conn *sql.Conn, dst string) error {
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // SQLite would let others read it
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("back up the state file: %w", err)
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", dst); err != nil {
		return fmt.Errorf("back up the state file to %s: %w", dst, err)
	}
	return nil
}

// describeOpen turns SQLite's error on first contact into one that says what to do. conn
// is any connection to the file.
func describeOpen(ctx context.Context, conn querier, path string, err error) error {
	if notADatabase(err) {
		// A damaged file is not opened beside SQLite, which would end its locks: it reads our
		// mark where its header is whole.
		var app int
		lookup := conn.QueryRowContext(context.WithoutCancel(ctx), "PRAGMA application_id").Scan(&app)
		ours := lookup == nil && app == applicationID
		if notADatabase(lookup) { // with a damaged schema no connection can be had, so there is no lock to end
			ours = isOurs(path)
		}
		return &CorruptError{Path: path, What: err.Error(), Ours: ours, Err: err}
	}
	return fmt.Errorf("open state file %s: %w", path, err)
}

// isOurs reports whether a file begins as a state file does: with SQLite's header
// and our mark in it. SQLite must not have it open in this process.
func isOurs(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var header [72]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return false
	}
	return string(header[:16]) == "SQLite format 3\x00" && binary.BigEndian.Uint32(header[68:]) == applicationID
}

// querier is what a connection, a pool and a transaction have in common.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
