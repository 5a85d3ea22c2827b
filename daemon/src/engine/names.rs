//! Short names, the Hub's search, and users' aliases.

use std::time::Duration;

use std::sync::Arc;
use tokio::time::timeout;

use super::{
    access::{self, TokenRule},
    error::CallError,
    login,
    questions::{self, Unanswered},
    shared::{EndpointAccess, Shared},
    stop::chain,
    submit, wanted,
};
use crate::{
    config::{Config, Mode},
    hub::{Endpoint, RepoSummary},
    model::{RepoKind, Revision, Token, Trust},
    names::{self, NameSource, Names, Reference, Resolved},
};

/// Candidates that are shown when nothing fits.
const CANDIDATES: u32 = 5;

/// A new alias is doubted for so long at most: offline it must not be in the way.
const DOUBT_LIMIT: Duration = Duration::from_secs(5);

/// A call that may have to ask a Hub.
#[derive(Debug, Clone)]
pub struct HubCall {
    /// Whose aliases count.
    pub uid: u32,
    /// The name, or the words of a search.
    pub text: String,
    /// What kind the caller wants.
    pub kind: Option<RepoKind>,
    /// Names or addresses of endpoints; empty: the configured ones.
    pub endpoints: Vec<String>,
    /// The caller's own HF_ENDPOINT.
    pub preferred_endpoint: String,
    /// The caller's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
}

/// What a name means.
#[derive(Debug)]
pub enum Meaning {
    /// This repository.
    Found {
        /// It, with what else the name said.
        reference: Reference,
        /// Who says so.
        by: MeaningBy,
    },
    /// No table and no Hub knows it; these are near, best first.
    Unknown(Vec<RepoSummary>),
}

/// Who says what a name means.
#[derive(Debug)]
pub enum MeaningBy {
    /// A table, or the name itself.
    Table(NameSource),
    /// The Hub knows the id.
    Hub,
    /// The Hub could not be asked; the name is taken as it stands.
    Unchecked(String),
}

pub(super) async fn resolve(shared: &Arc<Shared>, mode: Mode, call: HubCall) -> Result<Meaning, CallError> {
    let config = shared.config();
    submit::check_host(&call.text, &endpoints(&config, mode, &call)?)?;
    let names = Names::new(&config.aliases).map_err(|error| CallError::invalid("name", chain(&error)))?;
    let aliases = shared.store.aliases(call.uid).await?.into_iter().collect();
    let resolved = names
        .resolve_offline(&call.text, call.kind, &aliases)
        .map_err(|error| CallError::invalid("name", chain(&error)))?;
    let reference = match resolved {
        Resolved::Found { source, reference } => {
            return Ok(Meaning::Found {
                reference,
                by: MeaningBy::Table(source),
            });
        }
        Resolved::AskHub(reference) => reference,
    };
    let kind = reference.kind.unwrap_or(RepoKind::Model);
    let accesses = accesses(shared, mode, &call).await?;
    let mut answers = Vec::new();
    for access in &accesses {
        let (endpoint, token) = (&access.endpoint, access.token.as_ref());
        let asked = shared.hub.exists(endpoint, token, kind, &reference.repo_id);
        let known = match questions::ask(shared, access, asked).await {
            Ok(Some(_)) => Known::Yes,
            Ok(None) => Known::No,
            Err(why) => Known::Unasked(why.to_string()),
        };
        let is_known = matches!(known, Known::Yes);
        answers.push((access.trust, known));
        if is_known {
            break;
        }
    }
    let by = match verdict(answers) {
        Known::Yes => MeaningBy::Hub,
        Known::Unasked(why) => MeaningBy::Unchecked(why),
        Known::No => {
            let words = reference.repo_id.as_str();
            return Ok(Meaning::Unknown(near(shared, &accesses, kind, words).await));
        }
    };
    Ok(Meaning::Found { reference, by })
}

/// What an endpoint, or all of them, say of a name.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
    /// It did not answer: why.
    Unasked(String),
}

/// One that knows the name is enough. "No" is the word of the Hub, or of all: a mirror need not have everything.
fn verdict(answers: Vec<(Trust, Known)>) -> Known {
    let mut unasked = None;
    let mut origin_denies = false;
    for (trust, known) in answers {
        match known {
            Known::Yes => return Known::Yes,
            Known::No => origin_denies |= trust == Trust::Origin,
            Known::Unasked(why) => unasked = Some(why),
        }
    }
    match unasked {
        Some(why) if !origin_denies => Known::Unasked(why),
        _ => Known::No,
    }
}

/// Repositories with nearly this name, from the first endpoint that can search, the Hub before its mirrors; none when there
/// is none.
async fn near(shared: &Shared, accesses: &[EndpointAccess], kind: RepoKind, words: &str) -> Vec<RepoSummary> {
    let (origins, mirrors): (Vec<_>, Vec<_>) = accesses.iter().partition(|access| access.trust == Trust::Origin);
    for access in origins.into_iter().chain(mirrors) {
        if let Ok(found) = search_at(shared, access, kind, words, CANDIDATES).await {
            return found;
        }
    }
    Vec::new()
}

pub(super) async fn search(
    shared: &Arc<Shared>,
    mode: Mode,
    call: HubCall,
    limit: u32,
) -> Result<Vec<RepoSummary>, CallError> {
    let kind = call.kind.unwrap_or(RepoKind::Model);
    let mut last = CallError::HubUnreachable("no endpoint is configured".into());
    for access in accesses(shared, mode, &call).await? {
        match search_at(shared, &access, kind, &call.text, limit).await {
            Ok(found) => return Ok(found),
            Err(why) => {
                let refused = why.for_good().map(|failure| failure.message);
                last = CallError::HubUnreachable(refused.unwrap_or_else(|| why.to_string()));
            }
        }
    }
    Err(last)
}

async fn search_at(
    shared: &Shared,
    access: &EndpointAccess,
    kind: RepoKind,
    words: &str,
    limit: u32,
) -> Result<Vec<RepoSummary>, Unanswered> {
    let (endpoint, token) = (&access.endpoint, access.token.as_ref());
    let asked = shared.hub.search(endpoint, token, kind, words, limit as usize);
    questions::ask(shared, access, asked).await
}

fn endpoints(config: &Config, mode: Mode, call: &HubCall) -> Result<Vec<Endpoint>, CallError> {
    let unheard = &mut Vec::new();
    wanted::endpoints(config, mode, &call.endpoints, &call.preferred_endpoint, unheard)
}

async fn accesses(shared: &Arc<Shared>, mode: Mode, call: &HubCall) -> Result<Vec<EndpointAccess>, CallError> {
    let config = shared.config();
    let endpoints = endpoints(&config, mode, call)?;
    let rule = TokenRule::new(mode, &call.preferred_endpoint);
    let own = call.token.clone();
    let token = login::token_of(shared, &config, &rule, call.uid, &endpoints, own, call.no_login).await;
    Ok(access::for_caller(shared, &rule, endpoints, call.uid, token))
}

/// Checks an alias whose target is the text of a call, and gives it in the form that is stored.
pub(super) fn check_alias(
    shared: &Shared,
    mode: Mode,
    name: &str,
    call: &HubCall,
) -> Result<(String, String), CallError> {
    names::check_alias_name(name).map_err(|error| CallError::invalid("name", error))?;
    let reference = names::parse(&call.text).map_err(|error| CallError::invalid("target", chain(&error)))?;
    submit::check_host(&call.text, &endpoints(&shared.config(), mode, call)?)?;
    Ok((names::same_name(name), reference.to_string()))
}

/// Asks whether the target of an alias is there. `None`: it is.
pub(super) async fn doubt_alias(shared: &Arc<Shared>, mode: Mode, call: HubCall) -> Option<String> {
    let reference = names::parse(&call.text).ok()?;
    let kind = reference.kind.unwrap_or(RepoKind::Model);
    let revision = reference.revision.unwrap_or_else(Revision::main);
    let mut doubt = None;
    for access in accesses(shared, mode, &call).await.ok()? {
        let (endpoint, token) = (&access.endpoint, access.token.as_ref());
        let asked = shared.hub.info(endpoint, token, kind, &reference.repo_id, &revision);
        let unchecked = |why: String| format!("whether `{}` exists could not be checked: {why}", call.text);
        let text = match timeout(DOUBT_LIMIT, questions::ask(shared, &access, asked)).await {
            Ok(Ok(_)) => return None,
            Ok(Err(why)) => why
                .for_good()
                .map_or_else(|| unchecked(why.to_string()), |failure| failure.message),
            Err(_) => unchecked(format!("{} does not answer", endpoint.host())),
        };
        doubt.get_or_insert(text);
    }
    doubt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrors_no_is_not_the_last_word() {
        use Known::{No, Unasked, Yes};
        use Trust::{Mirror, Origin};
        let down = || Unasked("down".to_owned());
        for (answers, expected) in [
            (vec![(Mirror, No), (Origin, Yes)], Yes),
            (vec![(Mirror, No), (Mirror, No)], No),
            (vec![(Mirror, No), (Origin, No)], No),
            (vec![(Mirror, No), (Origin, down())], down()),
            (vec![(Mirror, down()), (Origin, No)], No),
            (vec![(Origin, No), (Mirror, down())], No),
            (vec![(Mirror, down()), (Mirror, Yes)], Yes),
            (vec![(Origin, down())], down()),
        ] {
            let shown = format!("{answers:?}");
            assert_eq!(verdict(answers), expected, "{shown}");
        }
    }
}
