package queue

import (
	"context"
	"fmt"

	"iksync/state"
	"iksync/state/failpoint"
)

// IndexHashes makes the index that [Queue.SameContent] needs, if it is not there.
// It takes its time with millions of records, and room in the file, so it is made
// only where duplicates are looked for.
func (q *Queue) IndexHashes(ctx context.Context) error {
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		return tx.Exec(`CREATE INDEX IF NOT EXISTS files_hash ON files (hash)`)
	})
	if err != nil {
		return fmt.Errorf("index the contents: %w", err)
	}
	return nil
}

// SameContent returns a record whose asset has a content, one of the given name before
// others; nil when there is none. A record with a job, one that is about to be changed,
// and one that was adopted without comparing the bytes is none of them: its asset may have
// other content.
func (q *Queue) SameContent(ctx context.Context, hash state.Hash, size int64, name string) (same *state.File, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		same = nil
		files, err := tx.FilesWhere(`f.hash = ?2 AND f.size = ?3 AND `+isSource+` ORDER BY substr(f.remote_path, -length(?1)) = ?1 DESC, f.absent, f.id LIMIT 1`, "/"+name, hash[:], size)
		if len(files) > 0 {
			same = files[0]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the same content: %w", err)
	}
	return same, nil
}

// isSource is the condition for a record f whose asset has the content that is recorded,
// and keeps it: nothing is sent to it, or about to be.
const isSource = `f.unproven = 0 AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.root_id = f.root_id AND j.path = f.path)
			AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.donor = f.id) AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.file = f.id)`

// Alias records that a job's file has the content of another record's asset, and
// removes the job. Should that asset get another content, the file is uploaded.
func (q *Queue) Alias(job *Job, st state.Stat, of *state.File, done func(error)) {
	q.db.WriteLater(state.Durable, func(tx *state.Tx) error {
		n, err := tx.ExecRows(`INSERT INTO aliases (root_id, path, of, size, mtime_ns, ctime_ns, dev, ino, hash, remote_path, mount, remote_key)
			SELECT ?1, ?2, id, ?4, ?5, ?6, ?7, ?8, hash, ?9, ?11, ?12 FROM files f WHERE id = ?3 AND hash = ?10 AND `+isSource+`
			ON CONFLICT (root_id, path) DO UPDATE SET of = ?3, size = ?4, mtime_ns = ?5, ctime_ns = ?6, dev = ?7, ino = ?8, hash = excluded.hash, remote_path = ?9, mount = ?11, remote_key = ?12`,
			job.RootID, []byte(job.Path), of.ID, st.Size, st.MtimeNs, st.CtimeNs, int64(st.Dev), int64(st.Ino), job.RemotePath, of.Hash[:], st.Mount, keyOf(job.RemotePath))
		if err != nil {
			return fmt.Errorf("record that %q is the same as %q: %w", job.Path, of.Path, err)
		}
		if err := failpoint.Hit(failpoint.AliasCommit); err != nil {
			return err
		}
		if n == 0 { // the other has changed meanwhile
			return q.fail(tx, job, Failure{Free: true})
		}
		return q.remove(tx, job)
	}, done)
}

// dealias ends what an upload makes untrue: the alias of its own path, and those
// of the record, if its content is another by now, whose files are queued.
func (q *Queue) dealias(tx *state.Tx, f *state.File) error {
	if err := tx.Exec(`DELETE FROM aliases WHERE root_id = ? AND path = ?`, f.RootID, []byte(f.Path)); err != nil {
		return err
	}
	now := q.now().UnixMilli()
	n, err := tx.ExecRows(`INSERT OR IGNORE INTO jobs (root_id, path, gen, state, leased, priority, not_before, attempts,
			size, mtime_ns, ctime_ns, dev, ino, remote_path, class, reason, request_id, created_at, updated_at, mount, remote_key)
		SELECT a.root_id, a.path, 1, 0, 0, 0, 0, 0, a.size, a.mtime_ns, a.ctime_ns, a.dev, a.ino, a.remote_path, '', '', '', ?4, ?4, a.mount, a.remote_key
		FROM aliases a JOIN files f ON f.id = a.of WHERE f.root_id = ?1 AND f.path = ?2 AND a.hash <> ?3`, f.RootID, []byte(f.Path), f.Hash[:], now)
	if err != nil {
		return fmt.Errorf("queue the files that were the same as %q: %w", f.Path, err)
	}
	if n > 0 {
		q.notify()
	}
	return tx.Exec(`DELETE FROM aliases WHERE hash <> ?3 AND of = (SELECT id FROM files WHERE root_id = ?1 AND path = ?2)`, f.RootID, []byte(f.Path), f.Hash[:])
}
