package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"iksync/state"
)

// Found is a file that the library lists.
type Found struct {
	Location
	Size          int64 // bytes
	Width, Height int64 // pixels; 0 where ImageKit gave none
	FileType      string
	Private       bool // its URL must be signed
}

// Match is what is known here of a file that the library lists.
type Match int

// The matches.
const (
	Unknown     Match = iota // nothing
	Recorded                 // its record
	Adoptable                // a job for just that path and size
	OtherSize                // a record or a job of its path, of another size
	OtherFileID              // a record of its path, with another fileId and the same size
)

// Matched is a listed file and what matches it.
type Matched struct {
	Found *Found
	Match Match
	Place Place
	Size  int64 // here; of a record the size that the library should have
	File  int64 // the record; 0 for a job
	// Of a job's file, and zero for a record: how it was seen, and since when it is so,
	// by [state.Uptime]; 0 when that is not known.
	Stat   state.Stat
	SeenAt time.Duration
}

// MatchAll tells of listed files what is known of them, and notes those that have
// records as seen.
func (q *Queue) MatchAll(ctx context.Context, found []Found) ([]Matched, error) {
	matched := make([]Matched, len(found))
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		roots, err := folders(tx)
		if err != nil {
			return err
		}
		for i := range found {
			m := &matched[i]
			*m = Matched{Found: &found[i]}
			var path []byte
			var fileID string
			err := tx.QueryRow(`SELECT id, root_id, path, coalesce(stored_size, size), file_id FROM files WHERE remote_path = ?`, found[i].RemotePath).
				Scan(&m.File, &m.Place.RootID, &path, &m.Size, &fileID)
			switch {
			case err == nil && fileID == found[i].FileID && m.Size == found[i].Size:
				m.Match = Recorded
			case err == nil && m.Size == found[i].Size:
				m.Match = OtherFileID
			case err == nil:
				m.Match = OtherSize
			case errors.Is(err, sql.ErrNoRows):
				var job, dev, ino, seen int64
				if job, err = listedJob(tx, roots, found[i].RemotePath, found[i].Size); err != nil {
					return err
				}
				err = tx.QueryRow(`SELECT root_id, path, size, mtime_ns, ctime_ns, dev, ino, mount, seen_at FROM jobs WHERE id = ?`, job).
					Scan(&m.Place.RootID, &path, &m.Size, &m.Stat.MtimeNs, &m.Stat.CtimeNs, &dev, &ino, &m.Stat.Mount, &seen)
				m.Stat.Size, m.Stat.Dev, m.Stat.Ino = m.Size, uint64(dev), uint64(ino)
				m.SeenAt = time.Duration(seen) * time.Millisecond
				if errors.Is(err, sql.ErrNoRows) {
					err = nil
				} else if m.Match = OtherSize; m.Size == found[i].Size {
					m.Match = Adoptable
				}
			}
			if err == nil && m.File != 0 {
				err = tx.Exec(`INSERT OR IGNORE INTO seen (file) VALUES (?)`, m.File)
			}
			if err != nil {
				return fmt.Errorf("look for what is at %s: %w", found[i].RemotePath, err)
			}
			m.Place.Path = string(path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return matched, nil
}

// Adoption is a listed file that is recorded for a local one.
type Adoption struct {
	Found *Found
	Place Place
	Stat  state.Stat // of the local file when it was read
	Hash  state.Hash // of the local file's content
	// Proven tells that the library's file was compared with the local one.
	Proven bool
}

// Adopt records listed files for the jobs of local ones, which are removed; and true for
// each that was adopted. The job of a file that is not as it was read any more stays.
func (q *Queue) Adopt(ctx context.Context, adoptions []Adoption) (adopted []bool, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		adopted = make([]bool, len(adoptions))
		now := q.now()
		for i := range adoptions {
			a := &adoptions[i]
			f := a.Found
			n, err := tx.ExecRows(`DELETE FROM jobs WHERE root_id = ?1 AND path = ?2 AND state IN (0, 2) AND leased = 0
				AND size = ?3 AND mtime_ns = ?4 AND ctime_ns = ?5 AND (ino = ?6 OR mount <> 0 AND mount = ?7)`,
				a.Place.RootID, []byte(a.Place.Path), a.Stat.Size, a.Stat.MtimeNs, a.Stat.CtimeNs, int64(a.Stat.Ino), a.Stat.Mount)
			if err == nil && n == 0 {
				continue
			}
			file := state.File{
				RootID: a.Place.RootID, Path: a.Place.Path, Stat: a.Stat, Hash: a.Hash, Unproven: !a.Proven,
				FileID: f.FileID, VersionID: f.VersionID, Name: f.Name, RemotePath: f.RemotePath, URL: f.URL, ThumbnailURL: f.ThumbnailURL,
				Width: f.Width, Height: f.Height, FileType: f.FileType, Response: f.Response, UploadedAt: now, CheckedAt: now,
			}
			file.SetStoredSize(f.Size)
			if err == nil {
				err = tx.PutFile(&file)
			}
			if err == nil {
				err = q.dealias(tx, &file)
			}
			if err != nil {
				return fmt.Errorf("adopt %s: %w", f.RemotePath, err)
			}
			adopted[i] = true
		}
		return nil
	})
	return adopted, err
}

// Proof tells that an asset was found to have the content of a record's file.
type Proof struct {
	File   int64 // the record
	FileID string
	Hash   state.Hash  // of the asset's content
	Read   *state.Stat // of the local file, if that was read and has this content
}

// Prove notes what was proven, and returns of how many records. A record that has another
// fileId or content by now is left alone. One without a hash takes that of the file that
// was read.
func (q *Queue) Prove(ctx context.Context, proofs []Proof) (n int64, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		n = 0
		for _, p := range proofs {
			proven, err := tx.ExecRows(`UPDATE files SET unproven = 0 WHERE id = ? AND file_id = ? AND hash = ?`, p.File, p.FileID, p.Hash[:])
			if err == nil && proven == 0 && p.Read != nil {
				proven, err = tx.ExecRows(`UPDATE files SET unproven = 0, hash = ?3, size = ?4, mtime_ns = ?5, ctime_ns = ?6, dev = ?7, ino = ?8, mount = ?9, checked_at = ?10
					WHERE id = ?1 AND file_id = ?2 AND hash = zeroblob(16) AND unproven <> 0`, p.File, p.FileID, p.Hash[:],
					p.Read.Size, p.Read.MtimeNs, p.Read.CtimeNs, int64(p.Read.Dev), int64(p.Read.Ino), p.Read.Mount, q.now().UnixMilli())
			}
			if err != nil {
				return err
			}
			n += proven
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("record which assets were compared: %w", err)
	}
	return n, nil
}

// Unproven counts the records, by root, that were adopted without comparing contents.
func (q *Queue) Unproven(ctx context.Context) (map[int64]int64, error) {
	rows, err := q.db.Query(ctx, `SELECT root_id, count(*) FROM files INDEXED BY files_unproven WHERE unproven <> 0 GROUP BY root_id`)
	if err != nil {
		return nil, fmt.Errorf("count the unproven records: %w", err)
	}
	defer rows.Close()
	all := make(map[int64]int64)
	for rows.Next() {
		var id, n int64
		if err := rows.Scan(&id, &n); err != nil {
			return nil, fmt.Errorf("count the unproven records: %w", err)
		}
		all[id] = n
	}
	return all, rows.Err()
}

// NextFolder returns a folder of a root's survey that has not been listed, "" when
// there is none. A survey begins with the first.
func (q *Queue) NextFolder(ctx context.Context, rootID int64, first string) (folder string, err error) {
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		var begun bool
		err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM survey WHERE root_id = ?)`, rootID).Scan(&begun)
		if err == nil && !begun {
			err = tx.Exec(`INSERT INTO survey (root_id, folder, listed) VALUES (?, ?, 0)`, rootID, first)
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(`SELECT folder FROM survey WHERE root_id = ? AND listed = 0 ORDER BY folder LIMIT 1`, rootID).Scan(&folder)
		if errors.Is(err, sql.ErrNoRows) {
			folder, err = "", nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("survey of the library: %w", err)
	}
	return folder, nil
}

// Listed notes that a folder of a root's survey was listed, and what folders are in it.
func (q *Queue) Listed(ctx context.Context, rootID int64, folder string, inside []string) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		for _, sub := range inside {
			if err := tx.Exec(`INSERT OR IGNORE INTO survey (root_id, folder, listed) VALUES (?, ?, 0)`, rootID, sub); err != nil {
				return err
			}
		}
		return tx.Exec(`INSERT INTO survey (root_id, folder, listed) VALUES (?, ?, 1) ON CONFLICT (root_id, folder) DO UPDATE SET listed = 1`, rootID, folder)
	})
}

// EndSurvey forgets a root's survey.
func (q *Queue) EndSurvey(ctx context.Context, rootID int64) error {
	return q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		if err := tx.Exec(`DELETE FROM seen`); err != nil {
			return err
		}
		return tx.Exec(`DELETE FROM survey WHERE root_id = ?`, rootID)
	})
}

// Unseen returns the records of a root that no listing of the survey has shown.
// The sequence ends after the first error.
func (q *Queue) Unseen(ctx context.Context, rootID int64) iter.Seq2[*state.File, error] {
	return q.db.FilesWhere(ctx, `f.root_id = ? AND NOT EXISTS (SELECT 1 FROM seen s WHERE s.file = f.id) ORDER BY f.path`, rootID)
}

// Sample returns up to n records of a root, any.
func (q *Queue) Sample(ctx context.Context, rootID int64, n int) iter.Seq2[*state.File, error] {
	return q.db.FilesWhere(ctx, `f.id IN (SELECT id FROM files WHERE root_id = ? ORDER BY random() LIMIT ?)`, rootID, n)
}

// FoldersToSend returns folders of the library that ready jobs of a root send files
// into, up to n.
func (q *Queue) FoldersToSend(ctx context.Context, rootID int64, n int, folderOf func(remote string) string) ([]string, error) {
	rows, err := q.db.Query(ctx, `SELECT remote_path FROM jobs WHERE root_id = ? AND state IN (0, 2) AND remote_path IS NOT NULL ORDER BY remote_path`, rootID)
	if err != nil {
		return nil, fmt.Errorf("read the queue: %w", err)
	}
	defer rows.Close()
	var folders []string
	for rows.Next() && len(folders) < n {
		var remote string
		if err := rows.Scan(&remote); err != nil {
			return nil, fmt.Errorf("read the queue: %w", err)
		}
		if folder := folderOf(remote); len(folders) == 0 || folders[len(folders)-1] != folder {
			folders = append(folders, folder)
		}
	}
	return folders, rows.Err()
}

// Suspect lets a record be compared anew: its asset is not what was recorded. The
// next scan queues its file, which is sent again. The asset must still be fileID.
func (q *Queue) Suspect(ctx context.Context, file int64, fileID string) error {
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		return tx.Exec(doubt+` WHERE id = ? AND file_id = ?`, file, fileID)
	})
	if err != nil {
		return fmt.Errorf("mark a record to be compared anew: %w", err)
	}
	return nil
}

// LostAsset removes a record whose asset is not in the library any more, if it is
// still the record of that fileId.
func (q *Queue) LostAsset(ctx context.Context, file int64, fileID string) error {
	f, err := q.db.FileByID(ctx, file)
	if err != nil || f == nil || f.FileID != fileID {
		return err
	}
	return q.Lost(ctx, file)
}
