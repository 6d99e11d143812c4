package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// Trust is what the metadata of a file system proves.
type Trust struct {
	// Mount is what [Stat.Mount] is for its files: 0 when identity is proven.
	Mount int64
	Kind  string // type of the file system, "ext4"
	Why   string // why identity is proven, or not
}

// Proven reports whether inode number and change time prove a file's identity.
func (t Trust) Proven() bool { return t.Mount == 0 }

// Mounts tells what the file systems prove that files are on. Its methods may be called
// from several goroutines.
type Mounts struct {
	db      *DB
	process []byte // tells this process from others

	mu    sync.Mutex
	known map[string]int64 // number of a mount by its key
	// disproved are keys of file systems that were seen to prove nothing; nil before they
	// were read.
	disproved map[string]bool
}

// Mounts returns what numbers the mounts of file systems that prove no identity.
func (db *DB) Mounts() *Mounts { return &db.mounts }

// maxMounts bounds the mounts that are remembered. The records of a forgotten mount are
// compared once more.
const maxMounts = 10_000

// unnumbered is the number of a mount that a file that is only read does not have.
const unnumbered = -1

// number returns the number of a mount, which is the same in every process.
func (m *Mounts) number(key []byte) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.known[string(key)]; ok {
		return n, nil
	}
	n, err := m.lookUp(key)
	if err != nil {
		return 0, fmt.Errorf("number a mount: %w", err)
	}
	if m.known == nil || len(m.known) >= maxMounts {
		m.known = make(map[string]int64)
	}
	m.known[string(key)] = n
	return n, nil
}

// keys returns the keys that begin with a prefix.
func (m *Mounts) keys(prefix []byte) (map[string]bool, error) {
	rows, err := m.db.Query(context.Background(), `SELECT key FROM mounts WHERE substr(key, 1, ?) = ?`, len(prefix), prefix)
	if err != nil {
		return nil, fmt.Errorf("read the known mounts: %w", err)
	}
	defer rows.Close()
	keys := make(map[string]bool)
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("read the known mounts: %w", err)
		}
		keys[string(key)] = true
	}
	return keys, rows.Err()
}

func (m *Mounts) lookUp(key []byte) (n int64, err error) {
	if m.db.writer == nil {
		rows, err := m.db.Query(context.Background(), `SELECT id FROM mounts WHERE key = ?`, key)
		if err != nil {
			return 0, err
		}
		defer rows.Close()
		n = unnumbered
		if rows.Next() {
			err = rows.Scan(&n)
		}
		return n, errors.Join(err, rows.Err())
	}
	err = m.db.Write(context.Background(), Relaxed, func(tx *Tx) error {
		err := tx.QueryRow(`SELECT id FROM mounts WHERE key = ?`, key).Scan(&n)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := tx.QueryRow(`INSERT INTO mounts (id, key) SELECT coalesce(max(id), 0) + 1, ? FROM mounts RETURNING id`, key).Scan(&n); err != nil {
			return err
		}
		return tx.Exec(`DELETE FROM mounts WHERE id <= ?`, n-maxMounts)
	})
	return n, err
}
