//! What a name means: asks the daemon, offers candidates when nothing fits, and on a terminal lets the user choose.

use hfetch_proto::v1::{JobSpec, RepoSummary, ResolveNameRequest, ResolveNameResponse};

use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::retrying;
use crate::view::{Out, details};

/// Puts the repository that `spec.name` means into `spec`. `verb` is the command to suggest.
///
/// # Errors
/// Not found when nothing fits and the user takes no candidate.
pub(crate) async fn resolve(
    context: &Context,
    daemon: &Daemon,
    spec: &mut JobSpec,
    token: &str,
    verb: &str,
) -> Result<(), CliError> {
    let request = ResolveNameRequest {
        name: spec.name.clone(),
        repo_type: spec.repo_type,
        endpoints: spec.endpoints.clone(),
        preferred_endpoint: spec.preferred_endpoint.clone(),
        token: token.to_owned(),
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
    if let Some(warning) = apply(spec, &answer)? {
        context.out.warn(&warning);
    }
    Ok(())
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
fn apply(spec: &mut JobSpec, answer: &ResolveNameResponse) -> Result<Option<String>, CliError> {
    if !answer.path_in_repo.is_empty() {
        if !spec.files.is_empty() {
            let path = &answer.path_in_repo;
            return Err(CliError::usage(format!(
                "NAME already names `{path}`; leave out the other files or that path"
            )));
        }
        spec.files.push(answer.path_in_repo.clone());
    }
    let mut warning = None;
    if spec.revision.is_empty() {
        spec.revision.clone_from(&answer.revision);
    } else if !answer.revision.is_empty() && answer.revision != spec.revision {
        warning = Some(format!(
            "NAME says revision {}; --revision {} is used",
            answer.revision, spec.revision
        ));
    }
    spec.name.clone_from(&answer.repo_id);
    spec.repo_type = answer.repo_type;
    Ok(warning)
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
            ..ResolveNameResponse::default()
        }
    }

    #[test]
    fn the_answer_fills_what_the_command_line_left_open() {
        let mut spec = JobSpec {
            name: "short".to_owned(),
            ..JobSpec::default()
        };
        let answer = ResolveNameResponse {
            path_in_repo: "a/b.json".to_owned(),
            ..answer()
        };
        assert_eq!(apply(&mut spec, &answer).expect("fits"), None);
        assert_eq!(
            (spec.name.as_str(), spec.revision.as_str(), spec.repo_type()),
            ("org/x", "v2", RepoType::Dataset)
        );
        assert_eq!(spec.files, ["a/b.json"]);
        assert_eq!(apply(&mut spec, &answer).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn an_explicit_revision_wins_and_says_so() {
        let mut spec = JobSpec {
            revision: "main".to_owned(),
            ..JobSpec::default()
        };
        assert!(apply(&mut spec, &answer()).expect("fits").is_some());
        assert_eq!(spec.revision, "main");
    }
}
