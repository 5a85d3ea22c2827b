//! Recurring pulls for people and for scripts.

use hfetch_proto::v1::{JobState, RunOutcome, Schedule, ScheduleRun};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::details::Lines;
use super::table::{plain, render};
use super::{Out, human, words};

/// One schedule.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleJson {
    id: String,
    repo_id: String,
    repo_type: &'static str,
    revision: String,
    cron: String,
    timezone: String,
    paused: bool,
    next_runs: Vec<Timestamp>,
    last_runs: Vec<RunJson>,
    window: Option<String>,
    priority: &'static str,
    limit: Option<String>,
    keep: Option<u32>,
    hold_above: Option<String>,
    files: Vec<String>,
    include: Vec<String>,
    exclude: Vec<String>,
    local_dir: Option<String>,
    cache_dir: Option<String>,
    endpoints: Vec<String>,
    user: String,
    uid: u32,
    created_at: Option<Timestamp>,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct RunJson {
    due_at: Option<Timestamp>,
    ran_at: Option<Timestamp>,
    outcome: &'static str,
    detail: Option<String>,
    job: Option<String>,
    state: Option<&'static str>,
    commit: Option<String>,
    files_to_fetch: Option<u64>,
    bytes_to_fetch: Option<u64>,
}

fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl ScheduleJson {
    /// A schedule object.
    pub(crate) fn new(schedule: Schedule) -> ScheduleJson {
        let repo_type = words::repo_type(schedule.repo_type());
        let spec = schedule.spec.unwrap_or_default();
        ScheduleJson {
            id: schedule.id,
            repo_id: schedule.repo_id,
            repo_type,
            revision: schedule.revision,
            cron: schedule.cron,
            timezone: schedule.timezone,
            paused: schedule.paused,
            next_runs: schedule
                .next_runs
                .iter()
                .filter_map(|at| human::time(Some(at)))
                .collect(),
            last_runs: schedule.last_runs.into_iter().map(RunJson::new).collect(),
            priority: words::priority(spec.priority()),
            window: said(spec.window),
            limit: said(spec.limit),
            keep: schedule.keep_revisions,
            hold_above: said(spec.hold_above),
            files: spec.files,
            include: spec.include,
            exclude: spec.exclude,
            local_dir: said(spec.local_dir),
            cache_dir: said(spec.cache_dir),
            endpoints: spec.endpoints,
            user: schedule.user,
            uid: schedule.uid,
            created_at: human::time(schedule.created_at.as_ref()),
        }
    }
}

impl RunJson {
    /// A run object.
    pub(crate) fn new(run: ScheduleRun) -> RunJson {
        let (outcome, state) = (run.outcome(), run.job_state());
        RunJson {
            due_at: human::time(run.due_at.as_ref()),
            ran_at: human::time(run.ran_at.as_ref()),
            outcome: word(outcome),
            state: (outcome == RunOutcome::Job).then(|| words::state(state)),
            detail: said(run.detail),
            job: said(run.job_id),
            commit: said(run.commit),
            files_to_fetch: run.files_to_fetch,
            bytes_to_fetch: run.bytes_to_fetch,
        }
    }
}

fn word(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Unspecified => "unknown",
        RunOutcome::Job => "job",
        RunOutcome::Unchanged => "unchanged",
        RunOutcome::Overlap => "overlap",
        RunOutcome::Refused => "refused",
    }
}

/// A moment on the clock of a schedule.
fn on_its_clock(at: Timestamp, timezone: &str) -> String {
    let zone = TimeZone::get(timezone).unwrap_or_else(|_| TimeZone::system());
    at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

fn first_time(schedule: &Schedule) -> Option<String> {
    let next = human::time(schedule.next_runs.first())?;
    Some(on_its_clock(next, &schedule.timezone))
}

/// `org/model runs next Sat 2026-08-01 00:30 CST`.
pub(crate) fn upcoming(schedule: &Schedule) -> String {
    let name = human::clean(&words::repo_name(schedule.repo_type(), &schedule.repo_id));
    match first_time(schedule) {
        Some(next) => format!("{name} runs next {next}"),
        None if schedule.paused => format!("{name} is paused"),
        None => format!("{name} runs never again"),
    }
}

/// What a run came to, in a few words.
fn result(run: &ScheduleRun) -> String {
    match run.outcome() {
        RunOutcome::Job => words::state(run.job_state()).to_owned(),
        other => word(other).to_owned(),
    }
}

/// Columns of `schedule list`. Users only when there are several.
pub(crate) fn list(out: &Out, schedules: &[Schedule]) -> String {
    let users = schedules.windows(2).any(|pair| pair[0].user != pair[1].user);
    let mut head = vec![("ID", false), ("CRON", false), ("NEXT", false), ("LAST", false)];
    head.extend(users.then_some(("USER", false)));
    head.push(("REPOSITORY", false));
    let rows = schedules.iter().map(|schedule| {
        let next = match first_time(schedule) {
            None if schedule.paused => "paused".to_owned(),
            next => next.unwrap_or_else(|| "never".to_owned()),
        };
        let last = schedule.last_runs.first().map_or_else(|| "-".to_owned(), result);
        let mut row = vec![plain(&schedule.id), plain(&schedule.cron), plain(&next), plain(&last)];
        if users {
            row.push(plain(&schedule.user));
        }
        row.push(plain(&words::repo_name(schedule.repo_type(), &schedule.repo_id)));
        row
    });
    render(out, &head, rows.collect())
}

/// `schedule show ID`: facts, the next times, the last results.
pub(crate) fn details(out: &Out, schedule: &Schedule) -> String {
    let spec = schedule.spec.clone().unwrap_or_default();
    let mut lines = Lines::default();
    lines.add("id", &schedule.id);
    lines.add("repository", &words::repo_name(schedule.repo_type(), &schedule.repo_id));
    lines.add("revision", &schedule.revision);
    lines.add("cron", &format!("{} ({})", schedule.cron, schedule.timezone));
    if schedule.paused {
        lines.add("state", "paused");
    }
    lines.add("window", &spec.window);
    lines.add("priority", words::priority(spec.priority()));
    lines.add("limit", &spec.limit);
    if let Some(keep) = schedule.keep_revisions {
        lines.add("keeps", &human::plural(keep.into(), "earlier revision"));
    }
    lines.add("hold above", &spec.hold_above);
    lines.add("files", &spec.files.join(" "));
    lines.add("include", &spec.include.join(" "));
    lines.add("exclude", &spec.exclude.join(" "));
    lines.add("local dir", &spec.local_dir);
    lines.add("cache dir", &spec.cache_dir);
    lines.add("endpoints", &spec.endpoints.join(" "));
    lines.add("user", &schedule.user);
    for (number, next) in schedule
        .next_runs
        .iter()
        .filter_map(|at| human::time(Some(at)))
        .enumerate()
    {
        let label = if number == 0 { "next runs" } else { "" };
        lines.add(label, &on_its_clock(next, &schedule.timezone));
    }
    let mut text = lines.text();
    if !schedule.last_runs.is_empty() {
        text.push_str(&format!("\n\n{}", results(out, schedule)));
    }
    text
}

fn results(out: &Out, schedule: &Schedule) -> String {
    let head = [
        ("RAN", false),
        ("RESULT", false),
        ("JOB", false),
        ("TO FETCH", true),
        ("WHY", false),
    ];
    let rows = schedule.last_runs.iter().map(|run| {
        let ran = human::time(run.ran_at.as_ref()).map(|at| on_its_clock(at, &schedule.timezone));
        let to_fetch = match (run.files_to_fetch, run.bytes_to_fetch) {
            (Some(files), Some(bytes)) => format!("{}, {}", human::plural(files, "file"), human::bytes(bytes)),
            _ => "-".to_owned(),
        };
        let job = if run.job_id.is_empty() { "-" } else { &run.job_id };
        let why = match run.outcome() {
            RunOutcome::Job if run.job_state() == JobState::Failed => "`hfctl show` of the job tells",
            RunOutcome::Job if run.due_at.is_none() => "asked for",
            RunOutcome::Job => "due",
            _ => run.detail.as_str(),
        };
        vec![
            plain(&ran.unwrap_or_default()),
            plain(&result(run)),
            plain(job),
            plain(&to_fetch),
            plain(why),
        ]
    });
    render(out, &head, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ColorArg;
    use hfetch_proto::v1::JobSpec;
    use prost_types::Timestamp as WireTime;

    fn schedule() -> Schedule {
        let at = |seconds| Some(WireTime { seconds, nanos: 0 });
        let run = |outcome: RunOutcome, seconds| ScheduleRun {
            ran_at: at(seconds),
            due_at: at(seconds),
            outcome: outcome.into(),
            ..ScheduleRun::default()
        };
        let mut job = run(RunOutcome::Job, 1_785_428_100);
        job.job_id = "5d2k8q0x1a".to_owned();
        job.set_job_state(JobState::Done);
        (job.files_to_fetch, job.bytes_to_fetch) = (Some(2), Some(3 << 30));
        let mut same = run(RunOutcome::Unchanged, 1_785_514_500);
        same.detail = "main still means the same commit".to_owned();
        Schedule {
            id: "7f3m2c9v4e".to_owned(),
            user: "ann".to_owned(),
            repo_id: "org/model".to_owned(),
            revision: "main".to_owned(),
            spec: Some(JobSpec {
                window: "night".to_owned(),
                hold_above: "50GiB".to_owned(),
                ..JobSpec::default()
            }),
            cron: "15 0 * * *".to_owned(),
            timezone: "Asia/Shanghai".to_owned(),
            keep_revisions: Some(1),
            next_runs: vec![
                WireTime {
                    seconds: 1_785_600_900,
                    nanos: 0,
                },
                WireTime {
                    seconds: 1_785_687_300,
                    nanos: 0,
                },
            ],
            last_runs: vec![same, job],
            ..Schedule::default()
        }
    }

    #[test]
    fn what_comes_and_what_was_is_told() {
        let out = Out::new(false, false, ColorArg::Never, false);
        insta::assert_snapshot!(details(&out, &schedule()), @r"
        id:            7f3m2c9v4e
        repository:    org/model
        revision:      main
        cron:          15 0 * * * (Asia/Shanghai)
        window:        night
        priority:      normal
        keeps:         1 earlier revision
        hold above:    50GiB
        user:          ann
        next runs:     Sun 2026-08-02 00:15 CST
                       Mon 2026-08-03 00:15 CST

        RAN                       RESULT     JOB                 TO FETCH  WHY
        Sat 2026-08-01 00:15 CST  unchanged  -                          -  main still means the same commit
        Fri 2026-07-31 00:15 CST  done       5d2k8q0x1a  2 files, 3.0 GiB  due
        ");
        insta::assert_snapshot!(list(&out, &[schedule()]), @r"
        ID          CRON        NEXT                      LAST       REPOSITORY
        7f3m2c9v4e  15 0 * * *  Sun 2026-08-02 00:15 CST  unchanged  org/model
        ");
        let paused = Schedule {
            paused: true,
            next_runs: Vec::new(),
            ..schedule()
        };
        assert_eq!(upcoming(&paused), "org/model is paused");
    }

    #[test]
    fn scripts_find_all_keys() {
        let text = serde_json::to_string(&ScheduleJson::new(schedule())).expect("plain data");
        insta::assert_snapshot!(text, @r#"{"id":"7f3m2c9v4e","repo_id":"org/model","repo_type":"model","revision":"main","cron":"15 0 * * *","timezone":"Asia/Shanghai","paused":false,"next_runs":["2026-08-01T16:15:00Z","2026-08-02T16:15:00Z"],"last_runs":[{"due_at":"2026-07-31T16:15:00Z","ran_at":"2026-07-31T16:15:00Z","outcome":"unchanged","detail":"main still means the same commit","job":null,"state":null,"commit":null,"files_to_fetch":null,"bytes_to_fetch":null},{"due_at":"2026-07-30T16:15:00Z","ran_at":"2026-07-30T16:15:00Z","outcome":"job","detail":null,"job":"5d2k8q0x1a","state":"done","commit":null,"files_to_fetch":2,"bytes_to_fetch":3221225472}],"window":"night","priority":"normal","limit":null,"keep":1,"hold_above":"50GiB","files":[],"include":[],"exclude":[],"local_dir":null,"cache_dir":null,"endpoints":[],"user":"ann","uid":0,"created_at":null}"#);
    }
}
