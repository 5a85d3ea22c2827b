-- Finds the jobs that write to a destination.
CREATE INDEX jobs_by_place ON jobs (path, repo_id);
-- The line of each user.
CREATE INDEX jobs_queue ON jobs (uid, priority DESC, row) WHERE state = 'queued';
-- How many jobs of a user have not ended, however many he has had.
CREATE INDEX jobs_open ON jobs (uid) WHERE state IN ('queued', 'active', 'held', 'paused');
