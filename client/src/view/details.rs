//! Longer texts for people: one job, a plan, the daemon, the candidates for a name.

use hfetch_proto::v1::{
    GetServerInfoResponse, Job, PlanJobResponse, ReloadResponse, RepoSummary, RepoType, TokenAccount,
};
use jiff::Timestamp;

use super::bandwidth;
use super::human::{self, clean};
use super::words;

/// `show ID`: one aligned line per fact; what is absent is left out.
pub(crate) fn job(job: &Job, now: Timestamp) -> String {
    let style = human::state_style(job.state());
    let mut lines = Lines::default();
    lines.add("id", &job.id);
    lines.add("repository", &words::repo_name(job.repo_type(), &job.repo_id));
    let commit = if job.commit.is_empty() {
        String::new()
    } else {
        format!(" (commit {})", job.commit)
    };
    lines.add("revision", &format!("{}{commit}", job.revision));
    lines.add_styled("state", &human::state(job.state(), job.hold_reason()), style);
    lines.add("detail", &job.detail);
    if let Some(failure) = &job.failure {
        lines.add("failure", &format!("{} ({})", failure.message, failure.kind));
        lines.add("hint", &failure.hint);
    }
    if let Some(next) = human::time(job.next_attempt_at.as_ref()) {
        lines.add(
            "next attempt",
            &format!(
                "{} (in {})",
                human::local(next),
                human::seconds(human::age_sec(now, next))
            ),
        );
    }
    if job.bytes_total > 0 || job.files_total > 0 {
        let percent = human::percent(job.bytes_done, job.bytes_total, job.state());
        let (done, total) = (human::bytes(job.bytes_done), human::bytes(job.bytes_total));
        lines.add(
            "progress",
            &format!(
                "{percent}%, {done} of {total}, {} of {} files",
                job.files_done, job.files_total
            ),
        );
    }
    if let (Some(files), Some(bytes)) = (job.files_to_fetch, job.bytes_to_fetch) {
        lines.add(
            "differs",
            &format!("{}, {}", human::plural(files, "file"), human::bytes(bytes)),
        );
    }
    if job.bytes_reused > 0 {
        lines.add(
            "not fetched",
            &format!("{} (on this machine already)", human::bytes(job.bytes_reused)),
        );
    }
    if job.bytes_per_sec > 0 {
        let left = job
            .eta_sec
            .map(|eta| format!(", {} left", human::seconds(eta)))
            .unwrap_or_default();
        lines.add("speed", &format!("{}{left}", human::rate(job.bytes_per_sec)));
    }
    lines.add("path", &job.path);
    lines.add("files", &job.files.join(" "));
    lines.add("include", &job.include.join(" "));
    lines.add("exclude", &job.exclude.join(" "));
    lines.add("local dir", &job.local_dir);
    lines.add("cache dir", &job.cache_dir);
    lines.add("endpoints", &job.endpoints.join(" "));
    lines.add("hashes from", &job.trust);
    lines.add("priority", words::priority(job.priority()));
    if job.limit_bytes_per_sec.is_some() {
        lines.add("limit", &bandwidth::rate(job.limit_bytes_per_sec));
    }
    lines.add("window", &job.window);
    if let Some(start) = human::time(job.start_at.as_ref()) {
        lines.add("not before", &human::local(start));
    }
    if let Some(by) = human::time(job.ready_by.as_ref()) {
        lines.add("ready by", &human::local(by));
    }
    lines.add("forecast", &job.forecast);
    lines.add(
        "hold above",
        &job.hold_above_bytes.map(human::bytes).unwrap_or_default(),
    );
    lines.add("schedule", &job.schedule_id);
    lines.add("user", &job.user);
    for (label, wire) in [
        ("created", &job.created_at),
        ("started", &job.started_at),
        ("ended", &job.ended_at),
    ] {
        if let Some(time) = human::time(wire.as_ref()) {
            lines.add(
                label,
                &format!(
                    "{} ({} ago)",
                    human::local(time),
                    human::seconds(human::age_sec(time, now))
                ),
            );
        }
    }
    lines.text()
}

/// The last lines of `--dry-run`.
pub(crate) fn plan_summary(plan: &PlanJobResponse) -> String {
    let mut lines = Lines::default();
    lines.add("repository", &words::repo_name(plan.repo_type(), &plan.repo_id));
    lines.add("commit", &plan.commit);
    lines.add("path", &plan.path);
    let files = u64::try_from(plan.files.len()).unwrap_or(u64::MAX);
    lines.add(
        "selected",
        &format!("{}, {}", human::plural(files, "file"), human::bytes(plan.bytes_total)),
    );
    lines.add("to fetch", &human::bytes(plan.bytes_to_fetch));
    lines.add("disk free", &human::bytes(plan.disk_free));
    lines.text()
}

/// The configuration files are not as they were when they were read. An older daemon tells it by the keys alone.
pub(crate) fn changed(info: &GetServerInfoResponse) -> bool {
    info.config_changed || !info.config_not_loaded.is_empty() || !info.config_mistakes.is_empty()
}

/// `daemon status`.
pub(crate) fn server(info: &GetServerInfoResponse, now: Timestamp) -> String {
    let mut lines = Lines::default();
    lines.add(
        "hfetchd",
        &format!("{}, {} mode, pid {}", info.version, info.mode, info.pid),
    );
    if let Some(time) = human::time(info.started_at.as_ref()) {
        let up = human::seconds(human::age_sec(time, now));
        lines.add("running since", &format!("{} ({up})", human::local(time)));
    }
    lines.add("socket", &info.socket);
    lines.add("state dir", &info.state_dir);
    lines.add("cache", &info.cache);
    lines.add(
        "config",
        &if info.config_files.is_empty() {
            "none".to_owned()
        } else {
            info.config_files.join(" ")
        },
    );
    if let Some(time) = human::time(info.config_read_at.as_ref()) {
        let since = match (info.config_mistakes.is_empty(), changed(info)) {
            (false, _) => "; the files have mistakes now, and this is still in force",
            (true, true) => "; not all that the files say now is in force",
            (true, false) => "",
        };
        lines.add("", &format!("read {}{since}", human::local(time)));
    }
    lines.add("endpoints", &info.endpoints.join(" "));
    let counts = format!(
        "{} active, {} queued, {} held",
        info.jobs_active, info.jobs_queued, info.jobs_held
    );
    lines.add("jobs", &counts);
    lines.add("speed", &human::rate(info.bytes_per_sec));
    lines.add(
        "database",
        &format!("schema {}, SQLite {}", info.schema_version, info.sqlite_version),
    );
    let operator = if info.caller_is_operator { " (operator)" } else { "" };
    lines.add("you are", &format!("{}{operator}", info.caller));
    lines.text()
}

/// What the Hub says of a token.
pub(crate) fn account(account: &TokenAccount) -> String {
    let mut lines = Lines::default();
    lines.add("name", &account.name);
    lines.add("organisations", &account.orgs.join(", "));
    lines.add("token", &account.token_name);
    lines.add("role", &account.role);
    let expires = human::time(account.expires_at.as_ref());
    let expires = expires.map_or_else(|| "never, as far as the Hub tells".to_owned(), |time| time.to_string());
    lines.add("expires", &expires);
    for scope in &account.scopes {
        lines.add("may", scope);
    }
    lines.text()
}

/// `daemon reload`.
pub(crate) fn reload(answer: &ReloadResponse) -> String {
    let list = |keys: &[String]| clean(&keys.join(", "));
    match (answer.changed.is_empty(), answer.needs_restart.is_empty()) {
        (true, true) => "reloaded; nothing differs".to_owned(),
        (false, true) => format!("reloaded; in force now: {}", list(&answer.changed)),
        (true, false) => format!("reloaded; needs a restart: {}", list(&answer.needs_restart)),
        (false, false) => {
            format!(
                "reloaded; in force now: {}; needs a restart: {}",
                list(&answer.changed),
                list(&answer.needs_restart)
            )
        }
    }
}

/// What the Hub's search offers for a name that fits nothing, each with the command to take it. `verb` is `submit` or
/// `download`.
pub(crate) fn candidates(name: &str, verb: &str, found: &[RepoSummary]) -> String {
    let mut text = format!("nothing is called `{}`; the Hub's search suggests:\n", clean(name));
    for (index, repo) in found.iter().take(5).enumerate() {
        let mut facts = vec![repo.bytes.map_or_else(|| "size unknown".to_owned(), human::bytes)];
        facts.push(format!("{} downloads", human::count(repo.downloads)));
        if !repo.task.is_empty() {
            facts.push(clean(&repo.task));
        }
        if repo.gated {
            facts.push("gated: needs a token".to_owned());
        }
        let id = clean(&repo.repo_id);
        let kind = match repo.repo_type() {
            RepoType::Dataset => " --repo-type dataset",
            RepoType::Space => " --repo-type space",
            RepoType::Model | RepoType::Unspecified => "",
        };
        let number = index + 1;
        text.push_str(&format!(
            "  {number}. {id}  ({})\n       hfctl {verb} {id}{kind}\n",
            facts.join(", ")
        ));
    }
    text.trim_end().to_owned()
}

/// Aligned `label  value` lines.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    pub(super) fn add(&mut self, label: &str, value: &str) {
        self.add_styled(label, value, clap::builder::styling::Style::new());
    }

    fn add_styled(&mut self, label: &str, value: &str, style: clap::builder::styling::Style) {
        if !value.is_empty() {
            let label = if label.is_empty() {
                String::new()
            } else {
                format!("{label}:")
            };
            self.0
                .push_str(&format!("{label:<15}{style}{}{style:#}\n", clean(value)));
        }
    }

    pub(super) fn text(self) -> String {
        self.0.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hfetch_proto::v1::{Failure, JobState};

    #[test]
    fn candidates_come_with_the_command_to_take_one() {
        let repo = |id: &str, bytes, kind: RepoType, gated| RepoSummary {
            repo_id: id.to_owned(),
            repo_type: kind.into(),
            bytes,
            downloads: 1_250_000,
            gated,
            task: "text-generation".to_owned(),
            ..RepoSummary::default()
        };
        let found = [
            repo("org/tiny-llama", Some(2 << 30), RepoType::Model, true),
            repo("org/llamas", None, RepoType::Dataset, false),
        ];
        insta::assert_snapshot!(candidates("lama", "download", &found), @r"
        nothing is called `lama`; the Hub's search suggests:
          1. org/tiny-llama  (2.0 GiB, 1.2M downloads, text-generation, gated: needs a token)
               hfctl download org/tiny-llama
          2. org/llamas  (size unknown, 1.2M downloads, text-generation)
               hfctl download org/llamas --repo-type dataset
        ");
    }

    #[test]
    fn a_failed_job_shows_why_and_what_to_do() {
        let mut job = Job {
            id: "5d2k8q0x1a".to_owned(),
            repo_id: "org/x".to_owned(),
            revision: "main".to_owned(),
            user: "ann".to_owned(),
            include: vec!["*.json".to_owned(), "*.txt".to_owned()],
            failure: Some(Failure {
                kind: "gated".to_owned(),
                message: "access needs an approval".to_owned(),
                hint: "ask for it on the repository's page".to_owned(),
            }),
            ..Job::default()
        };
        job.set_state(JobState::Failed);
        let text = super::job(&job, Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text), @r"
        id:            5d2k8q0x1a
        repository:    org/x
        revision:      main
        state:         failed
        failure:       access needs an approval (gated)
        hint:          ask for it on the repository's page
        include:       *.json *.txt
        priority:      normal
        user:          ann
        ");
    }

    #[test]
    fn reload_says_what_changed() {
        let answer = |changed: &[&str], restart: &[&str]| ReloadResponse {
            changed: changed.iter().map(|key| (*key).to_owned()).collect(),
            needs_restart: restart.iter().map(|key| (*key).to_owned()).collect(),
        };
        assert_eq!(reload(&answer(&[], &[])), "reloaded; nothing differs");
        assert_eq!(
            reload(&answer(&["a.b", "c"], &["d"])),
            "reloaded; in force now: a.b, c; needs a restart: d"
        );
    }
}
