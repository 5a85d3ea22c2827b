//! Which endpoints a job may use, and which of them may see its submitter's token.

use std::sync::Arc;

use super::shared::{EndpointAccess, Shared, blocking};
use crate::{
    config::{Config, TokenPolicy, is_public_mirror},
    hub::Endpoint,
    model::{Job, Token, Trust},
    tokens::BoundToken,
};

/// Whether a user's token may go to an endpoint: what the configuration says of it. One that a user named by address
/// gets it, as with the Python client, unless it is a known public mirror.
pub(super) fn policy(config: &Config, endpoint: &Endpoint) -> TokenPolicy {
    let configured = config
        .endpoints
        .iter()
        .find(|known| known.url.origin() == endpoint.origin());
    match configured {
        Some(known) => known.token,
        None if is_public_mirror(&endpoint.host()) => TokenPolicy::Never,
        None => TokenPolicy::Own,
    }
}

/// The endpoint's own word counts as the official one where users trust it with their tokens.
fn trust(policy: TokenPolicy) -> Trust {
    match policy {
        TokenPolicy::Own => Trust::Origin,
        TokenPolicy::Never => Trust::Mirror,
    }
}

/// An endpoint for a call that was made with a token at hand.
pub(super) fn with_token(config: &Config, endpoint: Endpoint, token: Option<&Token>) -> EndpointAccess {
    let policy = policy(config, &endpoint);
    let token = token.filter(|_| policy == TokenPolicy::Own).cloned();
    EndpointAccess {
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
    job.spec
        .endpoints
        .iter()
        .filter_map(|base| {
            let endpoint = Endpoint::parse(base, base)
                .map_err(|error| tracing::error!(%error, "a stored endpoint"))
                .ok()?;
            let policy = policy(&config, &endpoint);
            let token = token_for(bound.as_ref(), &endpoint).filter(|_| policy == TokenPolicy::Own);
            Some(EndpointAccess {
                endpoint,
                token,
                trust: trust(policy),
            })
        })
        .collect()
}

/// The token, only for the origin that it is bound to.
fn token_for(bound: Option<&BoundToken>, endpoint: &Endpoint) -> Option<Token> {
    bound
        .filter(|bound| bound.origin == endpoint.origin().ascii_serialization())
        .map(|bound| bound.token.clone())
}
