package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iksync/state"
	"iksync/state/failpoint"
	"iksync/uploader/imagekit/names"
)

// IntentKind is what is about to be done in the library.
type IntentKind int

// The kinds of intents.
const (
	MoveFile   IntentKind = 1
	MoveFolder IntentKind = 2
	TrashFile  IntentKind = 3
	DeleteFile IntentKind = 4
	CopyFile   IntentKind = 5

	RemoveFolder IntentKind = 6
)

// Place is a path below a root.
type Place struct {
	RootID int64
	Path   string
}

// Intent is a change of the library that is written down before it is asked
// for. One that is found at the start was asked for perhaps, and is looked into
// before anything else is done with its records.
type Intent struct {
	ID       int64
	Kind     IntentKind
	File     int64  // the record; 0 for a folder
	Source   string // remote path before
	Target   string // and after; "" when it is deleted
	Job      string // ImageKit's id of a folder's job; "" before it has answered
	From, To Place  // directories of a folder
	Approved bool   // a removal that somebody asked for, so that it counts for no brake
	// Records is how many records there are below a folder that is to be moved; when
	// there are others by now it is not.
	Records int64
	// Hash is of the content that a copy is to have.
	Hash state.Hash
	// Vacant tells of a move that nobody else may have reserved its target.
	Vacant bool

	// Tries counts the attempts to find out what became of it that failed; NotBefore
	// is when the next may be made, Reason why the last failed, and Aside that no run
	// waits for it any more.
	Tries     int
	NotBefore time.Time
	Reason    string
	Aside     bool
}

// key is the key of the target.
func (i *Intent) key() string {
	if i.Kind == MoveFolder {
		return names.FolderKey(i.Target)
	}
	return names.Key(i.Target)
}

// storedKey is what is written down as the key.
func (i *Intent) storedKey() any {
	if key := i.key(); key != i.Target {
		return key
	}
	return nil
}

// ErrBusy says that a record is in use: a worker sends its file, its file is
// back, or something else is intended for it.
var ErrBusy = errors.New("the record is in use")

// Intend writes an intent down, durably. While there is one for a record nobody
// else is given a job of it.
func (q *Queue) Intend(ctx context.Context, i *Intent) error {
	all := []*Intent{i}
	if err := q.IntendAll(ctx, &all); err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("intend to change %s: %w", i.Source, ErrBusy)
	}
	return nil
}

// IntendAll is Intend for many; those of records that are in use are left out.
func (q *Queue) IntendAll(ctx context.Context, intents *[]*Intent) error {
	wanted := *intents
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		var written []*Intent
		for _, i := range wanted {
			busy, err := busy(tx, i)
			if err != nil {
				return err
			}
			if busy {
				continue
			}
			if err := insertIntent(tx, i, q.now()); err != nil {
				return err
			}
			written = append(written, i)
		}
		*intents = written
		return failpoint.Hit(failpoint.IntendCommit)
	})
	if err != nil {
		return fmt.Errorf("write down what is about to be done: %w", err)
	}
	return failpoint.Hit(failpoint.IntendAfter)
}

func insertIntent(tx *state.Tx, i *Intent, now time.Time) error {
	if i.Kind != RemoveFolder { // nothing comes to be by that
		if err := stir(tx, i.Source, i.Target); err != nil {
			return err
		}
	}
	var file any
	if i.File != 0 {
		file = i.File
	}
	return tx.QueryRow(`INSERT INTO intents (kind, file, source, target, job, from_root, from_path, to_root, to_path, approved, created_at, target_key)
		VALUES (?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?) RETURNING id`, int(i.Kind), file, i.Source, i.Target,
		i.From.RootID, []byte(i.From.Path), i.To.RootID, []byte(i.To.Path), i.Approved, now.UnixMilli(), i.storedKey()).Scan(&i.ID)
}

// busy reports whether a record may not be touched now.
func busy(tx *state.Tx, i *Intent) (bool, error) {
	var n int
	var err error
	switch i.Kind {
	case CopyFile: // of a content: the source must have it still
		err = tx.QueryRow(`SELECT NOT EXISTS (SELECT 1 FROM files f WHERE f.remote_path = ?1 AND f.hash = ?2 AND `+isSource+`)
			OR EXISTS (SELECT 1 FROM intents i WHERE i.kind = 5 AND i.source = ?1)`, i.Source, i.Hash[:]).Scan(&n)
	case RemoveFolder:
		recorded, busy, err := occupied(tx, i.Source, 0)
		return recorded || busy, err
	case MoveFolder:
		for _, folder := range []string{i.Source, i.Target} {
			err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM intents i WHERE i.kind <> 5 AND `+overlaps+`)`, folder, folder+"/", folder+"0").Scan(&n)
			if err != nil || n != 0 {
				return true, err
			}
		}
		// Jobs of its files that a worker has by now, or that may be sent there by another
		// form of its name.
		err = tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM jobs j WHERE (j.leased <> 0 OR j.unsure <> 0) AND (j.remote_path > ?1 AND j.remote_path < ?2 OR ?3 <> '/' AND j.remote_path > ?3 AND j.remote_path < ?4
				OR j.remote_path > ?8 AND j.remote_path < ?9 OR j.remote_key > ?8 AND j.remote_key < ?9
				OR ?3 <> '/' AND j.remote_path > ?6 AND j.remote_path < ?7 OR ?3 <> '/' AND j.remote_key > ?6 AND j.remote_key < ?7))
			OR ?3 <> '/' AND EXISTS (SELECT 1 FROM files f WHERE f.remote_path > ?3 AND f.remote_path < ?4)
			OR ?3 <> '/' AND EXISTS (SELECT 1 FROM files f WHERE f.remote_path > ?6 AND f.remote_path < ?7 AND NOT (f.remote_path > ?1 AND f.remote_path < ?2))
			OR ?3 <> '/' AND EXISTS (SELECT 1 FROM files f WHERE f.remote_key > ?6 AND f.remote_key < ?7 AND NOT (f.remote_path > ?1 AND f.remote_path < ?2))
			OR ?5 > 0 AND ?5 <> (SELECT count(*) FROM files f WHERE f.remote_path > ?1 AND f.remote_path < ?2)`,
			i.Source+"/", i.Source+"0", i.Target+"/", i.Target+"0", i.Records, i.key()+"/", i.key()+"0",
			names.FolderKey(i.Source)+"/", names.FolderKey(i.Source)+"0").Scan(&n)
	case MoveFile:
		err = tx.QueryRow(`SELECT NOT EXISTS (SELECT 1 FROM files f WHERE f.id = ?1 AND f.remote_path = ?2)
			OR EXISTS (SELECT 1 FROM intents i WHERE i.file = ?1)
			OR EXISTS (SELECT 1 FROM files f JOIN jobs j ON j.root_id = f.root_id AND j.path = f.path WHERE f.id = ?1 AND j.leased <> 0)
			OR EXISTS (SELECT 1 FROM jobs j WHERE (j.remote_path IN (?3, ?4) OR j.remote_key = ?4) AND j.leased <> 0)
			OR ?5 AND EXISTS (SELECT 1 FROM jobs j JOIN files f ON f.id = ?1 WHERE (j.remote_path IN (?3, ?4) OR j.remote_key = ?4) AND NOT (j.root_id = f.root_id AND j.path = f.path))
			OR EXISTS (SELECT 1 FROM files f WHERE (f.remote_path IN (?3, ?4) OR f.remote_key = ?4) AND f.id <> ?1)
			OR EXISTS (SELECT 1 FROM intents i WHERE coalesce(i.target_key, i.target) = ?4 AND i.kind NOT IN (2, 6) OR i.kind IN (2, 6) AND (?2 > i.source || '/' AND ?2 < i.source || '0' OR ?3 > i.source || '/' AND ?3 < i.source || '0'
				OR i.target <> '' AND (?2 > i.target || '/' AND ?2 < i.target || '0' OR ?3 > i.target || '/' AND ?3 < i.target || '0')))`,
			i.File, i.Source, i.Target, i.key(), i.Vacant).Scan(&n)
	default:
		err = tx.QueryRow(`SELECT NOT EXISTS (SELECT 1 FROM files f WHERE f.id = ?1 AND f.absent <> 0 AND f.kept = 0)
			OR EXISTS (SELECT 1 FROM intents i WHERE i.file = ?1)
			OR EXISTS (SELECT 1 FROM jobs j WHERE j.donor = ?1)
			OR EXISTS (SELECT 1 FROM files f JOIN intents i ON i.kind IN (2, 6) AND (f.remote_path > i.source || '/' AND f.remote_path < i.source || '0'
				OR i.target <> '' AND f.remote_path > i.target || '/' AND f.remote_path < i.target || '0') WHERE f.id = ?1)
			OR EXISTS (SELECT 1 FROM files f JOIN jobs j ON j.root_id = f.root_id AND j.path = f.path WHERE f.id = ?1)`, i.File).Scan(&n)
	}
	if err != nil {
		return false, fmt.Errorf("look whether %s is in use: %w", i.Source, err)
	}
	return n != 0, nil
}

// Intents returns what was intended and has no outcome yet, the oldest first.
func (q *Queue) Intents(ctx context.Context) ([]Intent, error) {
	rows, err := q.db.Query(ctx, `SELECT id, kind, coalesce(file, 0), source, target, job, from_root, from_path, to_root, to_path, approved, tries, not_before, reason, aside FROM intents ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read what was intended: %w", err)
	}
	defer rows.Close()
	var all []Intent
	for rows.Next() {
		var i Intent
		var notBefore int64
		if err := rows.Scan(&i.ID, &i.Kind, &i.File, &i.Source, &i.Target, &i.Job, &i.From.RootID, &i.From.Path, &i.To.RootID, &i.To.Path, &i.Approved, &i.Tries, &notBefore, &i.Reason, &i.Aside); err != nil {
			return nil, fmt.Errorf("read what was intended: %w", err)
		}
		if notBefore > 0 {
			i.NotBefore = time.UnixMilli(notBefore)
		}
		all = append(all, i)
	}
	return all, rows.Err()
}

// PutOffIntent notes that it could not be found out what became of an intent, and when
// it is tried again. One that is set aside keeps out its record, its source and its
// target, and holds up nothing else.
func (q *Queue) PutOffIntent(ctx context.Context, i *Intent, reason string, until time.Time, aside bool) error {
	i.Tries, i.Reason, i.NotBefore, i.Aside = i.Tries+1, reason, until, i.Aside || aside
	return q.settle(ctx, i, func(tx *state.Tx) error {
		return tx.Exec(`UPDATE intents SET tries = ?, not_before = ?, reason = ?, aside = ? WHERE id = ?`, i.Tries, until.UnixMilli(), reason, i.Aside, i.ID)
	})
}

// unresolved is the condition for an intent that keeps a remote path out, since it could
// not be found out what became of it. The path is that of a job j, of a record f, or of
// a record d.
const (
	unresolvedJ = `EXISTS (SELECT 1 FROM intents i WHERE i.tries > 0 AND (i.kind NOT IN (2, 6) AND (j.remote_path = i.target OR i.kind <> 5 AND j.remote_path = i.source)
		OR i.kind IN (2, 6) AND (j.remote_path > i.source || '/' AND j.remote_path < i.source || '0' OR i.target <> '' AND j.remote_path > i.target || '/' AND j.remote_path < i.target || '0')))`
	unresolvedF = `EXISTS (SELECT 1 FROM intents i WHERE i.tries > 0 AND (i.file = f.id OR i.kind NOT IN (2, 6) AND f.remote_path = i.target
		OR i.kind IN (2, 6) AND (f.remote_path > i.source || '/' AND f.remote_path < i.source || '0' OR i.target <> '' AND f.remote_path > i.target || '/' AND f.remote_path < i.target || '0')))`
)

// NoteJob notes ImageKit's id of the job that does what was intended.
func (q *Queue) NoteJob(ctx context.Context, i *Intent, job string) error {
	i.Job = job
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.NoteJobCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE intents SET job = ? WHERE id = ?`, job, i.ID)
	})
}

// Forget removes an intent that came to nothing: the library is as it was.
func (q *Queue) Forget(ctx context.Context, i *Intent) error {
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.ForgetCommit); err != nil {
			return err
		}
		return dropIntent(tx, i)
	})
}

func dropIntent(tx *state.Tx, i *Intent) error {
	return tx.Exec(`DELETE FROM intents WHERE id = ?`, i.ID)
}

// settle records the outcome of an intent, and lets jobs that waited for it go on.
func (q *Queue) settle(ctx context.Context, i *Intent, fn func(tx *state.Tx) error) error {
	if err := q.db.Write(ctx, state.Durable, fn); err != nil {
		return fmt.Errorf("record what became of %s: %w", i.Source, err)
	}
	q.notify()
	return failpoint.Hit(failpoint.SettleAfter)
}

// Location is where an asset is by ImageKit's own account.
type Location struct {
	FileID       string
	VersionID    string
	Name         string
	RemotePath   string
	URL          string
	ThumbnailURL string
	Response     []byte // the whole answer, JSON
}

// Placed records where an asset is by now, and removes the intent.
func (q *Queue) Placed(ctx context.Context, i *Intent, at *Location) error {
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := tx.Exec(`UPDATE files SET astray = 1 WHERE id = ? AND remote_path <> ?`, i.File, at.RemotePath); err != nil {
			return err
		}
		if err := place(tx, i.File, at); err != nil {
			return err
		}
		if err := failpoint.Hit(failpoint.PlacedCommit); err != nil {
			return err
		}
		return dropIntent(tx, i)
	})
}

// Astray returns a record whose asset is not where its path has it and which is not
// about to be moved with its file; nil when there is none.
func (q *Queue) Astray(ctx context.Context, roots []int64) (f *state.File, err error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return nil, err
	}
	err = q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		f = nil
		files, err := tx.FilesWhere(`f.astray <> 0 AND +f.root_id IN (SELECT value FROM json_each(?)) AND NOT `+unresolvedF+`
			AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.donor = f.id) ORDER BY f.id LIMIT 1`, string(ids))
		if len(files) > 0 {
			f = files[0]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for assets that are astray: %w", err)
	}
	return f, nil
}

// IsAstray reports whether a record's asset is not where its path has it.
func (q *Queue) IsAstray(ctx context.Context, f *state.File) (bool, error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE id = ? AND astray <> 0)`, f.ID)
}

// Settled notes that a record's asset stays where it is: it is astray no more.
func (q *Queue) Settled(ctx context.Context, f *state.File) error {
	err := q.db.Write(ctx, state.Relaxed, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.SettledCommit); err != nil {
			return err
		}
		return tx.Exec(`UPDATE files SET astray = 0 WHERE id = ?`, f.ID)
	})
	if err != nil {
		return fmt.Errorf("note that the asset of %q is in its place: %w", f.Path, err)
	}
	q.notify()
	return nil
}

// Locate records where a record's asset is by now.
func (q *Queue) Locate(ctx context.Context, file int64, at *Location) error {
	return q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.LocateCommit); err != nil {
			return err
		}
		return place(tx, file, at)
	})
}

func place(tx *state.Tx, file int64, at *Location) error {
	var other int64
	err := tx.QueryRow(`SELECT coalesce((SELECT id FROM files WHERE remote_path = ? AND id <> ?), 0)`, at.RemotePath, file).Scan(&other)
	if err == nil && other != 0 {
		return fmt.Errorf("record that the asset is at %s: %w another record", at.RemotePath, state.ErrRemoteTaken)
	}
	if err == nil {
		err = relocate(tx, file, at)
	}
	if err != nil {
		return fmt.Errorf("record that the asset is at %s: %w", at.RemotePath, err)
	}
	return nil
}

// relocate records what an asset is by now; a record that is not there is none's.
func relocate(tx *state.Tx, file int64, at *Location) error {
	f, err := tx.FileByID(file)
	if err != nil || f == nil {
		return err
	}
	f.FileID, f.VersionID, f.Name, f.RemotePath, f.URL = at.FileID, at.VersionID, at.Name, at.RemotePath, at.URL
	if at.ThumbnailURL != "" {
		f.ThumbnailURL = at.ThumbnailURL
	}
	if len(at.Response) > 0 {
		f.Response = at.Response
	}
	return tx.PutAsset(f)
}

// Lost removes a record whose asset is not in the library any more: its file,
// where there is one, is uploaded again.
func (q *Queue) Lost(ctx context.Context, file int64) error {
	err := q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.LostCommit); err != nil {
			return err
		}
		return dropRecord(tx, file)
	})
	if err != nil {
		return fmt.Errorf("remove a record: %w", err)
	}
	q.notify()
	return nil
}

// dropRecord removes a record, and its intent with it. Jobs that are moves of its file
// are uploads then.
func dropRecord(tx *state.Tx, file int64) error {
	if err := tx.Exec(`UPDATE jobs SET move = 0, donor = NULL WHERE donor = ?`, file); err != nil {
		return err
	}
	return tx.Exec(`DELETE FROM files WHERE id = ?`, file)
}

// keepRemoved is for how long it is known what was removed.
const keepRemoved = 2 * 365 * 24 * time.Hour

// Removed records that a file was taken out of the library, or into the trash
// (at is then where it is), and ends its record.
func (q *Queue) Removed(ctx context.Context, i *Intent, at string) error {
	return q.settle(ctx, i, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.RemovedCommit); err != nil {
			return err
		}
		err := tx.Exec(`INSERT INTO removed (root_id, path, file_id, remote_path, trash_path, size, hash, approved, removed_at)
			SELECT root_id, path, file_id, remote_path, ?2, size, hash, ?3, ?4 FROM files WHERE id = ?1`, i.File, at, i.Approved, q.now().UnixMilli())
		if err == nil && i.Kind == DeleteFile {
			err = emptied(tx, i.Source)
		}
		if err == nil { // two for one, so that the table does not grow for ever
			err = tx.Exec(`DELETE FROM removed WHERE id IN (SELECT id FROM (SELECT id, removed_at FROM removed ORDER BY id LIMIT 2) WHERE removed_at < ?)`, q.now().Add(-keepRemoved).UnixMilli())
		}
		if err == nil {
			err = q.requeue(tx, i.File)
		}
		if err == nil {
			err = dropRecord(tx, i.File)
		}
		return errors.Join(err, dropIntent(tx, i))
	})
}

// requeue makes an upload of the file of a record that is about to end, if it is
// back by now.
func (q *Queue) requeue(tx *state.Tx, file int64) error {
	f, err := tx.FileByID(file)
	if err != nil || f == nil || f.Absent != state.Present {
		return err
	}
	remote, err := q.freeRemote(tx, f.RootID, f.Path, f.RemotePath)
	if err != nil {
		return err
	}
	return tx.Exec(`INSERT INTO jobs (root_id, path, gen, state, leased, priority, not_before, attempts,
			size, mtime_ns, ctime_ns, dev, ino, remote_path, class, reason, request_id, created_at, updated_at, mount, remote_key)
		SELECT root_id, path, 1, 0, 0, 0, 0, 0, size, mtime_ns, ctime_ns, dev, ino, ?3, '', '', '', ?2, ?2, mount, ?4 FROM files WHERE id = ?1
		ON CONFLICT (root_id, path) DO NOTHING`, file, q.now().UnixMilli(), remote, keyOf(remote))
}

// HasMoves reports whether there are moves of the roots to do, assets that are
// astray, or intents to look into. What waits for an intent that was set aside does not
// count, nor does such an intent once this process has looked into it.
func (q *Queue) HasMoves(ctx context.Context, roots []int64) (has bool, err error) {
	ids, err := json.Marshal(roots)
	if err != nil {
		return false, err
	}
	var aside bool
	if aside, err = q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM intents WHERE aside <> 0)`); err != nil {
		return false, err
	}
	if !aside {
		return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 0 AND move <> 0 AND +root_id IN (SELECT value FROM json_each(?1)))
			OR EXISTS (SELECT 1 FROM files WHERE astray <> 0 AND +root_id IN (SELECT value FROM json_each(?1))) OR EXISTS (SELECT 1 FROM intents)
			OR EXISTS (SELECT 1 FROM roots WHERE rehome <> 0 AND id IN (SELECT value FROM json_each(?1)))`, string(ids))
	}
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM jobs j JOIN files f ON f.id = j.donor WHERE j.state = 0 AND j.move <> 0 AND +j.root_id IN (SELECT value FROM json_each(?1))
			AND NOT `+unresolvedJ+` AND NOT `+unresolvedF+`)
		OR EXISTS (SELECT 1 FROM files f WHERE f.astray <> 0 AND +f.root_id IN (SELECT value FROM json_each(?1)) AND NOT `+unresolvedF+`)
		OR EXISTS (SELECT 1 FROM intents WHERE aside = 0 OR not_before = 0)`, string(ids))
}

// HasAside reports whether there are intents that were set aside and whose time has come.
func (q *Queue) HasAside(ctx context.Context) (bool, error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM intents WHERE aside <> 0 AND not_before <= ?)`, q.now().UnixMilli())
}

// Identify records the ids that an asset has by now, of the record with a remote
// path; false when there is none.
func (q *Queue) Identify(ctx context.Context, remote string, at *Location) (found bool, err error) {
	err = q.db.Write(ctx, state.Durable, func(tx *state.Tx) error {
		if err := failpoint.Hit(failpoint.IdentifyCommit); err != nil {
			return err
		}
		files, err := tx.FilesWhere(`f.remote_path = ?`, remote)
		if found = len(files) > 0; err != nil || !found {
			return err
		}
		f, err := tx.FileByID(files[0].ID)
		if err != nil {
			return err
		}
		f.FileID, f.VersionID = at.FileID, at.VersionID
		if len(at.Response) > 0 {
			f.Response = at.Response
		}
		return tx.PutAsset(f)
	})
	return found, err
}

// Reserved reports whether a remote path is a record's or a job's, in any form.
func (q *Queue) Reserved(ctx context.Context, remote string) (is bool, err error) {
	return q.holds(ctx, `SELECT EXISTS (SELECT 1 FROM files WHERE remote_path IN (?1, ?2) OR remote_key = ?2) OR EXISTS (SELECT 1 FROM jobs WHERE remote_path IN (?1, ?2) OR remote_key = ?2)`,
		remote, names.Key(remote))
}
