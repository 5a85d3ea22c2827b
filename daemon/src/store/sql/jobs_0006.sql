-- How fast a job may go (bytes per second), in which window (a configured name, or a period), and not before when.
ALTER TABLE jobs ADD COLUMN rate_limit INTEGER CHECK (rate_limit > 0);
ALTER TABLE jobs ADD COLUMN time_window TEXT;
ALTER TABLE jobs ADD COLUMN start_at INTEGER;
CREATE INDEX jobs_timed ON jobs (state) WHERE time_window IS NOT NULL OR start_at IS NOT NULL;

-- What `hfctl limit` set in place of the configuration: for good, or until a time, after which the one for good holds again.
CREATE TABLE global_limits (
    kind  TEXT    PRIMARY KEY CHECK (kind IN ('lasting', 'temporary')),
    value TEXT    NOT NULL,
    until INTEGER,
    CHECK ((kind = 'temporary') = (until IS NOT NULL))
) STRICT, WITHOUT ROWID;
