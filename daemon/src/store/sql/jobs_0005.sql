-- Kind of the repository that an event is about, so that it can be named as users name it.
ALTER TABLE events ADD COLUMN repo_kind TEXT NOT NULL DEFAULT 'model' CHECK (repo_kind IN ('model', 'dataset', 'space'));
UPDATE events SET repo_kind = coalesce((SELECT kind FROM jobs WHERE jobs.id = events.job_id), 'model');

-- When the plan was made: what it says of a branch is as old as that.
ALTER TABLE jobs ADD COLUMN planned_at INTEGER;

-- The refs that we have written, by the path of their file: from which commit, and how old that knowledge was.
CREATE TABLE refs (
    path        TEXT    PRIMARY KEY,
    commit_hash TEXT    NOT NULL,
    planned_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Finds what is over and old, and files of one content in one job.
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX requests_by_job ON requests (job_id);
CREATE INDEX files_by_digest ON files (job_row, digest);
