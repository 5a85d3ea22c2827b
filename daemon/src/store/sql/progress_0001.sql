-- Hints only: losing this file costs time, never truth.

-- Bytes of a partial file that were synced before the row was written.
CREATE TABLE claims (
    path   TEXT    PRIMARY KEY,
    digest TEXT    NOT NULL,
    size   INTEGER NOT NULL,
    dev    INTEGER NOT NULL,
    ino    INTEGER NOT NULL,
    ranges TEXT    NOT NULL,
    -- A half-done hash of the bytes from 0 on, and the boot in which they were read: after another boot only the disk counts.
    hash   BLOB    NOT NULL,
    boot   TEXT    NOT NULL,
    -- The job that wrote the bytes.
    job    TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files whose content was hashed; valid only while every field matches the file.
CREATE TABLE verified (
    dev      INTEGER NOT NULL,
    ino      INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    digest   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (dev, ino)
) STRICT, WITHOUT ROWID;
