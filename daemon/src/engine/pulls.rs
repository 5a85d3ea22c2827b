//! When schedules run, and what a run comes to. One timer for all of them; a run asks the Hub for the commit, and only if that is
//! another one than before is there a job.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::broadcast::error::RecvError,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Events,
    access::{self, TokenRule},
    error::CallError,
    keep, login,
    renew::keep_token,
    schedules::{wish_of, zone_of},
    shared::{EndpointAccess, Shared, blocking},
    stop::chain,
    submit,
    timing::{self, May, may_run},
    upkeep::STORE_RETRY,
};
use crate::{
    config::{Config, Mode},
    hub::{Endpoint, Verdict, classify},
    model::{
        CommitHash, Destination, EventKind, JobId, JobSpec, JobState, Pacing, RunOutcome, Schedule, ScheduleRun, Token,
        Trust,
    },
    sched::cron::Expression,
    store::{NewJob, NewRun, RunWish, Scope, StoreError},
    tokens::BoundToken,
};

/// An endpoint that does not name the commit within this time is not waited for: the job asks again, and is patient.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a schedule does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It runs now; it was due then.
    Run(Timestamp),
    /// Nothing before then.
    Wait(Timestamp),
    /// Nothing at all.
    Never,
}

/// When a schedule runs: at the first time that is not settled, or when its window opens after that. However many times were
/// missed, it runs once.
fn next(shared: &Shared, config: &Config, schedule: &Schedule, now: Timestamp) -> Next {
    if schedule.paused {
        return Next::Never;
    }
    let expression = match Expression::parse(&schedule.cron) {
        Ok(expression) => expression,
        Err(error) => {
            tracing::error!(schedule = %schedule.id, %error, "a stored schedule");
            return Next::Never;
        }
    };
    let Some(due_at) = expression.next_after(&zone_of(shared, schedule), schedule.settled_until) else {
        return Next::Never;
    };
    if due_at > now {
        return Next::Wait(due_at);
    }
    let window = &schedule.pull.terms.window;
    // A window that is gone is a reason to be told of, not one to wait.
    if window.is_empty() || timing::periods(config, window).is_err() {
        return Next::Run(due_at);
    }
    let pacing = Pacing {
        window: Some(window.clone()),
        ..Pacing::default()
    };
    match may_run(config, &pacing, now) {
        May::Run(_) => Next::Run(due_at),
        May::Wait(until, _) => Next::Wait(until),
    }
}

/// Runs what is due until the token is cancelled. A run that is cut off then is still due at the next start.
pub(super) async fn run(shared: Arc<Shared>, mut events: Events, stop: CancellationToken) {
    let mut config = shared.config.clone();
    config.mark_unchanged();
    let mut runs: JoinSet<i64> = JoinSet::new();
    // One after the other in a repository: what one leaves, the next one looks at.
    let mut tidying: JoinSet<()> = JoinSet::new();
    let mut running: HashSet<i64> = HashSet::new();
    let (mut look, mut tidy_all, mut ended) = (true, true, Vec::new());
    let (mut wake, mut retry) = (None, None);
    loop {
        if std::mem::take(&mut look) {
            (wake, retry) = match start_due(&shared, &mut runs, &mut running).await {
                Ok(wake) => (wake, None),
                Err(error) => {
                    tracing::error!(%error, "schedules cannot be read");
                    (None, Some(Instant::now() + STORE_RETRY))
                }
            };
        }
        if tidying.is_empty() && (tidy_all || !ended.is_empty()) {
            let (shared, all, some) = (
                shared.clone(),
                std::mem::take(&mut tidy_all),
                std::mem::take(&mut ended),
            );
            tidying.spawn(async move { keep::tidy(&shared, all, some).await });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.schedules_changed.notified() => look = true,
            () = shared.clock.reaches_if(wake) => look = true,
            Ok(()) = config.changed() => look = true,
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => look = true,
            Some(ran) = runs.join_next() => {
                match ran {
                    Ok(row) => drop(running.remove(&row)),
                    Err(error) => {
                        tracing::error!(%error, "a run of a schedule ended badly");
                        running.clear();
                    }
                }
                look = true;
            }
            Some(_) = tidying.join_next() => {}
            heard = events.recv() => match heard {
                Ok(event) if event.what.kind == EventKind::StateChanged && event.what.state == JobState::Done => {
                    ended.push(event.job_id.clone());
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => tidy_all = true,
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Begins what is due and tells when the next one is.
async fn start_due(
    shared: &Arc<Shared>,
    runs: &mut JoinSet<i64>,
    running: &mut HashSet<i64>,
) -> Result<Option<Timestamp>, StoreError> {
    let (config, now) = (shared.config(), shared.clock.now());
    let mut wake: Option<Timestamp> = None;
    for schedule in shared.store.schedules(Scope::All).await? {
        if running.contains(&schedule.row) {
            continue;
        }
        match next(shared, &config, &schedule, now) {
            Next::Run(due_at) => {
                running.insert(schedule.row);
                let shared = shared.clone();
                runs.spawn(async move {
                    let (row, id) = (schedule.row, schedule.id.clone());
                    if let Err(error) = run_once(&shared, schedule, Some(due_at)).await {
                        tracing::error!(schedule = %id, error = chain(&error), "a schedule cannot run");
                        // It is still due: not at once again.
                        tokio::time::sleep(STORE_RETRY).await;
                    }
                    row
                });
            }
            Next::Wait(until) => wake = Some(wake.map_or(until, |known| known.min(until))),
            Next::Never => {}
        }
    }
    Ok(wake)
}

/// Decides on a run and writes it. `None`: it is not due any more.
pub(super) async fn run_once(
    shared: &Arc<Shared>,
    schedule: Schedule,
    due_at: Option<Timestamp>,
) -> Result<Option<ScheduleRun>, CallError> {
    let now = shared.clock.now();
    let wish = decide(shared, &schedule, now).await?;
    let (id, repo) = (schedule.id.clone(), schedule.pull.repo_id.clone());
    let run = NewRun {
        schedule,
        due_at,
        now,
        wish,
    };
    let run = shared.store.run_schedule(run).await?;
    if let Some(run) = &run {
        let job = run.job.as_ref().map(JobId::as_str).unwrap_or_default();
        tracing::info!(schedule = %id, %repo, outcome = run.outcome.as_str(), job, detail = run.detail, "ran");
    }
    Ok(run)
}

/// What a run shall come to.
async fn decide(shared: &Arc<Shared>, schedule: &Schedule, now: Timestamp) -> Result<RunWish, CallError> {
    let terms = &schedule.pull.terms;
    let mode = if terms.remote { Mode::System } else { shared.mode };
    let checked = match submit::check(shared, mode, &schedule.owner, wish_of(schedule)).await {
        Ok(checked) => checked,
        // The configuration has changed since.
        Err(error @ (CallError::InvalidArgument { .. } | CallError::NotAllowed(_))) => {
            return Ok(RunWish::None {
                outcome: RunOutcome::Refused,
                detail: error.to_string(),
                commit: String::new(),
            });
        }
        Err(error) => return Err(error),
    };
    let (config, rule) = (shared.config(), TokenRule::new(mode, &terms.preferred_endpoint));
    let (token_ref, token) = token(shared, &config, &rule, &checked.endpoints, schedule).await?;
    let mut spec = checked.spec;
    spec.token_ref = token_ref;
    spec.schedule = Some(schedule.id.clone());
    let mut makes = None;
    // Outside its window nobody is asked for anything; a user may run it all the same, and the job waits.
    if matches!(may_run(&config, &spec.pacing, now), May::Run(_)) {
        let endpoints = access::for_caller(shared, &rule, checked.endpoints, schedule.owner.uid, token);
        if let Some(commit) = commit_now(shared, &endpoints, &spec).await {
            let place = place_of(&spec, &commit);
            let there = blocking(move || Path::is_dir(&place)).await;
            let before = shared.store.pulled(schedule.row).await?.into_iter().next();
            if there && before.is_some_and(|(before, _)| before == commit) {
                return Ok(RunWish::None {
                    outcome: RunOutcome::Unchanged,
                    detail: format!("{} still means the same commit", spec.revision),
                    commit: commit.to_string(),
                });
            }
            makes = (!there && matches!(spec.destination, Destination::Cache(_))).then_some(commit);
        }
    }
    let job = Box::new(NewJob {
        max_queued: config.users.of(&schedule.owner.user).max_queued,
        owner: schedule.owner.clone(),
        spec,
        bytes_expected: 0,
        request: None,
        held: None,
    });
    Ok(RunWish::Job { job, makes })
}

/// Where a commit lies when it is there.
fn place_of(spec: &JobSpec, commit: &CommitHash) -> PathBuf {
    match &spec.destination {
        Destination::LocalDir(path) => path.clone(),
        Destination::Cache(cache) => {
            let repo = cache.join(spec.repo_id.folder(spec.kind));
            repo.join("snapshots").join(commit.as_str())
        }
    }
}

/// The token of a run: the schedule's own, else the one that its owner has left with the daemon. With the reference to it.
async fn token(
    shared: &Arc<Shared>,
    config: &Config,
    rule: &TokenRule,
    endpoints: &[Endpoint],
    schedule: &Schedule,
) -> Result<(Option<String>, Option<Token>), CallError> {
    let uid = schedule.owner.uid;
    let Some(origin) = access::token_origin(config, rule, endpoints) else {
        return Ok((None, None));
    };
    if let Some(reference) = schedule.token_ref.clone() {
        let (tokens, name) = (shared.tokens.clone(), reference.clone());
        let read = blocking(move || tokens.get(uid, &name)).await;
        let bound = read.unwrap_or_else(|error| {
            tracing::error!(schedule = %schedule.id, error = chain(&error), "a schedule's token cannot be read");
            None
        });
        let token = bound.filter(|bound| bound.origin == origin).map(|bound| bound.token);
        return Ok((Some(reference), token));
    }
    if schedule.pull.terms.no_login {
        return Ok((None, None));
    }
    let Some(token) = login::kept(shared, uid, origin.clone()).await else {
        return Ok((None, None));
    };
    let bound = BoundToken {
        origin,
        token: token.clone(),
    };
    Ok((Some(keep_token(shared, uid, bound).await?), Some(token)))
}

/// The commit that the revision means now, in the word of the Hub before that of mirrors. `None`: nobody says, or the Hub says
/// no; the job will find out.
async fn commit_now(shared: &Shared, endpoints: &[EndpointAccess], spec: &JobSpec) -> Option<CommitHash> {
    if let Some(commit) = spec.revision.as_commit() {
        return Some(commit);
    }
    let (origins, mirrors): (Vec<_>, Vec<_>) = endpoints.iter().partition(|access| access.trust == Trust::Origin);
    for access in origins.into_iter().chain(mirrors) {
        let (endpoint, token) = (&access.endpoint, access.token.as_ref());
        let asked = shared
            .hub
            .info(endpoint, token, spec.kind, &spec.repo_id, &spec.revision);
        match timeout(PATIENCE, asked).await {
            Ok(Ok(info)) => return Some(info.commit),
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %endpoint.host(), error = chain(&error), "the commit is not known");
                if access.trust == Trust::Origin && matches!(classify(&error), Verdict::Permanent(_)) {
                    return None;
                }
            }
            Err(_) => tracing::debug!(endpoint = %endpoint.host(), "the commit was not told in time"),
        }
    }
    None
}
