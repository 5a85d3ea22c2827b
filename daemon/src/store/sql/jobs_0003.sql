-- What was found out about an endpoint for one commit, and until when it is believed. `account` is the uid whose token went
-- with the questions, -1 for none; `uid` is who made us ask: others do not see which repository it was.
CREATE TABLE judgements (
    endpoint TEXT    NOT NULL,
    account  INTEGER NOT NULL,
    kind     TEXT    NOT NULL CHECK (kind IN ('model', 'dataset', 'space')),
    repo_id  TEXT    NOT NULL,
    commit_hash TEXT NOT NULL,
    uid      INTEGER NOT NULL,
    -- A stable word; empty: nothing is wrong.
    fault    TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    lists    INTEGER NOT NULL CHECK (lists IN (0, 1)),
    serves   TEXT    NOT NULL CHECK (serves IN ('nothing', 'whole_files', 'parts')),
    ends_at  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    PRIMARY KEY (endpoint, account, kind, repo_id, commit_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX judgements_by_end ON judgements (until);

-- How fast an endpoint was when it was last measured.
CREATE TABLE endpoint_stats (
    endpoint      TEXT    PRIMARY KEY,
    bytes_per_sec INTEGER NOT NULL,
    first_byte_ms INTEGER NOT NULL,
    at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
