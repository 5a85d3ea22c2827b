-- Which hosts a job asked, by which way, and how many bytes came. Sizes are bytes.
CREATE TABLE job_routes (
    job_row  INTEGER NOT NULL REFERENCES jobs (row) ON DELETE CASCADE,
    host     TEXT    NOT NULL,
    way      TEXT    NOT NULL,
    rule     TEXT    NOT NULL,
    requests INTEGER NOT NULL CHECK (requests >= 0),
    bytes    INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (job_row, host, way)
) STRICT, WITHOUT ROWID;
