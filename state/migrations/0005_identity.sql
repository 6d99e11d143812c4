-- What metadata proves of a file. On a file system whose inode numbers or change times
-- prove nothing, a record holds the mount in which its content was last read.
CREATE TABLE mounts (
    id  INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE -- boot, mount and device
) STRICT;
ALTER TABLE files   ADD COLUMN mount INTEGER NOT NULL DEFAULT 0; -- mounts.id; 0 where the file system proves identity
ALTER TABLE jobs    ADD COLUMN mount INTEGER NOT NULL DEFAULT 0;
ALTER TABLE aliases ADD COLUMN mount INTEGER NOT NULL DEFAULT 0;
-- When the file was seen as the job has it: ms of the clock that only runs forward (CLOCK_BOOTTIME); 0 when that is not known.
ALTER TABLE jobs ADD COLUMN seen_at INTEGER NOT NULL DEFAULT 0;

-- A record that was adopted without comparing the bytes: its asset may have other content.
ALTER TABLE files ADD COLUMN unproven INTEGER NOT NULL DEFAULT 0;
UPDATE files SET unproven = 1 WHERE hash = zeroblob(16) AND mtime_ns <> -9223372036854775807 - 1;
CREATE INDEX files_unproven ON files (root_id) WHERE unproven <> 0;

-- How far the pass has come that reads every file of a root again.
CREATE TABLE rehash (
    root_id  INTEGER PRIMARY KEY REFERENCES roots (id),
    after    BLOB    NOT NULL, -- files up to this path have been read
    began_at INTEGER NOT NULL,
    read     INTEGER NOT NULL, -- files that were read, by this pass
    ended_at INTEGER           -- NULL while it goes on
) STRICT;
