-- Until when its uploads wait because somebody has said so: 0 they don't, else unix ms;
-- 9223372036854775807 until they are resumed.
ALTER TABLE roots ADD COLUMN paused_until INTEGER NOT NULL DEFAULT 0;

-- Files that are not to be uploaded although the filters take them.
CREATE TABLE ignored (
    root_id INTEGER NOT NULL REFERENCES roots (id),
    path    BLOB    NOT NULL,
    at      INTEGER NOT NULL, -- since when
    PRIMARY KEY (root_id, path)
) STRICT, WITHOUT ROWID;

-- Attempts that did not succeed, the last of each path.
CREATE TABLE attempts (
    id         INTEGER PRIMARY KEY,
    root_id    INTEGER NOT NULL REFERENCES roots (id),
    path       BLOB    NOT NULL,
    began_at   INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    class      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    dead       INTEGER NOT NULL -- 1: it is not tried again by itself
) STRICT;
CREATE INDEX attempts_path ON attempts (root_id, path, id);

-- What fails and what is held, by reason.
CREATE INDEX jobs_class ON jobs (root_id, class, state, path) WHERE class <> '';

-- The records, for those who query the file themselves; a column stays what it is from
-- version to version.
CREATE VIEW iksync_files AS
SELECT
    CAST(r.path AS TEXT)                                                          AS root,
    CAST(f.path AS TEXT)                                                          AS local_path,
    f.remote_path                                                                 AS remote_path,
    f.file_id                                                                     AS file_id,
    f.version_id                                                                  AS version_id,
    f.name                                                                        AS name,
    f.url                                                                         AS url,
    f.thumbnail_url                                                               AS thumbnail_url,
    f.size                                                                        AS size,
    iif(f.hash = zeroblob(16), NULL, lower(hex(f.hash)))                          AS hash,
    nullif(f.width, 0)                                                            AS width,
    nullif(f.height, 0)                                                           AS height,
    f.file_type                                                                   AS file_type,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.mtime_ns / 1000000000.0, 'unixepoch')        AS modified_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.uploaded_at / 1000.0, 'unixepoch')           AS uploaded_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.checked_at / 1000.0, 'unixepoch')            AS checked_at,
    CASE f.absent WHEN 1 THEN 'gone' WHEN 2 THEN 'filtered' END                   AS gone,
    (SELECT json(CAST(b.body AS TEXT)) FROM responses b WHERE b.file_id = f.id)   AS response
FROM files f JOIN roots r ON r.id = f.root_id;
