-- A job can wait for a yes: `approval` joins the words. SQLite cannot alter a CHECK; its documentation of ALTER TABLE allows this
-- way for changes that do not touch what is stored. The statements below make other connections read the schema anew.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''rate_limited''', '''rate_limited'', ''approval''')
    WHERE type = 'table' AND name = 'jobs';
PRAGMA writable_schema = RESET;

-- Above how many bytes to be fetched it waits; what was to be fetched when it was planned; the schedule that it is a run of.
ALTER TABLE jobs ADD COLUMN hold_above INTEGER CHECK (hold_above >= 0);
ALTER TABLE jobs ADD COLUMN files_to_fetch INTEGER;
ALTER TABLE jobs ADD COLUMN bytes_to_fetch INTEGER;
ALTER TABLE jobs ADD COLUMN schedule TEXT;

-- Recurring pulls. `terms` are JSON: the words in which the job of each run is asked for.
CREATE TABLE schedules (
    row           INTEGER PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    uid           INTEGER NOT NULL,
    user          TEXT    NOT NULL,
    repo_id       TEXT    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('model', 'dataset', 'space')),
    revision      TEXT    NOT NULL,
    terms         TEXT    NOT NULL,
    cron          TEXT    NOT NULL,
    timezone      TEXT,
    keep          INTEGER CHECK (keep >= 0),
    token_ref     TEXT,
    paused        INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    -- What was due until then has been run, or is not to be.
    settled_until INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_by_user ON schedules (uid, row);

-- Each time, written with its job in one transaction. `state`, `commit_hash` and the rest of it are the job's at its end, for it
-- may be forgotten sooner. `made`: the commit that was in nobody's place before this run.
CREATE TABLE schedule_runs (
    row            INTEGER PRIMARY KEY,
    schedule_row   INTEGER NOT NULL REFERENCES schedules (row) ON DELETE CASCADE,
    due_at         INTEGER,
    ran_at         INTEGER NOT NULL,
    outcome        TEXT    NOT NULL CHECK (outcome IN ('job', 'unchanged', 'overlap', 'refused')),
    detail         TEXT    NOT NULL,
    job_id         TEXT,
    state          TEXT,
    commit_hash    TEXT    NOT NULL DEFAULT '',
    files_to_fetch INTEGER,
    bytes_to_fetch INTEGER,
    made           TEXT,
    CHECK ((outcome = 'job') = (job_id IS NOT NULL))
) STRICT;
CREATE INDEX schedule_runs_of ON schedule_runs (schedule_row, row);
CREATE INDEX schedule_runs_by_job ON schedule_runs (job_id) WHERE job_id IS NOT NULL;
