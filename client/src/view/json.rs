//! The JSON that scripts read. Structs, so that keys keep their order and none is forgotten; absent values are null, times
//! RFC 3339 in UTC, sizes bytes, rates bytes per second, durations seconds.

mod beside;
pub(crate) mod cache;
mod changes;
mod difference;
mod endpoints;
mod forecast;
mod identity;
mod parts;
mod routes;
mod server;

use hfetch_proto::v1::{self, Event, Job, ProgressSample};
use jiff::Timestamp;
use serde::Serialize;

use self::parts::{failure, present, time};
use super::{human, words};

/// Why a job failed.
#[derive(Debug, Serialize)]
pub(crate) struct FailureJson {
    kind: String,
    message: String,
    hint: Option<String>,
}

/// One job.
#[derive(Debug, Serialize)]
pub(crate) struct JobJson {
    id: String,
    repo_id: String,
    repo_type: &'static str,
    revision: String,
    commit: Option<String>,
    state: &'static str,
    reason: Option<&'static str>,
    priority: &'static str,
    user: String,
    bytes_total: u64,
    bytes_done: u64,
    bytes_per_sec: u64,
    eta_sec: Option<u64>,
    files_total: u64,
    files_done: u64,
    path: Option<String>,
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    failure: Option<FailureJson>,
    detail: Option<String>,
    files: FilesJson,
    include: Vec<String>,
    exclude: Vec<String>,
    local_dir: Option<String>,
    cache_dir: Option<String>,
    endpoints: Vec<String>,
    bytes_reused: u64,
    next_attempt_at: Option<Timestamp>,
    trust: Option<String>,
    uid: u32,
    limit: Option<u64>,
    window: Option<String>,
    start_at: Option<Timestamp>,
    #[serde(flatten)]
    forecast: ForecastJson,
    #[serde(flatten)]
    difference: DifferenceJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Vec<JobRouteJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<bool>,
}

/// The names that were asked for, or, with `show --files`, what became of every file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum FilesJson {
    Asked(Vec<String>),
    Listed(Vec<FileJson>),
}

/// One file of a job.
#[derive(Debug, Serialize)]
pub(crate) struct FileJson {
    path: String,
    size: u64,
    digest: Option<String>,
    state: &'static str,
    bytes_done: u64,
    reused: bool,
    failure: Option<FailureJson>,
}

/// One page of `list`.
#[derive(Debug, Serialize)]
pub(crate) struct ListJson {
    pub(crate) jobs: Vec<JobJson>,
    pub(crate) next_page_token: Option<String>,
}

/// What a submit would do.
#[derive(Debug, Serialize)]
pub(crate) struct PlanJson {
    repo_id: String,
    repo_type: &'static str,
    commit: Option<String>,
    path: Option<String>,
    files: Vec<FileJson>,
    bytes_total: u64,
    bytes_to_fetch: u64,
    disk_free: u64,
    warnings: Vec<String>,
    failure: Option<FailureJson>,
}

/// One line of `watch --json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum WatchJson {
    /// A job as it was when the watch began.
    Job { job: Box<JobJson> },
    /// The snapshot is complete; events after this number follow.
    Ready { seq: u64 },
    /// Something happened.
    Event(Box<EventJson>),
    /// A sample of a moving job.
    Progress(ProgressJson),
}

/// One event.
#[derive(Debug, Serialize)]
pub(crate) struct EventJson {
    seq: u64,
    time: Option<Timestamp>,
    event: &'static str,
    job: String,
    repo_id: String,
    repo_type: &'static str,
    user: String,
    state: &'static str,
    reason: Option<&'static str>,
    failure: Option<FailureJson>,
    file: Option<String>,
    detail: Option<String>,
    commit: Option<String>,
    bytes: Option<u64>,
}

/// One sample.
#[derive(Debug, Serialize)]
pub(crate) struct ProgressJson {
    job: String,
    bytes_done: u64,
    bytes_total: u64,
    bytes_per_sec: u64,
    eta_sec: Option<u64>,
    files_done: u64,
    files_total: u64,
    connections: u32,
    detail: Option<String>,
}

/// One alias.
#[derive(Debug, Serialize)]
pub(crate) struct AliasJson {
    name: String,
    target: String,
    source: &'static str,
}

/// One result of a search.
#[derive(Debug, Serialize)]
pub(crate) struct RepoJson {
    repo_id: String,
    repo_type: &'static str,
    bytes: Option<u64>,
    downloads: u64,
    likes: u64,
    gated: bool,
    task: Option<String>,
}

impl JobJson {
    /// A job object.
    pub(crate) fn new(job: Job) -> JobJson {
        let (state, reason) = (job.state(), words::reason_of(job.state(), job.hold_reason()));
        JobJson {
            difference: DifferenceJson::of(&job),
            repo_type: words::repo_type(job.repo_type()),
            priority: words::priority(job.priority()),
            state: words::state(state),
            reason,
            id: job.id,
            repo_id: job.repo_id,
            revision: job.revision,
            commit: present(job.commit),
            user: job.user,
            bytes_total: job.bytes_total,
            bytes_done: job.bytes_done,
            bytes_per_sec: job.bytes_per_sec,
            eta_sec: job.eta_sec,
            files_total: job.files_total,
            files_done: job.files_done,
            path: present(job.path),
            created_at: time(job.created_at),
            started_at: time(job.started_at),
            ended_at: time(job.ended_at),
            failure: job.failure.map(failure),
            detail: present(job.detail),
            files: FilesJson::Asked(job.files),
            include: job.include,
            exclude: job.exclude,
            local_dir: present(job.local_dir),
            cache_dir: present(job.cache_dir),
            endpoints: job.endpoints,
            bytes_reused: job.bytes_reused,
            next_attempt_at: time(job.next_attempt_at),
            trust: present(job.trust),
            uid: job.uid,
            limit: job.limit_bytes_per_sec,
            window: present(job.window),
            start_at: time(job.start_at),
            forecast: ForecastJson::new(job.ready_by, job.forecast_at, job.late, job.forecast),
            routes: None,
            existing: None,
        }
    }
}

impl FileJson {
    fn new(file: v1::File) -> FileJson {
        FileJson {
            state: words::file_state(file.state()),
            path: file.path,
            size: file.size,
            digest: present(file.digest),
            bytes_done: file.bytes_done,
            reused: file.reused,
            failure: file.failure.map(failure),
        }
    }
}

impl PlanJson {
    /// The answer of `--dry-run`.
    pub(crate) fn new(plan: v1::PlanJobResponse) -> PlanJson {
        PlanJson {
            repo_type: words::repo_type(plan.repo_type()),
            repo_id: plan.repo_id,
            commit: present(plan.commit),
            path: present(plan.path),
            files: plan.files.into_iter().map(FileJson::new).collect(),
            bytes_total: plan.bytes_total,
            bytes_to_fetch: plan.bytes_to_fetch,
            disk_free: plan.disk_free,
            warnings: plan.warnings,
            failure: plan.failure.map(failure),
        }
    }
}

impl WatchJson {
    /// A line about a job as it is now.
    pub(crate) fn job(job: Job) -> WatchJson {
        WatchJson::Job {
            job: Box::new(JobJson::new(job)),
        }
    }

    /// A line about an event.
    pub(crate) fn event(event: Event) -> WatchJson {
        WatchJson::Event(Box::new(EventJson {
            event: words::event_type(event.r#type()),
            repo_type: words::repo_type(event.repo_type()),
            state: words::state(event.state()),
            reason: words::reason_of(event.state(), event.hold_reason()),
            seq: event.seq,
            time: time(event.time),
            job: event.job_id,
            repo_id: event.repo_id,
            user: event.user,
            failure: event.failure.map(failure),
            file: present(event.file),
            detail: present(event.detail),
            commit: present(event.commit),
            bytes: (event.bytes > 0).then_some(event.bytes),
        }))
    }

    /// A line about a sample.
    pub(crate) fn progress(sample: ProgressSample) -> WatchJson {
        WatchJson::Progress(ProgressJson {
            job: sample.job_id,
            bytes_done: sample.bytes_done,
            bytes_total: sample.bytes_total,
            bytes_per_sec: sample.bytes_per_sec,
            eta_sec: sample.eta_sec,
            files_done: sample.files_done,
            files_total: sample.files_total,
            connections: sample.connections,
            detail: present(sample.detail),
        })
    }
}

impl AliasJson {
    /// An alias object.
    pub(crate) fn new(alias: v1::Alias) -> AliasJson {
        AliasJson {
            source: words::name_source(alias.source()),
            name: alias.name,
            target: alias.target,
        }
    }
}

impl RepoJson {
    /// A repository object.
    pub(crate) fn new(repo: v1::RepoSummary) -> RepoJson {
        RepoJson {
            repo_type: words::repo_type(repo.repo_type()),
            repo_id: repo.repo_id,
            bytes: repo.bytes,
            downloads: repo.downloads,
            likes: repo.likes,
            gated: repo.gated,
            task: present(repo.task),
        }
    }
}

#[cfg(test)]
mod tests;

pub(crate) use changes::{BackupJson, LogoutJson, ReloadJson, RemovedAliasJson, StoppedJson};
use difference::DifferenceJson;
pub(crate) use endpoints::{EndpointJson, ProbeJson};
use forecast::ForecastJson;
pub(crate) use identity::IdentityJson;
pub(crate) use routes::ExplanationJson;
use routes::JobRouteJson;
pub(crate) use server::ServerJson;
