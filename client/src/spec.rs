//! From typed arguments to a checked request: paths become absolute, the caller's Hugging Face settings are added. Asks
//! nobody.

use std::path::Path;

use hfetch_proto::v1::{JobSpec, Priority, RepoType};

use crate::cli::{PriorityArg, RepoArgs, RepoTypeArg, SubmitArgs, TokenArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env};
use crate::token::{self, Token};
use crate::when;

/// The job that the arguments describe, for a daemon of this machine or (`remote`) of another. Its name is not resolved yet.
///
/// # Errors
/// A usage error when a time or a path cannot be used; not allowed when a path would be the daemon's on another machine.
pub(crate) fn job_spec(args: &SubmitArgs, remote: bool, cwd: &Path, env: Env<'_>) -> Result<JobSpec, CliError> {
    let moment = |text: &Option<String>| -> Result<Option<prost_types::Timestamp>, CliError> {
        let at = text.as_deref().map(when::parse).transpose()?;
        Ok(at.map(|at| prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: at.subsec_nanosecond(),
        }))
    };
    if remote && args.local_dir.is_some() {
        let message = "--local-dir is not for a daemon of another machine: files go into its cache";
        return Err(CliError::new(Exit::NotAllowed, message));
    }
    let directory = |path: &Option<String>| match path {
        // A path of the daemon's machine: what it is here says nothing.
        Some(path) if remote => Ok(path.clone()),
        Some(path) => paths::absolute_text(path, cwd, env),
        None => Ok(String::new()),
    };
    let preferred_cache = paths::callers_cache(cwd, env).filter(|_| !remote);
    let preferred_cache = preferred_cache.map(|path| path.to_string_lossy().into_owned());
    Ok(JobSpec {
        name: args.name.clone(),
        repo_type: repo_type(&args.repo)?.into(),
        revision: args.revision.clone().unwrap_or_default(),
        files: args.files.clone(),
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        cache_dir: directory(&args.cache_dir)?,
        local_dir: directory(&args.local_dir)?,
        endpoints: args.endpoint.clone(),
        priority: priority(args.priority).into(),
        connections: args.connections.unwrap_or(0),
        max_workers: args.max_workers.unwrap_or(0),
        force_download: args.force_download,
        preferred_cache_dir: preferred_cache.unwrap_or_default(),
        preferred_endpoint: preferred_endpoint(env),
        limit: args.limit.clone().unwrap_or_default(),
        window: args.window.clone().unwrap_or_default(),
        start_at: moment(&args.at)?,
        ready_by: moment(&args.by)?,
        hold_above: args.hold_above.clone().unwrap_or_default(),
        resolved: None,
    })
}

/// The caller's `HF_ENDPOINT`; empty when unset.
pub(crate) fn preferred_endpoint(env: Env<'_>) -> String {
    paths::non_empty(env, "HF_ENDPOINT")
        .map(|url| url.trim_end_matches('/').to_owned())
        .unwrap_or_default()
}

/// `--repo-type` and `--dataset` as one.
///
/// # Errors
/// When the two contradict each other.
pub(crate) fn repo_type(args: &RepoArgs) -> Result<RepoType, CliError> {
    match (args.repo_type, args.dataset) {
        (None, false) => Ok(RepoType::Unspecified),
        (Some(RepoTypeArg::Dataset), _) | (None, true) => Ok(RepoType::Dataset),
        (Some(_), true) => Err(CliError::usage("--dataset contradicts --repo-type; give one of them")),
        (Some(RepoTypeArg::Model), false) => Ok(RepoType::Model),
        (Some(RepoTypeArg::Space), false) => Ok(RepoType::Space),
    }
}

/// A priority on the wire; unspecified when it was not given.
pub(crate) fn priority(arg: Option<PriorityArg>) -> Priority {
    match arg {
        None => Priority::Unspecified,
        Some(PriorityArg::Low) => Priority::Low,
        Some(PriorityArg::Normal) => Priority::Normal,
        Some(PriorityArg::High) => Priority::High,
    }
}

/// The caller's token from the command line, the environment or the file of `hf auth login`.
///
/// # Errors
/// Those of [`token::find`].
pub(crate) fn token(args: &TokenArgs, cwd: &Path, env: Env<'_>) -> Result<Option<Token>, CliError> {
    let inline = args.token.as_deref().or(args.hf_token.as_deref());
    token::find(args.token_file.as_deref(), inline, cwd, env, &token::read_file)
}

/// Whether the caller wants no token but one that is named: not even one that was left with the daemon.
pub(crate) fn no_login(env: Env<'_>) -> bool {
    paths::is_true(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN")
}

/// The warning that a token on the command line deserves.
pub(crate) fn token_warning(args: &TokenArgs) -> Option<&'static str> {
    (args.token.is_some() || args.hf_token.is_some()).then_some(
        "a token on the command line can be read by every user of this machine in the process list; \
         use --token-file, HF_TOKEN, or `hf auth login`",
    )
}

/// What to say about options that are accepted for old habits only.
pub(crate) fn habit_notes(args: &SubmitArgs) -> Vec<&'static str> {
    let habits = &args.habits;
    let notes = [
        (
            habits.resume_download,
            "--resume-download is not needed: downloads always resume",
        ),
        (
            habits.local_dir_use_symlinks.is_some(),
            "--local-dir-use-symlinks has no effect: a local directory always gets plain files",
        ),
        (
            habits.hf_username.is_some(),
            "--hf_username has no effect: the token alone identifies you",
        ),
        (
            habits.tool.is_some(),
            "--tool has no effect: hfetchd downloads by itself",
        ),
    ];
    notes
        .into_iter()
        .filter_map(|(given, note)| given.then_some(note))
        .collect()
}

/// Explicit files win over patterns, as in `hf download`. Tells so when patterns were dropped.
pub(crate) fn drop_patterns_beside_files(spec: &mut JobSpec) -> Option<&'static str> {
    if (spec.files.is_empty() && path_in_name(spec).is_none()) || (spec.include.is_empty() && spec.exclude.is_empty()) {
        return None;
    }
    spec.include.clear();
    spec.exclude.clear();
    Some("--include and --exclude are ignored because files are named")
}

/// The only file that was asked for, when it is one file and not a folder.
pub(crate) fn single_file(spec: &JobSpec) -> Option<&str> {
    let file = match (spec.files.as_slice(), path_in_name(spec)) {
        ([file], _) => file,
        ([], Some(file)) => file,
        _ => return None,
    };
    (!file.ends_with('/')).then_some(file)
}

/// The path that the name of the job said.
fn path_in_name(spec: &JobSpec) -> Option<&str> {
    let path = spec.resolved.as_ref().map(|resolved| resolved.path_in_repo.as_str());
    path.filter(|path| !path.is_empty())
}

/// A fresh request id, so that repeating the call after a lost connection cannot queue the job twice.
pub(crate) fn random_request_id() -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
    format!("hfctl-{random}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use hfetch_proto::v1::ResolvedName;

    fn args(line: &str) -> SubmitArgs {
        let cli = Cli::try_parse_from(["hfctl", "submit"].into_iter().chain(line.split(' '))).expect(line);
        match cli.command {
            Command::Submit(args) => *args,
            _ => panic!("not a submit"),
        }
    }

    fn spec(line: &str, vars: &[(&str, &str)]) -> Result<JobSpec, CliError> {
        let env = |name: &str| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        job_spec(&args(line), false, Path::new("/w"), &env)
    }

    #[test]
    fn paths_are_absolute_and_the_environment_is_honoured() {
        let spec = spec(
            "org/x --local-dir ../m",
            &[("HF_HOME", "/hf"), ("HF_ENDPOINT", "https://hf-mirror.com/")],
        );
        let spec = spec.expect("a good command line");
        assert_eq!((spec.local_dir.as_str(), spec.cache_dir.as_str()), ("/m", ""));
        assert_eq!(spec.preferred_cache_dir, "/hf/hub");
        assert_eq!(spec.preferred_endpoint, "https://hf-mirror.com");
    }

    #[test]
    fn paths_of_here_say_nothing_to_another_machine() {
        let env = |name: &str| (name == "HF_HOME").then(|| "/hf".to_owned());
        let spec = |line| job_spec(&args(line), true, Path::new("/w"), &env);
        let good = spec("org/x --cache-dir /data/hub").expect("a cache of the daemon");
        assert_eq!(
            (good.cache_dir.as_str(), good.preferred_cache_dir.as_str()),
            ("/data/hub", "")
        );
        assert_eq!(spec("org/x --local-dir m").unwrap_err().exit(), Exit::NotAllowed);
    }

    #[test]
    fn options_reach_the_wire() {
        let spec = spec(
            "org/x a b/ --revision v1 -x 4 -j 2 --priority high --endpoint m1 --endpoint m2 --dataset",
            &[],
        );
        let spec = spec.expect("a good command line");
        assert_eq!(
            (
                spec.files.len(),
                spec.revision.as_str(),
                spec.connections,
                spec.max_workers
            ),
            (2, "v1", 4, 2)
        );
        assert_eq!((spec.priority(), spec.repo_type()), (Priority::High, RepoType::Dataset));
        assert_eq!(spec.endpoints, ["m1", "m2"]);
    }

    #[test]
    fn limit_window_and_time_reach_the_wire() {
        let spec = spec(
            "org/x --limit 5M --window night --at 2030-01-01T00:00:00Z --by 2030-01-01T00:00:05Z",
            &[],
        )
        .expect("parses");
        assert_eq!(spec.ready_by.map(|at| at.seconds), Some(1_893_456_005));
        let start_at = spec.start_at.map(|at| at.seconds);
        assert_eq!(
            (spec.limit.as_str(), spec.window.as_str(), start_at),
            ("5M", "night", Some(1_893_456_000))
        );
    }

    #[test]
    fn kinds_may_not_contradict() {
        let kind = |line: &str| repo_type(&args(line).repo);
        assert_eq!(kind("x --type space").expect("alias of --repo-type"), RepoType::Space);
        assert_eq!(
            kind("x --dataset --repo-type dataset").expect("the same twice"),
            RepoType::Dataset
        );
        assert_eq!(kind("x --dataset --repo-type model").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn files_win_over_patterns() {
        let mut both = spec("org/x a.json --include *.txt", &[]).expect("parses");
        assert!(drop_patterns_beside_files(&mut both).is_some() && both.include.is_empty());
        assert_eq!(single_file(&both), Some("a.json"));
        let mut patterns = spec("org/x --include *.txt", &[]).expect("parses");
        assert_eq!(
            (drop_patterns_beside_files(&mut patterns), single_file(&patterns)),
            (None, None)
        );
        assert_eq!(single_file(&spec("org/x dir/", &[]).expect("parses")), None);
        let mut page = spec("page --include *.txt", &[]).expect("parses");
        page.resolved = Some(ResolvedName {
            path_in_repo: "a/b.json".to_owned(),
            ..ResolvedName::default()
        });
        assert!(drop_patterns_beside_files(&mut page).is_some() && page.include.is_empty());
        assert_eq!(single_file(&page), Some("a/b.json"));
    }

    #[test]
    fn old_habits_get_a_note() {
        let line = "x --resume-download --local-dir-use-symlinks False --hf_username u --tool aria2c --hf_token t";
        let args = args(line);
        assert_eq!(habit_notes(&args).len(), 4);
        assert!(token_warning(&args.token).is_some());
        assert!(!format!("{args:?}").contains("\"t\""));
    }

    #[test]
    fn request_ids_differ() {
        assert_ne!(random_request_id(), random_request_id());
        assert!(random_request_id().len() <= 128);
    }
}
