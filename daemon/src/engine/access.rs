//! Which endpoints a job may use, and which of them may see its submitter's token.

use std::sync::Arc;

use super::shared::{EndpointAccess, Shared, blocking};
use crate::{
    config::{Config, Mode, TokenPolicy, is_public_mirror},
    hub::Endpoint,
    model::{Job, Token, Trust},
    tokens::BoundToken,
};

/// Whether a user's token may go to an endpoint: what the configuration says of it. One that a user named by address
/// gets it, as with the Python client, unless it is a known public mirror; on a shared daemon only configured ones do.
pub(super) fn policy(config: &Config, mode: Mode, endpoint: &Endpoint) -> TokenPolicy {
    let configured = config
        .endpoints
        .iter()
        .find(|known| known.url.origin() == endpoint.origin());
    match configured {
        Some(known) => known.token,
        None if mode == Mode::System || is_public_mirror(&endpoint.host()) => TokenPolicy::Never,
        None => TokenPolicy::Own,
    }
}

/// The endpoint's own word counts as the official one where users trust it with their tokens.
pub(super) fn trust(policy: TokenPolicy) -> Trust {
    match policy {
        TokenPolicy::Own => Trust::Origin,
        TokenPolicy::Never => Trust::Mirror,
    }
}

/// The one origin of a call that may see its caller's token: the first whose policy allows it.
pub(super) fn token_origin(config: &Config, mode: Mode, endpoints: &[Endpoint]) -> Option<String> {
    let own = endpoints
        .iter()
        .find(|endpoint| policy(config, mode, endpoint) == TokenPolicy::Own);
    own.map(|endpoint| endpoint.origin().ascii_serialization())
}

/// Endpoints for a call that was made with a token at hand.
pub(super) fn for_call(
    shared: &Shared,
    mode: Mode,
    endpoints: Vec<Endpoint>,
    uid: u32,
    token: Option<Token>,
) -> Vec<EndpointAccess> {
    let config = shared.config();
    let ledger = shared.ledgers.of_user(uid);
    let bound =
        token.and_then(|token| token_origin(&config, mode, &endpoints).map(|origin| BoundToken { origin, token }));
    endpoints
        .into_iter()
        .map(|endpoint| grant(&config, mode, endpoint.counted(ledger.clone()), uid, bound.as_ref()))
        .collect()
}

fn grant(config: &Config, mode: Mode, endpoint: Endpoint, uid: u32, bound: Option<&BoundToken>) -> EndpointAccess {
    let policy = policy(config, mode, &endpoint);
    let origin = endpoint.origin().ascii_serialization();
    let token = bound
        .filter(|bound| policy == TokenPolicy::Own && bound.origin == origin)
        .map(|bound| bound.token.clone());
    EndpointAccess {
        account: token.as_ref().map(|_| uid),
        endpoint,
        token,
        trust: trust(policy),
    }
}

/// The endpoints of a stored job. A token that cannot be read counts as none: the Hub's answer will say what is missing.
pub(super) async fn endpoints_of(shared: &Arc<Shared>, job: &Job) -> Vec<EndpointAccess> {
    let config = shared.config();
    let bound = match job.spec.token_ref.clone() {
        Some(reference) => {
            let (shared, uid) = (shared.clone(), job.owner.uid);
            let read = blocking(move || shared.tokens.get(uid, &reference)).await;
            read.unwrap_or_else(|error| {
                tracing::error!(job = %job.id, %error, "the submitter's token cannot be read");
                None
            })
        }
        None => None,
    };
    let ledger = shared.ledgers.of_job(job);
    job.spec
        .endpoints
        .iter()
        .filter_map(|base| {
            let endpoint = Endpoint::parse(base, base)
                .map_err(|error| tracing::error!(%error, "a stored endpoint"))
                .ok()?
                .counted(ledger.clone());
            Some(grant(&config, shared.mode, endpoint, job.owner.uid, bound.as_ref()))
        })
        .collect()
}
