-- What came over the network: one row for each local day, payer and way. Bytes are those of bodies. `job` is empty for calls
-- outside of jobs, and once the job is forgotten.
CREATE TABLE ledger (
    day      TEXT    NOT NULL,
    uid      INTEGER NOT NULL,
    job      TEXT    NOT NULL,
    endpoint TEXT    NOT NULL,
    host     TEXT    NOT NULL,
    way      TEXT    NOT NULL,
    rule     TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    requests INTEGER NOT NULL CHECK (requests >= 0),
    bytes    INTEGER NOT NULL CHECK (bytes >= 0),
    -- Thrown away, and come more than once.
    wasted   INTEGER NOT NULL CHECK (wasted >= 0),
    repeated INTEGER NOT NULL CHECK (repeated >= 0),
    PRIMARY KEY (day, uid, job, endpoint, host, way)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_by_job ON ledger (job) WHERE job <> '';

-- The newest batch of `unsettled` (progress.db) that is in it.
CREATE TABLE ledger_settled (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    batch INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_settled (one, batch) VALUES (1, 0);

-- It knew no days: what came counts for the day on which the job began.
INSERT INTO ledger (day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated)
    SELECT date(coalesce(jobs.started_at, jobs.created_at) / 1000, 'unixepoch', 'localtime'), jobs.uid, jobs.id,
        coalesce(json_extract(jobs.endpoints, '$[0]'), ''), host, way, rule, jobs.user, requests, bytes, 0, 0
    FROM job_routes JOIN jobs ON jobs.row = job_routes.job_row;
DROP TABLE job_routes;
