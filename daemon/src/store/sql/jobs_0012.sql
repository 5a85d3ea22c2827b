-- By when a job has to be ready, and how many bytes were to come when it was submitted: what is foreseen before it is planned.
ALTER TABLE jobs ADD COLUMN ready_by INTEGER;
ALTER TABLE jobs ADD COLUMN bytes_expected INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_deadlines ON jobs (state) WHERE ready_by IS NOT NULL;
