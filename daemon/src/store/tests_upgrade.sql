-- What databases of older versions hold in tests: after each step of the schema, what could be written then.

-- jobs 1
INSERT INTO jobs (id, uid, user, repo_id, kind, revision, selection, destination, path, endpoints, priority, max_workers,
    force_download, token_ref, state, hold_reason, detail, next_attempt_at, commit_hash, trust, planned, bytes_total, bytes_done,
    files_total, files_done, created_at, started_at, ended_at, failure_kind, failure_message, failure_hint)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 119)
SELECT printf('5d2k8q%04d', i), 1000 + i % 3, 'user' || (i % 3), 'org/m' || (i % 7), 'model', 'main',
    '{"files":["a/"],"include":["*.json"],"exclude":[]}', iif(i % 2, 'cache', 'local_dir'), '/nowhere/' || (i % 2),
    '["https://hub.example"]', i % 3, 3, 0, iif(i % 4, NULL, 'own'),
    iif(i % 4 = 0, 'paused', iif(i % 4 = 1, 'done', iif(i % 4 = 2, 'failed', 'held'))), iif(i % 4 = 3, 'disk', NULL),
    'as it was', iif(i % 4 = 3, 4102444800000, NULL), printf('%040x', i), 'origin', 1, 5000, 1500, 10, 3,
    1785585600000 + i, 1785585601000, iif(i % 4 IN (1, 2), 1785585700000, NULL), iif(i % 4 = 2, 'gated', NULL),
    iif(i % 4 = 2, 'its terms must be accepted', NULL), iif(i % 4 = 2, 'accept them', NULL)
FROM n;
INSERT INTO files (job_row, path, size, digest, state, reused)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9)
SELECT row, 'a/' || i || '.json', 500, printf('%064x', row * 10 + i), iif(i < 3, 'done', 'pending'), i % 2 FROM jobs, n;
INSERT INTO events (at, job_id, repo_id, uid, user, kind, state, file, detail, commit_hash, bytes)
SELECT created_at, id, repo_id, uid, user, 'submitted', 'queued', '', '', '', 0 FROM jobs;
INSERT INTO requests (uid, request_id, fingerprint, job_id, at) SELECT uid, 'r' || row, x'0102', id, created_at FROM jobs;
INSERT INTO aliases (uid, name, target) VALUES (1000, 'mine', 'org/m1@main');

-- jobs 2
INSERT INTO judgements (endpoint, account, kind, repo_id, commit_hash, uid, fault, detail, lists, serves, ends_at, at, until)
VALUES ('https://mirror.example', -1, 'model', 'org/m1', printf('%040x', 1), 1000, 'no_ranges', 'it has none', 1, 'whole_files',
    'cdn.example', 1785585600000, 4102444800000);
INSERT INTO endpoint_stats (endpoint, bytes_per_sec, first_byte_ms, at) VALUES ('https://hub.example', 1000000, 40, 1785585600000);

-- jobs 3
INSERT INTO job_routes (job_row, host, way, rule, requests, bytes) SELECT row, 'cdn.example', 'DIRECT', 'MATCH', 3, 1000 + row FROM jobs;

-- jobs 4
UPDATE jobs SET planned_at = created_at + 500;
UPDATE events SET repo_kind = 'dataset' WHERE seq % 10 = 0;
INSERT INTO refs (path, commit_hash, planned_at) VALUES ('/nowhere/1/refs/main', printf('%040x', 1), 1785585600000);

-- jobs 5
UPDATE jobs SET rate_limit = 1000000, time_window = '23:00-07:00', start_at = 1785585600000 WHERE state = 'paused';
INSERT INTO global_limits (kind, value, until) VALUES ('lasting', '10M', NULL), ('temporary', 'off', 4102444800000);

-- jobs 6
UPDATE jobs SET own_endpoint = 'https://hub.example' WHERE uid = 1000;

-- jobs 7
INSERT INTO ledger (day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated)
VALUES ('2026-08-01', 1000, '', 'https://hub.example', 'hub.example', 'DIRECT', 'MATCH', 'user0', 1, 77, 7, 8);
UPDATE ledger_settled SET batch = 4;

-- jobs 10
UPDATE jobs SET ready_by = 4102444800000, bytes_expected = 5000 WHERE state = 'paused';

-- jobs 11
UPDATE jobs SET hold_above = 1000, files_to_fetch = 7, bytes_to_fetch = 3500, hold_reason = 'approval' WHERE state = 'held' AND uid = 1001;
INSERT INTO schedules (id, uid, user, repo_id, kind, revision, terms, cron, timezone, keep, settled_until, created_at)
VALUES ('7f3m2c9v4e', 1000, 'user0', 'org/m1', 'model', 'main', '{}', '30 0 * * *', 'Asia/Shanghai', 2, 1785585600000, 1785585600000);
INSERT INTO schedule_runs (schedule_row, due_at, ran_at, outcome, detail, job_id, state, commit_hash, made)
SELECT schedules.row, 1785585600000, 1785585600000, 'job', '', jobs.id, jobs.state, jobs.commit_hash, jobs.commit_hash
FROM schedules, jobs WHERE jobs.row < 10;

-- jobs 12
INSERT INTO closed_repos (kind, repo_id) VALUES ('model', 'org/m2');

-- progress 1
INSERT INTO claims (path, digest, size, dev, ino, ranges, hash, boot, job, at)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
SELECT '/nowhere/' || i || '.part', printf('%064x', i), 5000, 1, i, '[[0,100]]', x'0102', 'boot', '5d2k8q0000', 1785585600000 FROM n;
INSERT INTO verified (dev, ino, size, mtime_ns, ctime_ns, digest, at)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
SELECT 1, i, 500, 1, 2, printf('%064x', i), 1785585600000 FROM n;

-- progress 2
UPDATE claims SET ctime_ns = 5;
INSERT INTO block_checks (path, part, checks) SELECT path, 0, zeroblob(1024) FROM claims;

-- progress 3
INSERT INTO unsettled (batch, day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated)
VALUES (9, '2026-08-02', 1000, '5d2k8q0000', 'https://hub.example', 'hub.example', 'DIRECT', 'MATCH', 'user0', 1, 5, 0, 0);
UPDATE open_batch SET batch = 9;
INSERT INTO in_hand (job, bytes, again) VALUES ('5d2k8q0000', 1500, 0);

-- progress 5
INSERT INTO goodput (one, bytes_per_sec) VALUES (1, 12345678);
