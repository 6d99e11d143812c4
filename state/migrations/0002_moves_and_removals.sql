-- The directory as it was at the last complete scan: deletes are inferred from no other.
ALTER TABLE roots ADD COLUMN identity    BLOB;                       -- file system and inode; NULL before the first, '' for whatever comes next
ALTER TABLE roots ADD COLUMN scanned_at  INTEGER NOT NULL DEFAULT 0; -- when that scan began
ALTER TABLE roots ADD COLUMN stranger    INTEGER NOT NULL DEFAULT 0; -- 1: a complete scan has found another directory in its place
ALTER TABLE roots ADD COLUMN braked      TEXT    NOT NULL DEFAULT ''; -- why nothing of it is deleted in the library
ALTER TABLE roots ADD COLUMN approved_at INTEGER NOT NULL DEFAULT 0; -- what was absent by then may be deleted, however much it is

-- A record whose local file is not there, or not wanted, any more.
ALTER TABLE files ADD COLUMN absent    INTEGER NOT NULL DEFAULT 0; -- 0 there, 1 gone, 2 left out by the filters
ALTER TABLE files ADD COLUMN absent_at INTEGER NOT NULL DEFAULT 0; -- since when
ALTER TABLE files ADD COLUMN kept      INTEGER NOT NULL DEFAULT 0; -- 1: told to keep the library's copy all the same
CREATE INDEX files_absent ON files (root_id, absent_at) WHERE absent <> 0;

-- The asset is not where the file's path has it: on its way, or left there by a move that came to nothing.
ALTER TABLE files ADD COLUMN astray    INTEGER NOT NULL DEFAULT 0;
CREATE INDEX files_astray ON files (id) WHERE astray <> 0;

CREATE INDEX files_file_id ON files (file_id);

-- Finds the record of a file that is under another name by now.
CREATE INDEX files_identity ON files (mtime_ns, size);

-- The library may hold what was sent of a job without an answer.
ALTER TABLE jobs ADD COLUMN unsure INTEGER NOT NULL DEFAULT 0; -- 0 no; else unix ms before which nothing was sent, negative when the file has changed since

-- A job may be a move: its file is that of another path's record, the donor.
ALTER TABLE jobs ADD COLUMN donor INTEGER;                    -- files.id
ALTER TABLE jobs ADD COLUMN move  INTEGER NOT NULL DEFAULT 0; -- 0 none, 1 perhaps of a whole directory, 2 of one file
DROP INDEX jobs_ready;
CREATE INDEX jobs_ready     ON jobs (priority DESC, not_before, id) WHERE state = 0 AND move = 0;
CREATE INDEX jobs_moves     ON jobs (move, not_before, id) WHERE state = 0 AND move <> 0;
CREATE INDEX jobs_undecided ON jobs (root_id, path) WHERE move = 1;
CREATE INDEX jobs_donor     ON jobs (donor) WHERE donor IS NOT NULL;

-- What is about to be changed in the library: written before the call, removed
-- with its outcome. One that is found at the start is looked into first.
CREATE TABLE intents (
    id         INTEGER PRIMARY KEY,
    kind       INTEGER NOT NULL, -- 1 move a file, 2 move a folder, 3 move a file to the trash, 4 delete a file, 5 copy a file, 6 remove a folder
    file       INTEGER REFERENCES files (id) ON DELETE CASCADE, -- NULL for a folder and for a copy
    source     TEXT    NOT NULL, -- remote path before
    target     TEXT    NOT NULL, -- and after; "" for a delete
    job        TEXT    NOT NULL, -- ImageKit's id of a folder's job; "" before it has answered
    from_root  INTEGER NOT NULL, -- local directory of a folder, before and after; 0 for a file
    from_path  BLOB    NOT NULL,
    to_root    INTEGER NOT NULL,
    to_path    BLOB    NOT NULL,
    approved   INTEGER NOT NULL, -- 1: of a removal that was asked for
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX intents_file ON intents (file) WHERE file IS NOT NULL;

-- What iksync has taken out of the library, or into its trash.
CREATE TABLE removed (
    id          INTEGER PRIMARY KEY,
    root_id     INTEGER NOT NULL REFERENCES roots (id),
    path        BLOB    NOT NULL,
    file_id     TEXT    NOT NULL,
    remote_path TEXT    NOT NULL, -- where it was
    trash_path  TEXT    NOT NULL, -- where it is in the trash; "" when it was deleted
    size        INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    approved    INTEGER NOT NULL, -- 1: asked for with approve, so it counts for no brake
    removed_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX removed_root ON removed (root_id, removed_at);

-- Folders of the library that iksync has sent files into.
CREATE TABLE folders (
    path TEXT    PRIMARY KEY,
    made INTEGER NOT NULL -- 1: it was not there before
) STRICT;

-- Files whose content another file's asset has, where the root is configured to
-- upload each content once.
CREATE TABLE aliases (
    id          INTEGER PRIMARY KEY,
    root_id     INTEGER NOT NULL REFERENCES roots (id),
    path        BLOB    NOT NULL,
    of          INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    size        INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    dev         INTEGER NOT NULL,
    ino         INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    remote_path TEXT    NOT NULL, -- where it would go
    UNIQUE (root_id, path)
) STRICT;
CREATE INDEX aliases_of ON aliases (of);

-- A listing of the library that is going on, so that it can go on after a break.
CREATE TABLE survey (
    root_id INTEGER NOT NULL REFERENCES roots (id),
    folder  TEXT    NOT NULL,
    listed  INTEGER NOT NULL, -- 1: it has been
    PRIMARY KEY (root_id, folder)
) STRICT;
-- Records whose assets a listing has shown.
CREATE TABLE seen (file INTEGER PRIMARY KEY) STRICT;
