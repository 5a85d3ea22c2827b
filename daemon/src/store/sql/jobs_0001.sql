-- Times are milliseconds since 1970, sizes are bytes. States are words with a CHECK, so that a row can be read by people.
CREATE TABLE jobs (
    row             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    uid             INTEGER NOT NULL,
    user            TEXT    NOT NULL,
    repo_id         TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('model', 'dataset', 'space')),
    revision        TEXT    NOT NULL,
    selection       TEXT    NOT NULL,
    destination     TEXT    NOT NULL CHECK (destination IN ('cache', 'local_dir')),
    path            TEXT    NOT NULL,
    endpoints       TEXT    NOT NULL,
    priority        INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    connections     INTEGER,
    max_workers     INTEGER,
    force_download  INTEGER NOT NULL CHECK (force_download IN (0, 1)),
    token_ref       TEXT,
    state           TEXT    NOT NULL
        CHECK (state IN ('queued', 'active', 'held', 'paused', 'done', 'failed', 'cancelled')),
    hold_reason     TEXT
        CHECK (hold_reason IN ('window', 'disk', 'access', 'budget', 'endpoint', 'rate_limited')),
    detail          TEXT    NOT NULL DEFAULT '',
    next_attempt_at INTEGER,
    -- Since when nothing has come, over holds and restarts.
    stuck_since     INTEGER,
    commit_hash     TEXT,
    trust           TEXT    CHECK (trust IN ('origin', 'mirror')),
    planned         INTEGER NOT NULL DEFAULT 0 CHECK (planned IN (0, 1)),
    bytes_total     INTEGER NOT NULL DEFAULT 0,
    bytes_done      INTEGER NOT NULL DEFAULT 0,
    bytes_reused    INTEGER NOT NULL DEFAULT 0,
    -- Bytes of unfinished files, as they were when the job last stopped moving.
    bytes_partial   INTEGER NOT NULL DEFAULT 0,
    files_total     INTEGER NOT NULL DEFAULT 0,
    files_done      INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    ended_at        INTEGER,
    failure_kind    TEXT,
    failure_message TEXT,
    failure_hint    TEXT,
    CHECK ((state = 'held') = (hold_reason IS NOT NULL)),
    CHECK ((state = 'failed') = (failure_kind IS NOT NULL))
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, row);
CREATE INDEX jobs_by_user ON jobs (uid, row);

CREATE TABLE files (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job_row         INTEGER NOT NULL REFERENCES jobs (row) ON DELETE CASCADE,
    path            TEXT    NOT NULL,
    size            INTEGER NOT NULL CHECK (size >= 0),
    digest          TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'done', 'failed')),
    reused          INTEGER NOT NULL DEFAULT 0 CHECK (reused IN (0, 1)),
    failure_kind    TEXT,
    failure_message TEXT,
    failure_hint    TEXT,
    UNIQUE (job_row, path)
) STRICT;
CREATE INDEX files_pending ON files (job_row, id) WHERE state = 'pending';

-- AUTOINCREMENT: a number is never used twice, also not after pruning.
CREATE TABLE events (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL,
    job_id          TEXT    NOT NULL,
    repo_id         TEXT    NOT NULL,
    uid             INTEGER NOT NULL,
    user            TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('submitted', 'planned', 'state_changed', 'file_done', 'warning')),
    state           TEXT    NOT NULL,
    hold_reason     TEXT,
    failure_kind    TEXT,
    failure_message TEXT,
    failure_hint    TEXT,
    file            TEXT    NOT NULL,
    detail          TEXT    NOT NULL,
    commit_hash     TEXT    NOT NULL,
    bytes           INTEGER NOT NULL
) STRICT;

-- What a submit with this request id made; the fingerprint tells whether it is the same request.
CREATE TABLE requests (
    uid         INTEGER NOT NULL,
    request_id  TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    job_id      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (uid, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (at);

CREATE TABLE aliases (
    uid    INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    target TEXT    NOT NULL,
    PRIMARY KEY (uid, name)
) STRICT, WITHOUT ROWID;
