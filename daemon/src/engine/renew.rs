//! The tokens of jobs: kept when a job comes, and renewed when it is tried again, for a user who was refused comes back with
//! another one; forgotten when no job needs them.

use std::collections::HashMap;

use super::{
    Engine,
    access::{rule_of, token_origin},
    error::CallError,
    login,
    shared::{Shared, blocking},
    stop::chain,
};
use crate::{
    hub::Endpoint,
    model::{FailureKind, Job, Owner, Token},
    store::StoreError,
    tokens::BoundToken,
};

/// Who tries jobs again, and with what.
#[derive(Debug)]
pub struct Renewal {
    owner: Owner,
    token: Option<Token>,
    no_login: bool,
    /// References of what was kept for the jobs so far, by origin; `None`: there is no token for it.
    kept: HashMap<String, Option<String>>,
}

impl Renewal {
    /// With the token of the call, else, unless that is not wanted, with what the user has left with the daemon.
    pub fn new(owner: Owner, token: Option<Token>, no_login: bool) -> Self {
        Self {
            owner,
            token,
            no_login,
            kept: HashMap::new(),
        }
    }

    /// Whether it can change anything at all for a job. Somebody else's keeps its own submitter's token, and a token that
    /// was not refused gives way only to one that was brought for it.
    fn is_for(&self, job: &Job, is_forgotten: bool) -> bool {
        use FailureKind::{Gated, NotFound, Unauthorized};
        let refused = |job: &Job| {
            let kind = job.failure.as_ref().map(|failure| failure.kind);
            matches!(kind, Some(Gated | NotFound | Unauthorized))
        };
        let wanted =
            self.token.is_some() || (!self.no_login && (job.spec.token_ref.is_none() || is_forgotten || refused(job)));
        wanted && job.owner.uid == self.owner.uid
    }
}

/// Keeps a token for jobs of a user and gives the reference to it.
pub(super) async fn keep_token(shared: &Shared, uid: u32, bound: BoundToken) -> Result<String, CallError> {
    let in_use = shared.store.token_refs(uid).await?;
    let (tokens, now) = (shared.tokens.clone(), shared.clock.now());
    let kept = blocking(move || tokens.keep(uid, &bound, &in_use, now)).await;
    kept.map_err(|error| login::refused(&error))
}

/// Forgets the tokens that no open job and no schedule needs any more. What cannot be read is told at the start, and by the doctor.
pub(super) async fn forget_tokens(shared: &Shared) -> Result<(), StoreError> {
    let tokens = shared.tokens.clone();
    for uid in blocking(move || tokens.users()).await {
        let in_use = shared.store.token_refs(uid).await?;
        let (tokens, now) = (shared.tokens.clone(), shared.clock.now());
        match blocking(move || tokens.forget(uid, &in_use, now)).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(uid, gone, "tokens of ended jobs were forgotten"),
            Err(error) => tracing::debug!(uid, error = chain(&error), "tokens of ended jobs cannot be forgotten"),
        }
    }
    Ok(())
}

/// The token that a job came with is gone: it had ended some time ago.
async fn is_forgotten(shared: &Shared, job: &Job) -> bool {
    let Some(reference) = job.spec.token_ref.clone() else {
        return false;
    };
    let (tokens, uid) = (shared.tokens.clone(), job.owner.uid);
    let kept = blocking(move || tokens.get(uid, &reference)).await;
    kept.is_ok_and(|kept| kept.is_none())
}

/// Binds the token to the origin of a job that is about to be tried again.
async fn renew(shared: &Shared, renewal: &mut Renewal, job: &Job) -> Result<(), CallError> {
    if !renewal.is_for(job, is_forgotten(shared, job).await) {
        return Ok(());
    }
    let endpoints = job.spec.endpoints.iter();
    let endpoints: Vec<Endpoint> = endpoints.filter_map(|base| Endpoint::parse(base, base).ok()).collect();
    let rule = rule_of(shared.mode, &job.spec);
    let Some(origin) = token_origin(&shared.config(), &rule, &endpoints) else {
        return Ok(());
    };
    let uid = renewal.owner.uid;
    let reference = match renewal.kept.get(&origin) {
        Some(known) => known.clone(),
        None => {
            let token = match &renewal.token {
                Some(token) => Some(token.clone()),
                None => login::kept(shared, uid, origin.clone()).await,
            };
            let bound = token.map(|token| BoundToken {
                origin: origin.clone(),
                token,
            });
            let reference = match bound {
                Some(bound) => Some(keep_token(shared, uid, bound).await?),
                None => None,
            };
            renewal.kept.insert(origin, reference.clone());
            reference
        }
    };
    match reference {
        Some(reference) if job.spec.token_ref.as_ref() != Some(&reference) => {
            Ok(shared.store.set_token_ref(&job.id, reference).await?)
        }
        _ => Ok(()),
    }
}

impl Engine {
    /// Gives a job that is about to be tried again the token that its owner has now.
    ///
    /// # Errors
    /// When the token cannot be kept.
    pub async fn renew_token(&self, renewal: &mut Renewal, job: &Job) -> Result<(), CallError> {
        renew(&self.shared, renewal, job).await
    }
}
