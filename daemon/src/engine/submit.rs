//! A wish becomes a checked job specification, and the specification a stored job. Asks the Hub one thing in short time: whether
//! the user has access (`permit`).

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    access::{self, NOT_SENT, TokenRule, token_origin},
    destination::destination,
    error::CallError,
    limits::pacing,
    login,
    renew::keep_token,
    shared::Shared,
    timing,
    wanted::{base_text, endpoints},
};
use crate::{
    config::{Config, Mode, is_public_mirror},
    hub::Endpoint,
    model::{Job, JobSpec, Owner, Priority, RepoKind, Revision, Selection, Token, units::parse_size},
    names::{NameSource, Names, Reference, Resolved},
    store::{NewJob, RequestKey, Submitted},
    tokens::BoundToken,
};

/// Longest request id in characters.
const LONGEST_REQUEST_ID: usize = 128;
/// Patterns of one selection: each is tried on every file of a repository.
const MOST_PATTERNS: usize = 1000;
/// Names and patterns are stored with each job and sent with each list.
const MOST_SELECTION_BYTES: usize = 256 << 10;

/// What a user asks for, as it came. Empty means not said.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "as in message JobSpec of job.proto")]
pub struct Wish {
    pub name: String,
    pub resolved: Option<Reference>,
    pub kind: Option<RepoKind>,
    pub revision: String,
    pub selection: Selection,
    pub cache_dir: String,
    pub local_dir: String,
    pub endpoints: Vec<String>,
    pub priority: Priority,
    pub limit: String,
    pub window: String,
    pub hold_above: String,
    pub start_at: Option<jiff::Timestamp>,
    pub ready_by: Option<jiff::Timestamp>,
    pub connections: Option<u32>,
    pub max_workers: Option<u32>,
    pub force_download: bool,
    pub preferred_cache_dir: String,
    pub preferred_endpoint: String,
}

/// A submit.
#[derive(Debug, Clone)]
pub struct Submit {
    /// Who, as the kernel told.
    pub owner: Owner,
    /// What.
    pub wish: Wish,
    /// Makes a repeated call safe; empty: no protection.
    pub request_id: String,
    /// The submitter's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
}

/// A checked wish.
pub(super) struct Checked {
    pub(super) spec: JobSpec,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) warnings: Vec<String>,
}

fn request_of(submit: &Submit) -> Option<RequestKey> {
    (!submit.request_id.is_empty()).then(|| RequestKey {
        id: submit.request_id.clone(),
        fingerprint: fingerprint(&submit.wish),
    })
}

/// The job of a submit with a deadline whose answer was lost: by now the deadline may have passed.
pub(super) async fn known(shared: &Shared, submit: &Submit) -> Result<Option<Job>, CallError> {
    match request_of(submit).filter(|_| submit.wish.ready_by.is_some()) {
        Some(request) => Ok(shared.store.known_request(submit.owner.uid, request).await?),
        None => Ok(None),
    }
}

/// Stores the job; with it, before it, the token.
pub(super) async fn submit(
    shared: &Arc<Shared>,
    mode: Mode,
    submit: Submit,
    bytes_expected: u64,
) -> Result<(Submitted, Vec<String>), CallError> {
    if submit.request_id.chars().count() > LONGEST_REQUEST_ID {
        return Err(CallError::invalid(
            "request_id",
            format!("is longer than {LONGEST_REQUEST_ID} characters"),
        ));
    }
    let request = request_of(&submit);
    let rule = TokenRule::new(mode, &submit.wish.preferred_endpoint);
    let (mut checked, token) =
        check_with_token(shared, mode, &submit.owner, submit.wish, submit.token, submit.no_login).await?;
    let granted = access::for_caller(shared, &rule, checked.endpoints.clone(), submit.owner.uid, token);
    let permit = shared
        .permits
        .of(shared, &granted, checked.spec.kind, &checked.spec.repo_id);
    let permit = permit.await;
    checked.warnings.extend(permit.warning());
    let now = shared.clock.now();
    let held = permit
        .hold(now)
        .or_else(|| timing::untimely(&shared.config(), &checked.spec.pacing, now));
    let max_queued = shared.config().users.of(&submit.owner.user).max_queued;
    let submitted = shared
        .store
        .submit(NewJob {
            owner: submit.owner,
            spec: checked.spec,
            bytes_expected,
            request,
            max_queued,
            held,
        })
        .await?;
    Ok((submitted, checked.warnings))
}

/// Checks a wish, and keeps the token that goes with it; gives that as well.
pub(super) async fn check_with_token(
    shared: &Arc<Shared>,
    mode: Mode,
    owner: &Owner,
    wish: Wish,
    own: Option<Token>,
    no_login: bool,
) -> Result<(Checked, Option<Token>), CallError> {
    let config = shared.config();
    let rule = TokenRule::new(mode, &wish.preferred_endpoint);
    let mut checked = check(shared, mode, owner, wish).await?;
    let token = login::token_of(shared, &config, &rule, owner.uid, &checked.endpoints, own, no_login).await;
    if token.is_none() && !no_login {
        checked.warnings.extend(login::doubt(shared, owner.uid).await);
    }
    if let Some(token) = token.clone() {
        match token_origin(&config, &rule, &checked.endpoints) {
            Some(origin) => {
                let bound = BoundToken { origin, token };
                checked.spec.token_ref = Some(keep_token(shared, owner.uid, bound).await?);
            }
            None => checked.warnings.push(format!(
                "your token is not sent to {}: {NOT_SENT}",
                checked
                    .endpoints
                    .iter()
                    .map(Endpoint::host)
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
    }
    Ok((checked, token))
}

/// A deadline in the past is a slip of the pen.
fn check_deadline(shared: &Shared, ready_by: Option<jiff::Timestamp>) -> Result<(), CallError> {
    match ready_by {
        Some(by) if by <= shared.clock.now() => {
            let told = timing::told(by, &timing::zone(&shared.config()));
            Err(CallError::invalid("ready_by", format!("(--by) is over: {told}")))
        }
        _ => Ok(()),
    }
}

/// Checks every field; the first mistake is told with the field's name.
pub(super) async fn check(shared: &Shared, mode: Mode, owner: &Owner, wish: Wish) -> Result<Checked, CallError> {
    let config = shared.config();
    check_deadline(shared, wish.ready_by)?;
    let mut warnings = Vec::new();
    // A program may have waited too long with it: the job is wanted all the same.
    if let Some(over) = wish.start_at.filter(|at| *at < shared.clock.now()) {
        let over = timing::told(over, &timing::zone(&config));
        warnings.push(format!(
            "the time to begin, {over}, is over: the job begins as soon as it may"
        ));
    }
    let reference = match wish.resolved {
        Some(reference) => reference,
        None => look_up(shared, &config, owner.uid, &wish.name, wish.kind).await?,
    };
    let kind = one_of("repo_type", wish.kind, reference.kind)?.unwrap_or(RepoKind::Model);
    let asked = match wish.revision.as_str() {
        "" => None,
        text => Some(Revision::parse(text).map_err(|error| CallError::invalid("revision", error))?),
    };
    let revision = one_of("revision", asked, reference.revision.clone())?.unwrap_or_else(Revision::main);
    let selection = selection(wish.selection, &reference)?;
    let endpoints = endpoints(&config, mode, &wish.endpoints, &wish.preferred_endpoint, &mut warnings)?;
    check_host(&wish.name, &endpoints)?;
    let positive = |field, value: Option<u32>, most: u32| match value {
        Some(value) if value == 0 || value > most => Err(CallError::invalid(field, format!("must be 1 to {most}"))),
        other => Ok(other),
    };
    let spec = JobSpec {
        repo_id: reference.repo_id,
        kind,
        revision,
        selection,
        destination: destination(
            &config,
            mode,
            &wish.cache_dir,
            &wish.local_dir,
            &wish.preferred_cache_dir,
        )?,
        endpoints: endpoints.iter().map(base_text).collect(),
        own_endpoint: TokenRule::new(mode, &wish.preferred_endpoint).own_of(&endpoints),
        priority: wish.priority,
        pacing: pacing(&config, &wish.limit, wish.window, (wish.start_at, wish.ready_by))?,
        connections: positive("connections", wish.connections, config.transfer.max_connections)?,
        max_workers: positive("max_workers", wish.max_workers, 256)?,
        force_download: wish.force_download,
        token_ref: None,
        hold_above: hold_above(&wish.hold_above)?,
        schedule: None,
    };
    Ok(Checked {
        spec,
        endpoints,
        warnings,
    })
}

/// A size; empty: none.
fn hold_above(text: &str) -> Result<Option<u64>, CallError> {
    let size = (!text.is_empty()).then(|| parse_size(text)).transpose();
    size.map_err(|bad| CallError::invalid("hold_above", bad))
}

/// What the tables say of a name, or the name itself.
async fn look_up(
    shared: &Shared,
    config: &Config,
    uid: u32,
    name: &str,
    kind: Option<RepoKind>,
) -> Result<Reference, CallError> {
    let names = Names::new(&config.aliases).map_err(|error| CallError::invalid("name", super::stop::chain(&error)))?;
    let aliases = shared.store.aliases(uid).await?.into_iter().collect();
    let resolved = names
        .resolve_offline(name, kind, &aliases)
        .map_err(|error| CallError::invalid("name", super::stop::chain(&error)))?;
    let (source, reference) = match resolved {
        Resolved::Found { source, reference } => (source, reference),
        Resolved::AskHub(reference) => (NameSource::Literal, reference),
    };
    if source != NameSource::Literal {
        tracing::debug!(name, repo = %reference.repo_id, ?source, "resolved a short name");
    }
    Ok(reference)
}

/// A web address names a page of the Hub or of one of the endpoints; a page of somebody else is no repository.
pub(super) fn check_host(name: &str, endpoints: &[Endpoint]) -> Result<(), CallError> {
    let Some(host) = url::Url::parse(name)
        .ok()
        .filter(|url| url.scheme() != "hf")
        .and_then(|url| url.host_str().map(str::to_owned))
    else {
        return Ok(());
    };
    let known = ["huggingface.co", "hf.co"]
        .iter()
        .any(|hub| host == *hub || host.ends_with(&format!(".{hub}")));
    if known
        || is_public_mirror(&host)
        || endpoints
            .iter()
            .any(|endpoint| endpoint.base().host_str() == Some(&host))
    {
        return Ok(());
    }
    Err(CallError::invalid(
        "name",
        format!("{host} is neither the Hub nor an endpoint that is asked (--endpoint)"),
    ))
}

/// What the flag says and what the name says; both may say it, but not differently.
fn one_of<T: PartialEq + std::fmt::Display>(
    field: &'static str,
    flag: Option<T>,
    name: Option<T>,
) -> Result<Option<T>, CallError> {
    match (flag, name) {
        (Some(flag), Some(name)) if flag != name => Err(CallError::invalid(
            field,
            format!("the name says {name}, the option says {flag}"),
        )),
        (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
        (None, None) => Ok(None),
    }
}

fn selection(mut selection: Selection, reference: &Reference) -> Result<Selection, CallError> {
    if let Some(path) = &reference.path {
        if !selection.files.is_empty() {
            return Err(CallError::invalid("files", "the name holds a path already"));
        }
        selection.files.push(path.clone());
    }
    let all = selection
        .files
        .iter()
        .chain(&selection.include)
        .chain(&selection.exclude);
    if selection.include.len() + selection.exclude.len() > MOST_PATTERNS {
        return Err(CallError::invalid(
            "include",
            format!("more than {MOST_PATTERNS} patterns"),
        ));
    }
    if all.map(String::len).sum::<usize>() > MOST_SELECTION_BYTES {
        let text = format!("more than {MOST_SELECTION_BYTES} bytes of names and patterns");
        return Err(CallError::invalid("files", text));
    }
    Ok(selection)
}

/// Tells one request from another under the same id. Over the wish as it was written, not over what followed from it when
/// and where it was: a command that is given again after an hour, or from another shell, is the same command.
fn fingerprint(wish: &Wish) -> Vec<u8> {
    let mut text = json!([
        wish.name,
        wish.kind.map(RepoKind::as_str),
        wish.revision,
        wish.selection,
        wish.cache_dir,
        wish.local_dir,
        wish.endpoints,
        wish.priority.as_str(),
        wish.connections,
        wish.max_workers,
        wish.force_download,
        wish.limit,
        wish.window,
    ]);
    // Not for everybody: requests of before it was there stay the same.
    if let Some(words) = text.as_array_mut().filter(|_| !wish.hold_above.is_empty()) {
        words.push(wish.hold_above.clone().into());
    }
    Sha256::digest(text.to_string().as_bytes()).to_vec()
}

#[cfg(test)]
mod tests;
