//! Rows to records and back. A row that does not decode is an error with its key, never skipped, never defaulted.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Row, types::FromSql};

use super::{
    error::{Act as _, StoreError},
    judgements::StoredJudgement,
    replan::KnownPlan,
};
use crate::model::{
    CommitHash, Destination, Difference, Digest, EndpointFault, Event, EventKind, EventSeq, Failure, FailureKind,
    FileId, FileRecord, FileState, Finding, HoldReason, Job, JobId, JobSpec, JobState, JudgedRepo, Judgement, NewEvent,
    Owner, Pacing, Priority, Pull, RepoId, RepoKind, RepoPath, Revision, RunOutcome, Schedule, ScheduleId, ScheduleRun,
    Serves, Trust,
};

/// Reads one column after the other of a row whose key is known.
struct Columns<'a> {
    row: &'a Row<'a>,
    table: &'static str,
    key: String,
}

impl Columns<'_> {
    fn get<T: FromSql>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.get(column).act("read a column")
    }

    fn bad(&self, column: &str, value: &str) -> StoreError {
        StoreError::Row {
            table: self.table,
            key: self.key.clone(),
            what: format!("{column} is `{value}`"),
        }
    }

    fn parsed<T>(&self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        parse(&text).ok_or_else(|| self.bad(column, &text))
    }

    fn parsed_option<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| parse(&text).ok_or_else(|| self.bad(column, &text)))
            .transpose()
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        let value: i64 = self.get(column)?;
        Timestamp::from_millisecond(value).map_err(|_| self.bad(column, &value.to_string()))
    }

    fn time_option(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let value: Option<i64> = self.get(column)?;
        value
            .map(|value| Timestamp::from_millisecond(value).map_err(|_| self.bad(column, &value.to_string())))
            .transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|_| self.bad(column, &text))
    }

    fn difference(&self) -> Result<Option<Difference>, StoreError> {
        let (files, bytes): (Option<u64>, Option<u64>) = (self.get("files_to_fetch")?, self.get("bytes_to_fetch")?);
        Ok(files.zip(bytes).map(|(files, bytes)| Difference { files, bytes }))
    }

    fn failure(&self) -> Result<Option<Failure>, StoreError> {
        let Some(kind) = self.parsed_option("failure_kind", FailureKind::parse)? else {
            return Ok(None);
        };
        let text = |value: Option<String>| value.unwrap_or_default();
        Ok(Some(Failure::new(
            kind,
            text(self.get("failure_message")?),
            text(self.get("failure_hint")?),
        )))
    }
}

/// A judgement from `SELECT * FROM judgements`.
pub(super) fn judgement(row: &Row<'_>) -> Result<StoredJudgement, StoreError> {
    let endpoint: String = row.get("endpoint").act("read a column")?;
    let columns = Columns {
        row,
        table: "judgements",
        key: endpoint.clone(),
    };
    let account: i64 = columns.get("account")?;
    let fault: String = columns.get("fault")?;
    let fault = match fault.as_str() {
        "" => None,
        word => Some(EndpointFault::parse(word).ok_or_else(|| columns.bad("fault", word))?),
    };
    Ok(StoredJudgement {
        about: JudgedRepo {
            endpoint,
            account: u32::try_from(account).ok(),
            kind: columns.parsed("kind", RepoKind::parse)?,
            repo_id: columns.parsed("repo_id", |text| RepoId::parse(text).ok())?,
            commit: columns.parsed("commit_hash", CommitHash::parse)?,
        },
        uid: columns.get("uid")?,
        judgement: Judgement {
            finding: Finding {
                fault,
                detail: columns.get("detail")?,
                lists: columns.get("lists")?,
                serves: columns.parsed("serves", Serves::parse)?,
                ends_at: columns.get("ends_at")?,
            },
            at: columns.time("at")?,
            until: columns.time("until")?,
        },
    })
}

/// A job from `SELECT * FROM jobs`.
pub(super) fn job(row: &Row<'_>) -> Result<Job, StoreError> {
    let key: i64 = row.get("row").act("read a key")?;
    let columns = Columns {
        row,
        table: "jobs",
        key: key.to_string(),
    };
    let path = PathBuf::from(columns.get::<String>("path")?);
    let destination = columns.parsed("destination", |word| match word {
        "cache" => Some(Destination::Cache(path.clone())),
        "local_dir" => Some(Destination::LocalDir(path.clone())),
        _ => None,
    })?;
    let priority: i64 = columns.get("priority")?;
    let spec = JobSpec {
        repo_id: columns.parsed("repo_id", |text| RepoId::parse(text).ok())?,
        kind: columns.parsed("kind", RepoKind::parse)?,
        revision: columns.parsed("revision", |text| Revision::parse(text).ok())?,
        selection: columns.json("selection")?,
        destination,
        endpoints: columns.json("endpoints")?,
        own_endpoint: columns.get("own_endpoint")?,
        priority: usize::try_from(priority)
            .ok()
            .and_then(|index| Priority::ALL.get(index).copied())
            .ok_or_else(|| columns.bad("priority", &priority.to_string()))?,
        pacing: Pacing {
            limit: columns.get("rate_limit")?,
            window: columns.get("time_window")?,
            start_at: columns.time_option("start_at")?,
            ready_by: columns.time_option("ready_by")?,
        },
        connections: columns.get("connections")?,
        max_workers: columns.get("max_workers")?,
        force_download: columns.get("force_download")?,
        token_ref: columns.get("token_ref")?,
        hold_above: columns.get("hold_above")?,
        schedule: columns.parsed_option("schedule", |text| ScheduleId::parse(text).ok())?,
    };
    Ok(Job {
        id: columns.parsed("id", |text| JobId::parse(text).ok())?,
        row: key,
        owner: Owner {
            uid: columns.get("uid")?,
            user: columns.get("user")?,
        },
        spec,
        state: columns.parsed("state", JobState::parse)?,
        hold_reason: columns.parsed_option("hold_reason", HoldReason::parse)?,
        detail: columns.get("detail")?,
        next_attempt_at: columns.time_option("next_attempt_at")?,
        stuck_since: columns.time_option("stuck_since")?,
        commit: columns.parsed_option("commit_hash", CommitHash::parse)?,
        trust: columns.parsed_option("trust", Trust::parse)?,
        bytes_total: columns.get("bytes_total")?,
        bytes_expected: columns.get("bytes_expected")?,
        difference: columns.difference()?,
        bytes_done: columns.get("bytes_done")?,
        bytes_reused: columns.get("bytes_reused")?,
        bytes_partial: columns.get("bytes_partial")?,
        files_total: columns.get("files_total")?,
        files_done: columns.get("files_done")?,
        created_at: columns.time("created_at")?,
        started_at: columns.time_option("started_at")?,
        ended_at: columns.time_option("ended_at")?,
        failure: columns.failure()?,
    })
}

/// A schedule from `SELECT * FROM schedules`.
pub(super) fn schedule(row: &Row<'_>) -> Result<Schedule, StoreError> {
    let key: i64 = row.get("row").act("read a key")?;
    let columns = Columns {
        row,
        table: "schedules",
        key: key.to_string(),
    };
    Ok(Schedule {
        id: columns.parsed("id", |text| ScheduleId::parse(text).ok())?,
        row: key,
        owner: Owner {
            uid: columns.get("uid")?,
            user: columns.get("user")?,
        },
        pull: Pull {
            repo_id: columns.parsed("repo_id", |text| RepoId::parse(text).ok())?,
            kind: columns.parsed("kind", RepoKind::parse)?,
            revision: columns.parsed("revision", |text| Revision::parse(text).ok())?,
            terms: columns.json("terms")?,
        },
        cron: columns.get("cron")?,
        timezone: columns.get("timezone")?,
        keep: columns.get("keep")?,
        token_ref: columns.get("token_ref")?,
        paused: columns.get("paused")?,
        settled_until: columns.time("settled_until")?,
        created_at: columns.time("created_at")?,
    })
}

/// A run of a schedule, with its job's row as it is now where there is one.
pub(super) fn run(row: &Row<'_>) -> Result<ScheduleRun, StoreError> {
    let key: i64 = row.get("row").act("read a key")?;
    let columns = Columns {
        row,
        table: "schedule_runs",
        key: key.to_string(),
    };
    Ok(ScheduleRun {
        due_at: columns.time_option("due_at")?,
        ran_at: columns.time("ran_at")?,
        outcome: columns.parsed("outcome", RunOutcome::parse)?,
        detail: columns.get("detail")?,
        job: columns.parsed_option("job_id", |text| JobId::parse(text).ok())?,
        state: columns.parsed_option("state", JobState::parse)?,
        commit: columns.get("commit_hash")?,
        difference: columns.difference()?,
    })
}

/// A file from `SELECT * FROM files`.
pub(super) fn file(row: &Row<'_>) -> Result<FileRecord, StoreError> {
    let key: i64 = row.get("id").act("read a key")?;
    let columns = Columns {
        row,
        table: "files",
        key: key.to_string(),
    };
    Ok(FileRecord {
        id: FileId(key),
        path: columns.parsed("path", |text| RepoPath::parse(text).ok())?,
        size: columns.get("size")?,
        digest: columns.parsed("digest", Digest::parse)?,
        state: columns.parsed("state", FileState::parse)?,
        reused: columns.get("reused")?,
        failure: columns.failure()?,
    })
}

/// An event from `SELECT * FROM events`.
pub(super) fn event(row: &Row<'_>) -> Result<Event, StoreError> {
    let key: i64 = row.get("seq").act("read a key")?;
    let columns = Columns {
        row,
        table: "events",
        key: key.to_string(),
    };
    Ok(Event {
        seq: EventSeq(columns.get("seq")?),
        at: columns.time("at")?,
        job_id: columns.parsed("job_id", |text| JobId::parse(text).ok())?,
        repo_id: columns.get("repo_id")?,
        repo_kind: columns.parsed("repo_kind", RepoKind::parse)?,
        uid: columns.get("uid")?,
        user: columns.get("user")?,
        what: NewEvent {
            kind: columns.parsed("kind", EventKind::parse)?,
            state: columns.parsed("state", JobState::parse)?,
            hold_reason: columns.parsed_option("hold_reason", HoldReason::parse)?,
            failure: columns.failure()?,
            file: columns.get("file")?,
            detail: columns.get("detail")?,
            commit: columns.get("commit_hash")?,
            bytes: columns.get("bytes")?,
        },
    })
}

pub(super) fn known_plan(row: &Row<'_>) -> Result<KnownPlan, StoreError> {
    let number: i64 = row.get("row").act("read a column")?;
    let columns = Columns {
        row,
        table: "jobs",
        key: number.to_string(),
    };
    Ok(KnownPlan {
        row: number,
        commit: columns.parsed("commit_hash", CommitHash::parse)?,
        asked_at: columns.time("planned_at")?,
        trust: columns.parsed("trust", Trust::parse)?,
        files: columns.get("files_total")?,
        bytes: columns.get("bytes_total")?,
    })
}
