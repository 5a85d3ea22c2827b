-- Finds the held jobs that are due, and the next one, however many wait.
CREATE INDEX jobs_due ON jobs (next_attempt_at) WHERE state = 'held' AND next_attempt_at IS NOT NULL;
