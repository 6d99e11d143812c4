package state

import (
	"context"
	"database/sql"
)

// Tell lets the writer tell every statement that it is about to run, from its own
// goroutine; nil ends that.
func Tell(ctx context.Context, db *DB, told func(query string, args []any)) error {
	return db.Write(ctx, Durable, func(tx *Tx) error {
		tx.w.told = told
		return nil
	})
}

// Bare is the writer's connection, for a test that lets the writer rest.
func Bare(db *DB) *sql.Conn { return db.writer.conn }

// Readers counts the open connections that read.
func Readers(db *DB) int { return db.read.Stats().OpenConnections }
