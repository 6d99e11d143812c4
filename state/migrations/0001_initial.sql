-- A root is a local directory that is mirrored into a remote folder.
CREATE TABLE roots (
    id         INTEGER PRIMARY KEY,
    path       BLOB    NOT NULL UNIQUE, -- absolute, bytes as on disk
    folder     TEXT    NOT NULL,        -- remote folder, "/photos"
    created_at INTEGER NOT NULL         -- unix ms, as all *_at columns
) STRICT;

-- What the library holds for a local file: one row per uploaded path.
CREATE TABLE files (
    id            INTEGER PRIMARY KEY,
    root_id       INTEGER NOT NULL REFERENCES roots (id),
    path          BLOB    NOT NULL,     -- below the root, "/" between names, bytes as on disk
    size          INTEGER NOT NULL,     -- bytes; this and the next four as seen on the uploaded content
    mtime_ns      INTEGER NOT NULL,
    ctime_ns      INTEGER NOT NULL,
    dev           INTEGER NOT NULL,
    ino           INTEGER NOT NULL,
    hash          BLOB    NOT NULL,     -- xxh3-128 of the content, big-endian
    file_id       TEXT    NOT NULL,
    version_id    TEXT    NOT NULL,
    name          TEXT    NOT NULL,     -- the last part of remote_path, as ImageKit answered it
    remote_path   TEXT    NOT NULL UNIQUE,
    url           TEXT    NOT NULL,
    thumbnail_url TEXT    NOT NULL,
    width         INTEGER NOT NULL,     -- pixels; 0 where ImageKit gave none
    height        INTEGER NOT NULL,
    file_type     TEXT    NOT NULL,     -- "image" or "non-image"
    uploaded_at   INTEGER NOT NULL,
    checked_at    INTEGER NOT NULL,     -- content last compared with the disk
    UNIQUE (root_id, path)
) STRICT;

-- The whole answer to the upload, apart so that a scan over files stays small.
CREATE TABLE responses (
    file_id INTEGER PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    body    BLOB NOT NULL
) STRICT;

-- The queue: at most one job per path. A path without a job is in step.
CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: a late worker must not meet another's job
    root_id     INTEGER NOT NULL REFERENCES roots (id),
    path        BLOB    NOT NULL,
    gen         INTEGER NOT NULL,       -- counts the changes seen; a job is done only at the generation it was claimed
    state       INTEGER NOT NULL,       -- 0 ready, 2 failed, 3 held
    leased      INTEGER NOT NULL,       -- the claim's token while a worker has it, else 0; it is ready again when not_before comes
    priority    INTEGER NOT NULL,       -- higher first
    not_before  INTEGER NOT NULL,       -- unix ms; a ready job is claimed from then on, a leased one when its lease ends
    attempts    INTEGER NOT NULL,
    size        INTEGER NOT NULL,       -- the file as it was seen when the job was made
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    dev         INTEGER NOT NULL,
    ino         INTEGER NOT NULL,
    remote_path TEXT    UNIQUE,         -- where it will go; NULL for a held job that has no remote path
    class       TEXT    NOT NULL,       -- of the last error, or of the reason that holds the job
    reason      TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,       -- ImageKit's, of the last error
    accepted    BLOB,                   -- hash of a content that ImageKit accepted without naming a fileId yet
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (root_id, path)
) STRICT;

-- One row, changed by commits that must reach the disk whatever else they change.
CREATE TABLE syncs (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    n  INTEGER NOT NULL
) STRICT;
INSERT INTO syncs VALUES (1, 0);

CREATE INDEX jobs_ready ON jobs (priority DESC, not_before, id) WHERE state = 0;
