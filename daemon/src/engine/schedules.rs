//! Recurring pulls as users have them: added, looked at, paused, removed, run at once. When they run by themselves is in `pulls`.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Engine,
    error::CallError,
    pulls,
    shared::Shared,
    submit::{self, Wish},
    timing,
};
use crate::{
    config::Mode,
    model::{JobId, Owner, Pull, Schedule, ScheduleRun, Terms, Token},
    names::Reference,
    sched::cron::Expression,
    store::{NewSchedule, Scope, StoreError},
};

/// Schedules of one user.
const MOST: usize = 1000;
/// Next times, and last results, that are told of one schedule.
const TOLD: usize = 5;
const RESULTS: u32 = 10;
/// Earlier revisions that can be kept by number; who wants more keeps all.
const MOST_KEPT: u32 = 10_000;

/// A schedule that is asked for.
#[derive(Debug, Clone)]
pub struct AddSchedule {
    /// Who.
    pub owner: Owner,
    /// What each run pulls.
    pub wish: Wish,
    /// When.
    pub cron: String,
    /// On which clock; empty: that of windows.
    pub timezone: String,
    /// Earlier revisions that stay.
    pub keep: Option<u32>,
    /// The caller's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
}

/// A schedule with what comes and what was.
#[derive(Debug, Clone)]
pub struct ScheduleView {
    /// It.
    pub schedule: Schedule,
    /// IANA name of the clock that counts.
    pub timezone: String,
    /// The next times; none when it is paused.
    pub next: Vec<Timestamp>,
    /// The last runs, newest first.
    pub last: Vec<ScheduleRun>,
}

/// The clock of a schedule.
pub(super) fn zone_of(shared: &Shared, schedule: &Schedule) -> TimeZone {
    let named = schedule.timezone.as_deref().and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(|| timing::zone(&shared.config()))
}

/// The wish that each run of a schedule is.
pub(super) fn wish_of(schedule: &Schedule) -> Wish {
    let Pull {
        repo_id,
        kind,
        revision,
        terms,
    } = schedule.pull.clone();
    Wish {
        name: repo_id.to_string(),
        resolved: Some(Reference {
            kind: Some(kind),
            revision: Some(revision),
            ..Reference::bare(repo_id)
        }),
        kind: Some(kind),
        selection: terms.selection,
        cache_dir: terms.cache_dir,
        local_dir: terms.local_dir,
        endpoints: terms.endpoints,
        priority: terms.priority,
        limit: terms.limit,
        window: terms.window,
        hold_above: terms.hold_above,
        connections: terms.connections,
        max_workers: terms.max_workers,
        preferred_cache_dir: terms.preferred_cache_dir,
        preferred_endpoint: terms.preferred_endpoint,
        ..Wish::default()
    }
}

/// What makes no sense for something that recurs.
fn check_terms(call: &AddSchedule) -> Result<(), CallError> {
    let wish = &call.wish;
    let times = wish.start_at.is_some() || wish.ready_by.is_some();
    if times || wish.force_download {
        let text = "start_at, ready_by and force_download are for single jobs";
        return Err(CallError::invalid("spec", text));
    }
    match call.keep {
        Some(_) if !wish.local_dir.is_empty() => {
            let text = "a local directory holds one revision: there is none to keep";
            Err(CallError::invalid("keep_revisions", text))
        }
        Some(keep) if keep > MOST_KEPT => {
            let text = format!("must be at most {MOST_KEPT}; without it all stay");
            Err(CallError::invalid("keep_revisions", text))
        }
        _ => Ok(()),
    }
}

impl Engine {
    async fn view(&self, schedule: Schedule, next: usize, results: u32) -> Result<ScheduleView, CallError> {
        let zone = zone_of(&self.shared, &schedule);
        let last = self.shared.store.runs_of(schedule.row, results).await?;
        let upcoming = match Expression::parse(&schedule.cron) {
            Ok(expression) if !schedule.paused => {
                let after = schedule.settled_until.max(self.shared.clock.now());
                expression.upcoming(&zone, after).take(next).collect()
            }
            Ok(_) | Err(_) => Vec::new(),
        };
        Ok(ScheduleView {
            timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
            next: upcoming,
            last,
            schedule,
        })
    }

    async fn find_schedule(&self, scope: Scope, text: &str) -> Result<Schedule, CallError> {
        let unknown = |_| StoreError::NoSuchSchedule(text.chars().take(40).collect());
        let prefix = JobId::parse_prefix(text).map_err(unknown)?;
        Ok(self.shared.store.find_schedule(scope, prefix).await?)
    }

    /// Adds a schedule; the same once more is the one that is there. With warnings for people.
    ///
    /// # Errors
    /// With the field that is wrong.
    pub async fn add_schedule(&self, call: AddSchedule) -> Result<(ScheduleView, bool, Vec<String>), CallError> {
        let shared = &self.shared;
        Expression::parse(&call.cron).map_err(|bad| CallError::invalid("cron", bad))?;
        let timezone = (!call.timezone.is_empty()).then(|| call.timezone.clone());
        if let Some(name) = &timezone {
            let unknown =
                |_| CallError::invalid("timezone", format!("`{name}` is no IANA name, such as Asia/Shanghai"));
            TimeZone::get(name).map_err(unknown)?;
        }
        check_terms(&call)?;
        let scope = Scope::Uid(call.owner.uid);
        if shared.store.schedules(scope).await?.len() >= MOST {
            return Err(CallError::invalid(
                "spec",
                format!("a user has at most {MOST} schedules"),
            ));
        }
        let wish = call.wish.clone();
        // What the user has left with the daemon is looked for at each run.
        let (checked, _) =
            submit::check_with_token(shared, self.mode, &call.owner, wish.clone(), call.token, true).await?;
        let terms = Terms {
            selection: checked.spec.selection,
            cache_dir: wish.cache_dir,
            local_dir: wish.local_dir,
            endpoints: wish.endpoints,
            priority: wish.priority,
            connections: wish.connections,
            max_workers: wish.max_workers,
            limit: wish.limit,
            window: wish.window,
            hold_above: wish.hold_above,
            preferred_cache_dir: wish.preferred_cache_dir,
            preferred_endpoint: wish.preferred_endpoint,
            no_login: call.no_login,
            remote: self.mode == Mode::System && shared.mode == Mode::User,
        };
        let new = NewSchedule {
            owner: call.owner,
            pull: Pull {
                repo_id: checked.spec.repo_id,
                kind: checked.spec.kind,
                revision: checked.spec.revision,
                terms,
            },
            cron: call.cron,
            timezone,
            keep: call.keep,
            token_ref: checked.spec.token_ref,
            now: shared.clock.now(),
        };
        let (schedule, existing) = shared.store.add_schedule(new).await?;
        shared.schedules_changed.notify_one();
        Ok((self.view(schedule, TOLD, RESULTS).await?, existing, checked.warnings))
    }

    /// All schedules of a scope, each with its next time and its last run.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn schedules(&self, scope: Scope) -> Result<Vec<ScheduleView>, CallError> {
        let mut views = Vec::new();
        for schedule in self.shared.store.schedules(scope).await? {
            views.push(self.view(schedule, 1, 1).await?);
        }
        Ok(views)
    }

    /// One schedule.
    ///
    /// # Errors
    /// When there is none of this id, or it is another user's.
    pub async fn schedule(&self, scope: Scope, id: &str) -> Result<ScheduleView, CallError> {
        let schedule = self.find_schedule(scope, id).await?;
        self.view(schedule, TOLD, RESULTS).await
    }

    /// Stops a schedule, or lets it run again from now on.
    ///
    /// # Errors
    /// When there is none of this id, or it is another user's.
    pub async fn pause_schedule(&self, scope: Scope, id: &str, paused: bool) -> Result<ScheduleView, CallError> {
        let shared = &self.shared;
        let id = self.find_schedule(scope, id).await?.id;
        let now = shared.clock.now();
        let schedule = shared.store.pause_schedule(scope, &id, paused, now).await?;
        shared.schedules_changed.notify_one();
        self.view(schedule, TOLD, RESULTS).await
    }

    /// Removes a schedule; gives it as it was. Its jobs stay.
    ///
    /// # Errors
    /// When there is none of this id, or it is another user's.
    pub async fn remove_schedule(&self, scope: Scope, id: &str) -> Result<ScheduleView, CallError> {
        let view = self.schedule(scope, id).await?;
        self.shared.store.remove_schedule(scope, &view.schedule.id).await?;
        self.shared.schedules_changed.notify_one();
        Ok(view)
    }

    /// Runs a schedule at once. Gives its owner's job, or why there is none.
    ///
    /// # Errors
    /// When there is none of this id, or it is another user's.
    pub async fn run_schedule(&self, scope: Scope, id: &str) -> Result<ScheduleRun, CallError> {
        let schedule = self.find_schedule(scope, id).await?;
        let name = schedule.id.to_string();
        let run = pulls::run_once(&self.shared, schedule, None).await?;
        run.ok_or_else(|| StoreError::NoSuchSchedule(name).into())
    }
}
