//! What a name means: asks the daemon, offers candidates when nothing fits, and on a terminal lets the user choose.

use hfetch_proto::v1::{JobSpec, RepoSummary, ResolveNameRequest, ResolveNameResponse, ResolvedName};

use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::retry::retrying;
use crate::spec;
use crate::view::{Out, details};

/// What the name of `spec` means. `verb` is the command to suggest.
///
/// # Errors
/// Not found when nothing fits and the user takes no candidate.
pub(crate) async fn resolve(
    context: &Context,
    daemon: &Daemon,
    spec: &JobSpec,
    token: &str,
    verb: &str,
) -> Result<ResolvedName, CliError> {
    let request = ResolveNameRequest {
        name: spec.name.clone(),
        repo_type: spec.repo_type,
        endpoints: spec.endpoints.clone(),
        preferred_endpoint: spec.preferred_endpoint.clone(),
        token: token.to_owned(),
        no_login: spec::no_login(&process_env),
    };
    let mut answer = retrying(|| {
        let (mut names, request) = (daemon.names(), request.clone());
        async move { names.resolve_name(request).await }
    })
    .await?;
    if !answer.unchecked_reason.is_empty() {
        let reason = &answer.unchecked_reason;
        context.out.warn(&format!(
            "`{}` is taken as written, because the Hub could not be asked: {reason}",
            spec.name
        ));
    }
    if answer.repo_id.is_empty() {
        let chosen = choose(context, &spec.name, verb, &answer.candidates).await?;
        answer.repo_id.clone_from(&chosen.repo_id);
        answer.repo_type = chosen.repo_type;
    }
    let (resolved, warning) = agree(spec, answer)?;
    if let Some(warning) = warning {
        context.out.warn(&warning);
    }
    Ok(resolved)
}

async fn choose(
    context: &Context,
    name: &str,
    verb: &str,
    candidates: &[RepoSummary],
) -> Result<RepoSummary, CliError> {
    let nothing = || CliError::new(Exit::NotFound, format!("nothing is called `{name}`"));
    if candidates.is_empty() {
        return Err(nothing().hint("check the spelling, write org/name, or look with `hfctl search WORDS`"));
    }
    let text = details::candidates(name, verb, candidates);
    if !context.out.may_ask() {
        return Err(CliError::new(Exit::NotFound, text));
    }
    context.out.note(&text);
    let most = candidates.len().min(5);
    // Reading a terminal blocks; on its own thread Ctrl-C still works.
    let answer = tokio::task::spawn_blocking(move || Out::ask_number(most)).await;
    match answer.ok().flatten().and_then(|number| candidates.get(number - 1)) {
        Some(candidate) => Ok(candidate.clone()),
        None => Err(nothing()),
    }
}

/// The command line wins over what the name says, except that a path in the name cannot be combined with files.
fn agree(spec: &JobSpec, answer: ResolveNameResponse) -> Result<(ResolvedName, Option<String>), CliError> {
    if !answer.path_in_repo.is_empty() && !spec.files.is_empty() {
        let path = &answer.path_in_repo;
        return Err(CliError::usage(format!(
            "NAME already names `{path}`; leave out the other files or that path"
        )));
    }
    let mut resolved = ResolvedName {
        repo_id: answer.repo_id,
        repo_type: answer.repo_type,
        revision: answer.revision,
        path_in_repo: answer.path_in_repo,
    };
    let mut warning = None;
    if !spec.revision.is_empty() {
        if !resolved.revision.is_empty() && resolved.revision != spec.revision {
            warning = Some(format!(
                "NAME says revision {}; --revision {} is used",
                resolved.revision, spec.revision
            ));
        }
        resolved.revision.clone_from(&spec.revision);
    }
    Ok((resolved, warning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hfetch_proto::v1::RepoType;

    fn answer() -> ResolveNameResponse {
        ResolveNameResponse {
            repo_id: "org/x".to_owned(),
            repo_type: RepoType::Dataset.into(),
            revision: "v2".to_owned(),
            path_in_repo: "a/b.json".to_owned(),
            ..ResolveNameResponse::default()
        }
    }

    #[test]
    fn the_answer_says_what_the_command_line_left_open() {
        let mut spec = JobSpec {
            name: "short".to_owned(),
            ..JobSpec::default()
        };
        let (resolved, warning) = agree(&spec, answer()).expect("fits");
        assert_eq!(warning, None);
        assert_eq!(
            (
                resolved.repo_id.as_str(),
                resolved.revision.as_str(),
                resolved.repo_type()
            ),
            ("org/x", "v2", RepoType::Dataset)
        );
        assert_eq!(resolved.path_in_repo, "a/b.json");
        spec.files.push("c.json".to_owned());
        assert_eq!(agree(&spec, answer()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn an_explicit_revision_wins_and_says_so() {
        let spec = JobSpec {
            revision: "main".to_owned(),
            ..JobSpec::default()
        };
        let (resolved, warning) = agree(&spec, answer()).expect("fits");
        assert!(warning.is_some());
        assert_eq!(resolved.revision, "main");
    }
}
