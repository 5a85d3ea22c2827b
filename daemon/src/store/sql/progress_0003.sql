-- What came over the network and is not in the ledger of jobs.db yet; written with the claims, never synced by itself. A batch
-- is closed, added to the ledger with its number, and deleted: whatever is cut off in between is done again, and counts once.
CREATE TABLE unsettled (
    batch    INTEGER NOT NULL,
    day      TEXT    NOT NULL,
    uid      INTEGER NOT NULL,
    job      TEXT    NOT NULL,
    endpoint TEXT    NOT NULL,
    host     TEXT    NOT NULL,
    way      TEXT    NOT NULL,
    rule     TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    requests INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    wasted   INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    PRIMARY KEY (batch, day, uid, job, endpoint, host, way)
) STRICT, WITHOUT ROWID;
CREATE TABLE open_batch (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    batch INTEGER NOT NULL
) STRICT;
INSERT INTO open_batch (one, batch) VALUES (1, 1);

-- How many bytes of its files each job had, in their places and in partial files, when it was last booked: what of them is not
-- there after a crash comes again. `again`: so many bytes were to come again already.
CREATE TABLE in_hand (
    job   TEXT    PRIMARY KEY,
    bytes INTEGER NOT NULL,
    again INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
