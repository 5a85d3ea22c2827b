//! Requests from the wire.

use hfetch_proto::v1;
use jiff::Timestamp;
use tonic::Status;

use crate::{
    api::identity::Caller,
    engine::{CallError, Submit, Wish},
    model::{JobState, Priority, RepoId, RepoKind, Revision, Selection, Token},
    names::Reference,
};

pub(crate) fn kind_to_wire(kind: RepoKind) -> v1::RepoType {
    match kind {
        RepoKind::Model => v1::RepoType::Model,
        RepoKind::Dataset => v1::RepoType::Dataset,
        RepoKind::Space => v1::RepoType::Space,
    }
}

/// A number that is no repository type is the caller's mistake, not "unspecified".
pub(crate) fn kind(number: i32) -> Result<Option<RepoKind>, CallError> {
    match v1::RepoType::try_from(number) {
        Ok(v1::RepoType::Unspecified) => Ok(None),
        Ok(v1::RepoType::Model) => Ok(Some(RepoKind::Model)),
        Ok(v1::RepoType::Dataset) => Ok(Some(RepoKind::Dataset)),
        Ok(v1::RepoType::Space) => Ok(Some(RepoKind::Space)),
        Err(_) => Err(CallError::invalid(
            "repo_type",
            format!("{number} is no repository type"),
        )),
    }
}

fn priority(number: i32) -> Result<Priority, CallError> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Err(_) => Err(CallError::invalid("priority", format!("{number} is no priority"))),
    }
}

/// `None`: it stays as it is.
pub(crate) fn priority_change(number: i32) -> Result<Option<Priority>, CallError> {
    match v1::Priority::try_from(number) {
        Ok(v1::Priority::Unspecified) => Ok(None),
        _ => priority(number).map(Some),
    }
}

/// A time that exists.
fn time(field: &'static str, wire: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, CallError> {
    wire.map(|wire| {
        Timestamp::new(wire.seconds, wire.nanos).map_err(|_| CallError::invalid(field, "is no time that exists"))
    })
    .transpose()
}

pub(crate) fn state_filter(numbers: &[i32]) -> Result<Vec<JobState>, CallError> {
    numbers
        .iter()
        .map(|number| match v1::JobState::try_from(*number) {
            Ok(v1::JobState::Queued) => Ok(JobState::Queued),
            Ok(v1::JobState::Active) => Ok(JobState::Active),
            Ok(v1::JobState::Held) => Ok(JobState::Held),
            Ok(v1::JobState::Paused) => Ok(JobState::Paused),
            Ok(v1::JobState::Done) => Ok(JobState::Done),
            Ok(v1::JobState::Failed) => Ok(JobState::Failed),
            Ok(v1::JobState::Cancelled) => Ok(JobState::Cancelled),
            Ok(v1::JobState::Unspecified) | Err(_) => {
                Err(CallError::invalid("states", format!("{number} is no job state")))
            }
        })
        .collect()
}

/// Empty is none; what cannot be sent in a header is a mistake, told without quoting it.
pub(crate) fn token(text: &str) -> Result<Option<Token>, CallError> {
    match Token::new(text) {
        None if !text.trim().is_empty() => {
            Err(CallError::invalid("token", "it holds characters that no Hub token has"))
        }
        token => Ok(token),
    }
}

fn resolved(wire: v1::ResolvedName) -> Result<Reference, CallError> {
    let bad = |error: &dyn std::fmt::Display| CallError::invalid("resolved", error);
    Ok(Reference {
        kind: kind(wire.repo_type)?,
        repo_id: RepoId::parse(&wire.repo_id).map_err(|error| bad(&error))?,
        revision: match wire.revision.as_str() {
            "" => None,
            text => Some(Revision::parse(text).map_err(|error| bad(&error))?),
        },
        path: (!wire.path_in_repo.is_empty()).then_some(wire.path_in_repo),
    })
}

/// What a caller wants, who may write where it says.
pub(crate) fn submit(
    caller: Caller,
    spec: Option<v1::JobSpec>,
    request_id: String,
    (token_text, no_login): (&str, bool),
) -> Result<Submit, Status> {
    let spec = spec.ok_or_else(|| CallError::invalid("spec", "is missing"))?;
    caller.may_write_to(&spec.local_dir)?;
    let some = |count: u32| (count > 0).then_some(count);
    let wish = Wish {
        kind: kind(spec.repo_type)?,
        priority: priority(spec.priority)?,
        limit: spec.limit,
        window: spec.window,
        hold_above: spec.hold_above,
        start_at: time("start_at", spec.start_at)?,
        ready_by: time("ready_by", spec.ready_by)?,
        resolved: spec.resolved.map(resolved).transpose()?,
        name: spec.name,
        revision: spec.revision,
        selection: Selection {
            files: spec.files,
            include: spec.include,
            exclude: spec.exclude,
        },
        cache_dir: spec.cache_dir,
        local_dir: spec.local_dir,
        endpoints: spec.endpoints,
        connections: some(spec.connections),
        max_workers: some(spec.max_workers),
        force_download: spec.force_download,
        preferred_cache_dir: spec.preferred_cache_dir,
        preferred_endpoint: spec.preferred_endpoint,
    };
    Ok(Submit {
        owner: caller.owner,
        wish,
        request_id,
        token: token(token_text)?,
        no_login,
    })
}
