-- Finds what an earlier job planned for the same repository.
CREATE INDEX jobs_by_plan ON jobs (repo_id, planned_at) WHERE planned = 1;
