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

-- Folders that iksync made and whose files it has deleted: one is removed only after
-- nothing of iksync's has happened below it for some minutes. The time is added up from
-- look to look, so neither a clock that is set nor a restart shortens it.
ALTER TABLE folders ADD COLUMN emptied   INTEGER NOT NULL DEFAULT 0;  -- 1: a file below it was deleted in the library since
ALTER TABLE folders ADD COLUMN quiet_ms  INTEGER NOT NULL DEFAULT 0;  -- how long it was observed to be quiet
ALTER TABLE folders ADD COLUMN look_boot TEXT    NOT NULL DEFAULT ''; -- of the last look that found it quiet: of which start of the machine its clock is; '' before the first
ALTER TABLE folders ADD COLUMN look_up   INTEGER NOT NULL DEFAULT 0;  -- and that clock, ms
ALTER TABLE folders ADD COLUMN look_at   INTEGER NOT NULL DEFAULT 0;  -- and the time of day, unix ms
CREATE INDEX folders_emptied ON folders (path) WHERE emptied <> 0;

-- Intents whose outcome could not be found out. Such an intent keeps its record, its
-- source and its target out of everything, and nothing else.
ALTER TABLE intents ADD COLUMN tries      INTEGER NOT NULL DEFAULT 0;  -- failed attempts to find it out
ALTER TABLE intents ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;  -- unix ms of the next one
ALTER TABLE intents ADD COLUMN aside      INTEGER NOT NULL DEFAULT 0;  -- 1: set aside; no run waits for it
ALTER TABLE intents ADD COLUMN reason     TEXT    NOT NULL DEFAULT ''; -- of the last failure

-- Roots: when a scan has found that the directory is not the recorded one, only files that
-- were uploaded before tell whether the recorded one is back.
ALTER TABLE roots ADD COLUMN replaced_at INTEGER NOT NULL DEFAULT 0; -- when that scan began; valid while stranger is 1
UPDATE roots SET replaced_at = scanned_at WHERE stranger = 1;
-- Assets of the root that are outside of its folder are moved into it.
ALTER TABLE roots ADD COLUMN rehome INTEGER NOT NULL DEFAULT 0; -- 1: they are to be, as somebody has asked for

-- Names that ImageKit is documented to change may be kept all the same. The key of a remote
-- path is what becomes of it where only the documented characters are kept; a key is
-- reserved for one local path. NULL: it is the remote path itself.
ALTER TABLE files   ADD COLUMN remote_key TEXT;
ALTER TABLE jobs    ADD COLUMN remote_key TEXT;
ALTER TABLE aliases ADD COLUMN remote_key TEXT;
ALTER TABLE intents ADD COLUMN target_key TEXT;
CREATE INDEX files_remote_key ON files (remote_key) WHERE remote_key IS NOT NULL;
CREATE INDEX jobs_remote_key  ON jobs (remote_key) WHERE remote_key IS NOT NULL;
ALTER TABLE roots   ADD COLUMN names INTEGER NOT NULL DEFAULT 0; -- what the library does with such names: 0 not known, 1 keeps them, 2 changes them

-- The asset has a suffix in its name because another path had the name: the key of the
-- remote path without it. Where that may have become free the mover looks.
ALTER TABLE files ADD COLUMN wanted_key TEXT;
ALTER TABLE files ADD COLUMN vacated INTEGER NOT NULL DEFAULT 0; -- 1: it may have become free
CREATE INDEX files_wanted  ON files (wanted_key) WHERE wanted_key IS NOT NULL;
CREATE INDEX files_vacated ON files (id) WHERE vacated <> 0;
CREATE TRIGGER files_left AFTER DELETE ON files BEGIN
    UPDATE files SET vacated = 1 WHERE wanted_key = coalesce(old.remote_key, old.remote_path);
END;
CREATE TRIGGER files_went AFTER UPDATE OF remote_path ON files WHEN new.remote_path <> old.remote_path BEGIN
    UPDATE files SET vacated = 1 WHERE wanted_key = coalesce(old.remote_key, old.remote_path);
END;
CREATE TRIGGER jobs_left AFTER DELETE ON jobs WHEN old.remote_path IS NOT NULL BEGIN
    UPDATE files SET vacated = 1 WHERE wanted_key = coalesce(old.remote_key, old.remote_path);
END;
CREATE TRIGGER jobs_went AFTER UPDATE OF remote_path ON jobs WHEN old.remote_path IS NOT NULL AND new.remote_path IS NOT old.remote_path BEGIN
    UPDATE files SET vacated = 1 WHERE wanted_key = coalesce(old.remote_key, old.remote_path);
END;

-- Times beyond 7,000,000,000 seconds from 1970 count microseconds from there, so that those
-- outside of 1678 to 2262 are held, too (state.EncodeTime). -2^63 is no time of a file.
UPDATE files SET mtime_ns =  7000000000000000000 + (mtime_ns - 7000000000000000000) / 1000 WHERE mtime_ns >= 7000000000000000000;
UPDATE files SET mtime_ns = -7000000000000000000 + (mtime_ns + 7000000000000000000) / 1000 WHERE mtime_ns < -7000000000000000000 AND mtime_ns <> -9223372036854775808;

-- The size that the library has of a file, where that differs: transformation.pre changes
-- what is stored. What the library answered to the upload tells it for older records.
ALTER TABLE files ADD COLUMN stored_size INTEGER; -- bytes; NULL: as size
UPDATE files SET stored_size = nullif((SELECT CASE WHEN json_valid(CAST(r.body AS TEXT)) AND json_type(CAST(r.body AS TEXT), '$.size') = 'integer'
        THEN json_extract(CAST(r.body AS TEXT), '$.size') END FROM responses r WHERE r.file_id = files.id), size)
    WHERE form IS NULL;
-- In a form the size of a transformed file is spelled out, not a token.
UPDATE files SET stored_size = nullif(m.size, files.size)
    FROM (SELECT id, CAST(substr(body, instr(body, '"size":') + 7) AS INTEGER) AS size FROM forms
        WHERE substr(body, instr(body, '"size":') + 7, 1) BETWEEN '0' AND '9') m
    WHERE m.id = files.form;

-- Uploads in a row that ImageKit answered with another size than was sent.
ALTER TABLE jobs ADD COLUMN wrong_answers INTEGER NOT NULL DEFAULT 0;

DROP VIEW iksync_files;
CREATE VIEW iksync_files AS
WITH whole AS (
    SELECT f.*,
        m.body                                                                                              AS form_body,
        iif(f.form IS NULL OR f.version_id <> '', f.version_id, f.file_id)                                  AS version,
        iif(f.form IS NULL OR f.name <> '', f.name, replace(f.remote_path, rtrim(f.remote_path, replace(f.remote_path, '/', '')), '')) AS called,
        iif(f.form IS NULL OR f.url <> '', f.url, m.url_base || f.remote_path)                              AS at,
        iif(f.form IS NULL OR f.thumbnail_url <> '', f.thumbnail_url, coalesce(m.thumbnail_base || f.remote_path, '')) AS small,
        iif(f.form IS NULL OR f.file_type <> '', f.file_type, m.file_type)                                  AS type
    FROM files f LEFT JOIN forms m ON m.id = f.form
)
SELECT
    CAST(r.path AS TEXT)                                                          AS root,
    CAST(f.path AS TEXT)                                                          AS local_path,
    f.remote_path                                                                 AS remote_path,
    f.file_id                                                                     AS file_id,
    f.version                                                                     AS version_id,
    f.called                                                                      AS name,
    f.at                                                                          AS url,
    f.small                                                                       AS thumbnail_url,
    f.size                                                                        AS size,
    iif(f.hash = zeroblob(16), NULL, lower(hex(f.hash)))                          AS hash,
    nullif(f.width, 0)                                                            AS width,
    nullif(f.height, 0)                                                           AS height,
    f.type                                                                        AS file_type,
    CASE
        WHEN f.mtime_ns = -9223372036854775808 THEN NULL
        WHEN f.mtime_ns >= 7000000000000000000 THEN strftime('%Y-%m-%dT%H:%M:%fZ',  7000000000 + (f.mtime_ns - 7000000000000000000) / 1000000.0, 'unixepoch')
        WHEN f.mtime_ns < -7000000000000000000 THEN strftime('%Y-%m-%dT%H:%M:%fZ', -7000000000 + (f.mtime_ns + 7000000000000000000) / 1000000.0, 'unixepoch')
        ELSE strftime('%Y-%m-%dT%H:%M:%fZ', f.mtime_ns / 1000000000.0, 'unixepoch')
    END                                                                           AS modified_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.uploaded_at / 1000.0, 'unixepoch')           AS uploaded_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.checked_at / 1000.0, 'unixepoch')            AS checked_at,
    CASE f.absent WHEN 1 THEN 'gone' WHEN 2 THEN 'filtered' END                   AS gone,
    iif(f.form IS NULL,
        (SELECT json(CAST(b.body AS TEXT)) FROM responses b WHERE b.file_id = f.id),
        json(replace(replace(replace(replace(replace(replace(replace(replace(replace(f.form_body,
            char(1), f.file_id), char(2), f.version), char(3), f.called), char(4), f.remote_path), char(5), f.at),
            char(6), f.small), char(14), coalesce(f.stored_size, f.size)), char(15), f.width), char(16), f.height))) AS response,
    f.unproven = 0 AND f.hash <> zeroblob(16)                                     AS proven
FROM whole f JOIN roots r ON r.id = f.root_id;
