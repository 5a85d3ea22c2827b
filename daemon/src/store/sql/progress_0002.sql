-- The last change of the partial file's inode when the claim was made: who finds it as it was needs not read it again.
ALTER TABLE claims ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;

-- Fast checks of the blocks of a claimed partial file, from its beginning on, 64 of 16 bytes in a row: a claim writes the
-- last rows only, however large the file is.
CREATE TABLE block_checks (
    path   TEXT    NOT NULL,
    part   INTEGER NOT NULL,
    checks BLOB    NOT NULL,
    PRIMARY KEY (path, part)
) STRICT, WITHOUT ROWID;
