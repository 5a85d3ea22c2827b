-- How fast the line was when it was last measured.
CREATE TABLE goodput (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    bytes_per_sec INTEGER NOT NULL
) STRICT;
