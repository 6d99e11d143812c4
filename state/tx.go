package state

import (
	"context"
	"database/sql"
	"fmt"
)

// Tx runs statements inside one transaction of the writer. It is valid only
// inside the function it was handed to. Statements are prepared once per text
// and kept, so texts must be constants.
//
// They run without a deadline on purpose: with a context that can end, the
// driver starts a goroutine for each, which halves its speed. Each is short.
type Tx struct {
	w *writer
}

// Exec runs a statement.
func (tx *Tx) Exec(query string, args ...any) error {
	_, err := tx.ExecRows(query, args...)
	return err
}

// ExecRows runs a statement and returns how many rows it changed.
func (tx *Tx) ExecRows(query string, args ...any) (int64, error) {
	stmt, err := tx.prepare(query, args)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// QueryRow runs a query that gives one row at most.
func (tx *Tx) QueryRow(query string, args ...any) *Row {
	stmt, err := tx.prepare(query, args)
	if err != nil {
		return &Row{err: err}
	}
	return &Row{row: stmt.QueryRowContext(context.Background(), args...)}
}

// Query runs a query. The caller closes the rows before the next statement.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := tx.prepare(query, args)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.Background(), args...)
}

// prepare gives the statement of a query, which is about to be run with args.
func (tx *Tx) prepare(query string, args []any) (*sql.Stmt, error) {
	if tx.w.told != nil {
		tx.w.told(query, args)
	}
	if stmt, ok := tx.w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := tx.w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	tx.w.stmts[query] = stmt
	return stmt, nil
}

// Row is the result of [Tx.QueryRow].
type Row struct {
	row *sql.Row
	err error
}

// Scan copies the row's columns; [sql.ErrNoRows] when there was none.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}

// Query runs a query on a reading connection, on the last committed state. The
// caller closes the rows; keep them open for long and the write-ahead log
// grows meanwhile.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.read.QueryContext(ctx, query, args...)
}
