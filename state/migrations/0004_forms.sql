-- What answers to uploads have in common is here, once: of most files it leaves nothing to
-- store but ids, paths and numbers. With a form, an empty column of a record means: as
-- the form has it. (Tokens: state/form.go.)
CREATE TABLE forms (
    id             INTEGER PRIMARY KEY,
    url_base       TEXT NOT NULL, -- a record's url is this and its remote_path
    thumbnail_base TEXT,          -- and its thumbnail_url this and that; NULL when it has none
    file_type      TEXT NOT NULL,
    body           TEXT NOT NULL, -- the answer, with tokens in place of what is of one file
    UNIQUE (body, url_base, thumbnail_base, file_type)
) STRICT;
ALTER TABLE files ADD COLUMN form INTEGER; -- NULL: all is in the record, and the answer in responses

-- The answer of a record with a form is nowhere else.
CREATE TRIGGER files_formed AFTER UPDATE OF form ON files WHEN new.form IS NOT NULL BEGIN
    DELETE FROM responses WHERE file_id = new.id;
END;

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
    strftime('%Y-%m-%dT%H:%M:%fZ', f.mtime_ns / 1000000000.0, 'unixepoch')        AS modified_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.uploaded_at / 1000.0, 'unixepoch')           AS uploaded_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', f.checked_at / 1000.0, 'unixepoch')            AS checked_at,
    CASE f.absent WHEN 1 THEN 'gone' WHEN 2 THEN 'filtered' END                   AS gone,
    iif(f.form IS NULL,
        (SELECT json(CAST(b.body AS TEXT)) FROM responses b WHERE b.file_id = f.id),
        json(replace(replace(replace(replace(replace(replace(replace(replace(replace(f.form_body,
            char(1), f.file_id), char(2), f.version), char(3), f.called), char(4), f.remote_path), char(5), f.at),
            char(6), f.small), char(14), f.size), char(15), f.width), char(16), f.height))) AS response
FROM whole f JOIN roots r ON r.id = f.root_id;
