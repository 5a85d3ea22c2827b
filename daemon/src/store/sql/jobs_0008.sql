-- The origin among a job's endpoints that is its submitter's own HF_ENDPOINT: it may see the token, and its word counts.
ALTER TABLE jobs ADD COLUMN own_endpoint TEXT;
