package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"path"
	"time"

	"iksync/uploader/imagekit/names"
)

// Hash is the xxh3-128 of a file's content, big-endian. The zero value is a
// content that nobody has looked at: of an asset that was in the library already.
type Hash [16]byte

// IsZero reports that the content is not known.
func (h Hash) IsZero() bool { return h == Hash{} }

// File is the record of an uploaded file: what was sent and what ImageKit
// answered.
type File struct {
	ID     int64 // of the record; 0 for one that is not recorded yet
	RootID int64
	Path   string // below the root, "/" between names, bytes as on disk
	Stat   Stat   // of the content that was uploaded
	Hash   Hash
	// StoredSize is what the library has of it, in bytes, where that differs from
	// Stat.Size: transformation.pre changes what is stored. See [File.LibrarySize].
	StoredSize *int64

	FileID       string // stable across versions
	VersionID    string
	Name         string // ImageKit's name for it
	RemotePath   string // ImageKit's filePath, the truth of where it is
	URL          string
	ThumbnailURL string // "" where ImageKit gave none
	Width        int64  // pixels; 0 where ImageKit gave none
	Height       int64
	FileType     string // "image" or "non-image"
	Response     []byte // the whole answer, JSON

	UploadedAt time.Time // ms resolution
	CheckedAt  time.Time // when the content was last compared with the disk

	// WantedKey is, of an asset that has a suffix in its name because another path had the
	// name, the key of its remote path without it; else "". See package names.
	WantedKey string

	Unproven bool // adopted without comparing the bytes: the asset may have other content

	Absent   Absence
	AbsentAt time.Time // since when; valid unless Present
	Kept     bool      // absent, and the library's copy is to stay whatever the policy
}

// Proven reports whether the asset is known to have the content of the file.
func (f *File) Proven() bool { return !f.Unproven && !f.Hash.IsZero() }

// LibrarySize returns the size that the asset has, in bytes.
func (f *File) LibrarySize() int64 {
	if f.StoredSize != nil {
		return *f.StoredSize
	}
	return f.Stat.Size
}

// SetStoredSize notes the size that the asset has, in bytes.
func (f *File) SetStoredSize(size int64) {
	f.StoredSize = nil
	if size != f.Stat.Size {
		f.StoredSize = &size
	}
}

// Absence says why a recorded file is not to be found where it was.
type Absence int

// The absences.
const (
	Present  Absence = 0 // it is there
	Gone     Absence = 1 // there is no file any more
	Filtered Absence = 2 // the filters leave it out by now
)

// String names the absence as listings do.
func (a Absence) String() string {
	switch a {
	case Gone:
		return "gone"
	case Filtered:
		return "filtered"
	}
	return "present"
}

const fileColumns = `f.id, f.root_id, f.path, f.size, f.mtime_ns, f.ctime_ns, f.dev, f.ino, f.hash,
	f.file_id, f.version_id, f.name, f.remote_path, f.url, f.thumbnail_url, f.width, f.height,
	f.file_type, f.uploaded_at, f.checked_at, f.absent, f.absent_at, f.kept, f.mount, f.unproven, f.stored_size, f.wanted_key, ` + formColumns

const (
	formColumns  = `f.form, m.url_base, m.thumbnail_base, m.file_type`
	withoutBody  = `, NULL, NULL FROM files f LEFT JOIN forms m ON m.id = f.form `
	withBody     = `, r.body, m.body FROM files f LEFT JOIN forms m ON m.id = f.form LEFT JOIN responses r ON r.file_id = f.id `
	aliasesJoins = `, r.body, m.body FROM aliases a JOIN files f ON f.id = a.of LEFT JOIN forms m ON m.id = f.form LEFT JOIN responses r ON r.file_id = f.id `
)

// ownKey is what is recorded as the key of a remote path: nil for the path itself.
func ownKey(remote string) any {
	if key := names.Key(remote); key != remote {
		return key
	}
	return nil
}

// PutFile records f, replacing the record of its path. A remote path that
// belongs to another local path is an error wrapping [ErrRemoteTaken].
func (tx *Tx) PutFile(f *File) error {
	_, err := tx.putFile(putFile, f)
	return err
}

// PutPlainFile is PutFile for the usual case: no other record has the file's id, and
// there are no aliases. Else it does nothing and returns false.
func (tx *Tx) PutPlainFile(f *File) (bool, error) {
	return tx.putFile(putPlainFile, f)
}

const (
	putFile      = putFileHead + `true` + putFileTail
	putPlainFile = putFileHead + `NOT EXISTS (SELECT 1 FROM files WHERE file_id = ?9 AND NOT (root_id = ?1 AND path = ?2)) AND NOT EXISTS (SELECT 1 FROM aliases)` + putFileTail

	putFileHead = `INSERT INTO files (root_id, path, size, mtime_ns, ctime_ns, dev, ino, hash,
			file_id, version_id, name, remote_path, url, thumbnail_url, width, height,
			file_type, uploaded_at, checked_at, form, mount, unproven, remote_key, wanted_key, vacated, stored_size)
		SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?24 IS NOT NULL,?25 WHERE `
	putFileTail = ` ON CONFLICT (root_id, path) DO UPDATE SET
			size=?3, mtime_ns=?4, ctime_ns=?5, dev=?6, ino=?7, hash=?8, file_id=?9, version_id=?10,
			name=?11, remote_path=?12, url=?13, thumbnail_url=?14, width=?15, height=?16,
			file_type=?17, uploaded_at=?18, checked_at=?19, form=?20, mount=?21, unproven=?22, remote_key=?23, wanted_key=?24, vacated=?24 IS NOT NULL, stored_size=?25, absent=0, absent_at=0, kept=0`
)

// putFile records f by one of those statements; false when its condition is not met.
func (tx *Tx) putFile(statement string, f *File) (bool, error) {
	as, err := tx.store(f)
	if err != nil {
		return false, err
	}
	n, err := tx.ExecRows(statement,
		f.RootID, []byte(f.Path), f.Stat.Size, f.Stat.MtimeNs, f.Stat.CtimeNs, int64(f.Stat.Dev), int64(f.Stat.Ino), f.Hash[:],
		f.FileID, as.versionID, as.name, f.RemotePath, as.url, as.thumbnail, f.Width, f.Height,
		as.fileType, f.UploadedAt.UnixMilli(), f.CheckedAt.UnixMilli(), as.form, f.Stat.Mount, f.Unproven, ownKey(f.RemotePath), sql.NullString{String: f.WantedKey, Valid: f.WantedKey != ""}, f.StoredSize)
	if isConstraint(err) {
		if owner, lookup := tx.RemoteOwner(f.RemotePath); lookup == nil && owner != nil {
			return false, fmt.Errorf("record %q: remote path %s is taken: %w %q", f.Path, f.RemotePath, ErrRemoteTaken, owner.Path)
		}
	}
	if err != nil {
		return false, fmt.Errorf("record %q: %w", f.Path, err)
	}
	if n == 0 || as.form != nil {
		return n > 0, nil
	}
	err = tx.Exec(`INSERT INTO responses (file_id, body) SELECT id, ?3 FROM files WHERE root_id = ?1 AND path = ?2
		ON CONFLICT (file_id) DO UPDATE SET body = ?3`, f.RootID, []byte(f.Path), append([]byte{}, f.Response...))
	if err != nil {
		return false, fmt.Errorf("record the answer for %q: %w", f.Path, err)
	}
	return true, nil
}

// PutAsset records what the library has for a record that was read in this
// transaction: its ids, names, URLs and the answer that tells of them. What is known
// of the local file stays.
func (tx *Tx) PutAsset(f *File) error {
	as, err := tx.store(f)
	if err != nil {
		return err
	}
	err = tx.Exec(`UPDATE files SET file_id=?2, version_id=?3, name=?4, remote_path=?5, url=?6, thumbnail_url=?7, file_type=?8, form=?9, remote_key=?10 WHERE id=?1`,
		f.ID, f.FileID, as.versionID, as.name, f.RemotePath, as.url, as.thumbnail, as.fileType, as.form, ownKey(f.RemotePath))
	if err == nil && as.form == nil {
		err = tx.Exec(`INSERT INTO responses (file_id, body) VALUES (?1, ?2) ON CONFLICT (file_id) DO UPDATE SET body = ?2`, f.ID, append([]byte{}, f.Response...))
	}
	if err != nil {
		return fmt.Errorf("record the asset of %q: %w", f.Path, err)
	}
	return nil
}

// MoveAsset records that the asset of a record is at
// another remote path by now, with the URLs that follow from it. The answer tells of
// the new ones, too.
func (tx *Tx) MoveAsset(f *File, remote, url, thumbnail string) error {
	// What follows from a form and the new path is left to them.
	err := tx.Exec(`UPDATE files SET remote_path = ?2, remote_key = ?6, name = iif(form IS NULL, ?5, ''),
			url           = iif(?3 IS (SELECT url_base || ?2 FROM forms WHERE id = form), '', ?3),
			thumbnail_url = iif(?4 IS (SELECT thumbnail_base || ?2 FROM forms WHERE id = form), '', ?4)
		WHERE id = ?1`, f.ID, remote, url, thumbnail, path.Base(remote), ownKey(remote))
	if err == nil { // without a form there is an answer of its own
		err = tx.Exec(`UPDATE responses SET body = CAST(json_replace(CAST(body AS TEXT), '$.filePath', ?2, '$.name', ?4, '$.url', ?3, '$.thumbnailUrl', ?5, '$.thumbnail', ?5) AS BLOB) WHERE file_id = ?1 AND json_valid(CAST(body AS TEXT))`,
			f.ID, remote, url, path.Base(remote), thumbnail)
	}
	return err
}

// ErrRemoteTaken says that a remote path is recorded for another local path.
var ErrRemoteTaken = errors.New("it belongs to")

// Owner names the local path that a remote path is recorded for.
type Owner struct {
	RootID int64
	Path   string
}

// RemoteOwner returns whose record has the remote path; nil when it is nobody's.
func (tx *Tx) RemoteOwner(remotePath string) (*Owner, error) {
	var o Owner
	var path []byte
	err := tx.QueryRow(`SELECT root_id, path FROM files WHERE remote_path = ?`, remotePath).Scan(&o.RootID, &path)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up remote path %q: %w", remotePath, err)
	}
	o.Path = string(path)
	return &o, nil
}

// TouchFile notes that the content of a recorded file is unchanged although
// its stat differs: the record takes the new stat.
func (tx *Tx) TouchFile(rootID int64, path string, st Stat, now time.Time) error {
	err := tx.Exec(`UPDATE files SET size=?3, mtime_ns=?4, ctime_ns=?5, dev=?6, ino=?7, checked_at=?8, mount=?9, absent=0, absent_at=0, kept=0 WHERE root_id=?1 AND path=?2`,
		rootID, []byte(path), st.Size, st.MtimeNs, st.CtimeNs, int64(st.Dev), int64(st.Ino), now.UnixMilli(), st.Mount)
	if err != nil {
		return fmt.Errorf("record the new stat of %q: %w", path, err)
	}
	return nil
}

// Files returns the records of a root in the order of their paths' bytes,
// without their responses unless asked for. A root of 0 is every root.
// The sequence ends after the first error.
func (db *DB) Files(ctx context.Context, rootID int64, responses bool) iter.Seq2[*File, error] {
	from := withoutBody
	if responses {
		from = withBody
	}
	return db.files(ctx, `SELECT `+fileColumns+from+`WHERE ?1 IN (0, f.root_id) ORDER BY f.root_id, f.path`, rootID)
}

func (db *DB) files(ctx context.Context, query string, args ...any) iter.Seq2[*File, error] {
	return func(yield func(*File, error) bool) {
		rows, err := db.Query(ctx, query, args...)
		if err != nil {
			yield(nil, db.unread(err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			f, err := scanFile(rows)
			if err != nil {
				yield(nil, db.unread(err))
				return
			}
			if !yield(f, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, db.unread(err))
		}
	}
}

// unread tells a damaged file from one that can't be read.
func (db *DB) unread(err error) error {
	if notADatabase(err) {
		err = describeOpen(context.Background(), db.read, db.path, err)
	}
	return fmt.Errorf("read the records: %w", err)
}

// FileAt returns the record of a path with its response; nil when there is none.
func (db *DB) FileAt(ctx context.Context, rootID int64, path string) (*File, error) {
	rows, err := db.Query(ctx, oneFile+`f.root_id = ? AND f.path = ?`, rootID, []byte(path))
	return single(rows, err, path)
}

// FileByID returns a record with its response; nil when there is none.
func (db *DB) FileByID(ctx context.Context, id int64) (*File, error) {
	rows, err := db.Query(ctx, oneFile+`f.id = ?`, id)
	return single(rows, err, fmt.Sprint("record ", id))
}

// FileAt is [DB.FileAt] inside a transaction.
func (tx *Tx) FileAt(rootID int64, path string) (*File, error) {
	rows, err := tx.Query(oneFile+`f.root_id = ? AND f.path = ?`, rootID, []byte(path))
	return single(rows, err, path)
}

// FileByID is [DB.FileByID] inside a transaction.
func (tx *Tx) FileByID(id int64) (*File, error) {
	rows, err := tx.Query(oneFile+`f.id = ?`, id)
	return single(rows, err, fmt.Sprint("record ", id))
}

// Aliases returns, as records, the files of a root (0 is every) whose content
// another file's asset has: with their own local path and that asset's fileId
// and path. They are in the order of their paths' bytes. The sequence ends
// after the first error.
func (db *DB) Aliases(ctx context.Context, rootID int64) iter.Seq2[*File, error] {
	return db.files(ctx, `SELECT f.id, a.root_id, a.path, a.size, a.mtime_ns, a.ctime_ns, a.dev, a.ino, a.hash,
		f.file_id, f.version_id, f.name, f.remote_path, f.url, f.thumbnail_url, f.width, f.height,
		f.file_type, f.uploaded_at, f.checked_at, 0, 0, 0, a.mount, 0, f.stored_size, NULL, `+formColumns+aliasesJoins+`
		WHERE ?1 IN (0, a.root_id) ORDER BY a.root_id, a.path`, rootID)
}

// FilesBelow returns the records below a directory of a root, in the order of
// their paths' bytes, without their responses. The sequence ends after the first
// error.
func (db *DB) FilesBelow(ctx context.Context, rootID int64, dir string) iter.Seq2[*File, error] {
	return db.files(ctx, `SELECT `+fileColumns+withoutBody+`WHERE f.root_id = ? AND f.path > ? AND f.path < ? ORDER BY f.path`,
		rootID, []byte(dir+"/"), []byte(dir+"0"))
}

// RemoteOwner is [Tx.RemoteOwner] outside of a transaction.
func (db *DB) RemoteOwner(ctx context.Context, remotePath string) (*File, error) {
	rows, err := db.Query(ctx, oneFile+`f.remote_path = ?`, remotePath)
	return single(rows, err, remotePath)
}

// KeyOwner returns the record, but for one, whose remote path has the key of another
// remote path: in some library the two are one. nil is that there is none; of several it is
// the one at just that path.
func (db *DB) KeyOwner(ctx context.Context, remotePath string, but int64) (*File, error) {
	rows, err := db.Query(ctx, oneFile+`(f.remote_path IN (?1, ?2) OR f.remote_key = ?2) AND f.id <> ?3 ORDER BY f.remote_path = ?1 DESC LIMIT 1`,
		remotePath, names.Key(remotePath), but)
	return single(rows, err, remotePath)
}

// FilesWhere returns the records for which a condition of SQL holds ("f" is the
// record), without their responses. The sequence ends after the first error.
func (db *DB) FilesWhere(ctx context.Context, condition string, args ...any) iter.Seq2[*File, error] {
	return db.files(ctx, `SELECT `+fileColumns+withoutBody+`WHERE `+condition, args...)
}

// FileByAsset returns the record of a fileId, nil when there is none; of several
// any.
func (db *DB) FileByAsset(ctx context.Context, fileID string) (*File, error) {
	rows, err := db.Query(ctx, oneFile+`f.file_id = ? LIMIT 1`, fileID)
	return single(rows, err, fileID)
}

// FilesWhere is [DB.FilesWhere] inside a transaction; the condition must be a
// constant, as all texts of statements.
func (tx *Tx) FilesWhere(condition string, args ...any) ([]*File, error) {
	rows, err := tx.Query(`SELECT `+fileColumns+withoutBody+`WHERE `+condition, args...)
	if err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	defer rows.Close()
	var files []*File
	for rows.Next() {
		f, err := scanFile(rows)
		if err != nil {
			return nil, fmt.Errorf("read the records: %w", err)
		}
		files = append(files, f)
	}
	return files, rows.Err()
}

const oneFile = `SELECT ` + fileColumns + withBody + `WHERE `

// single reads the one row of a query, which it closes.
func single(rows *sql.Rows, err error, what string) (*File, error) {
	if err != nil {
		return nil, fmt.Errorf("read the record of %q: %w", what, err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	f, err := scanFile(rows)
	if err != nil {
		return nil, fmt.Errorf("read the record of %q: %w", what, err)
	}
	return f, nil
}

func scanFile(rows *sql.Rows) (*File, error) {
	var f File
	var path, hash []byte
	var dev, ino, uploaded, checked, absentAt int64
	var formID sql.NullInt64
	var wanted, urlBase, thumbnailBase, fileType, body sql.NullString
	err := rows.Scan(&f.ID, &f.RootID, &path, &f.Stat.Size, &f.Stat.MtimeNs, &f.Stat.CtimeNs, &dev, &ino, &hash,
		&f.FileID, &f.VersionID, &f.Name, &f.RemotePath, &f.URL, &f.ThumbnailURL, &f.Width, &f.Height,
		&f.FileType, &uploaded, &checked, &f.Absent, &absentAt, &f.Kept, &f.Stat.Mount, &f.Unproven, &f.StoredSize, &wanted,
		&formID, &urlBase, &thumbnailBase, &fileType, &f.Response, &body)
	if err != nil {
		return nil, fmt.Errorf("the record of %q can't be read: %w", path, err)
	}
	if len(hash) != len(f.Hash) {
		return nil, fmt.Errorf("the record of %q has a hash of %d bytes, not %d", path, len(hash), len(f.Hash))
	}
	if formID.Valid && !urlBase.Valid {
		return nil, fmt.Errorf("the record of %q is of form %d, which is no forms.id", path, formID.Int64)
	}
	copy(f.Hash[:], hash)
	f.Path, f.WantedKey = string(path), wanted.String
	if formID.Valid {
		m := form{urlBase: urlBase.String, thumbnailBase: thumbnailBase.String, thumbnail: thumbnailBase.Valid, fileType: fileType.String, body: body.String}
		m.derive(&f)
		if body.Valid {
			f.Response = m.fill(nil, &f)
		}
	}
	f.Stat.Dev, f.Stat.Ino = uint64(dev), uint64(ino)
	f.UploadedAt, f.CheckedAt = time.UnixMilli(uploaded), time.UnixMilli(checked)
	if f.Absent != Present {
		f.AbsentAt = time.UnixMilli(absentAt)
	}
	return &f, nil
}
