//! Tokens that users leave with the daemon, for jobs that bring none. One for each user and origin; never given back.

use std::sync::Arc;

use url::Url;

use super::{
    Engine,
    access::{self, NOT_SENT, TokenRule},
    error::CallError,
    shared::{Shared, blocking},
    stop::chain,
    wanted,
};
use crate::{
    config::{Config, Mode, TokenPolicy},
    hub::{Account, Endpoint, HubError, failure},
    model::{Failure, FailureKind, Token},
    tokens::{BoundToken, TokenError},
};

/// Whose token, and where it may go.
#[derive(Debug, Clone)]
pub struct TokenCall {
    /// The caller.
    pub uid: u32,
    /// An endpoint's name or address; empty: the first that tokens may go to.
    pub endpoint: String,
    /// The caller's own HF_ENDPOINT.
    pub preferred_endpoint: String,
    /// The caller's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
}

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// The call brought it.
    Caller,
    /// It was left with the daemon.
    Login,
}

/// Whose token it is.
#[derive(Debug)]
pub struct Identity {
    /// Base address of the endpoint that was asked.
    pub endpoint: String,
    /// Where its web pages are.
    pub pages: Url,
    /// `None`: there is no token.
    pub source: Option<TokenSource>,
    /// What the endpoint says.
    pub account: Result<Option<Account>, Failure>,
}

/// Checks a token at its endpoint and keeps it.
pub(super) async fn login(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<Identity, CallError> {
    let endpoint = endpoint(shared, mode, &call)?;
    let Some(token) = call.token else {
        return Err(CallError::invalid("token", "is missing"));
    };
    let account = ask(shared, &endpoint, &token).await;
    if account.is_ok() {
        let bound = BoundToken {
            origin: endpoint.origin().ascii_serialization(),
            token,
        };
        let (tokens, uid) = (shared.tokens.clone(), call.uid);
        let kept = blocking(move || tokens.log_in(uid, &bound)).await;
        kept.map_err(|error| refused(&error))?;
    }
    Ok(Identity {
        endpoint: wanted::base_text(&endpoint),
        pages: endpoint.pages().clone(),
        source: Some(TokenSource::Caller),
        account: account.map(Some),
    })
}

/// Forgets the kept token; false when there was none.
pub(super) async fn logout(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<(String, bool), CallError> {
    let endpoint = endpoint(shared, mode, &call)?;
    let (tokens, origin) = (shared.tokens.clone(), endpoint.origin().ascii_serialization());
    let removed = blocking(move || tokens.log_out(call.uid, &origin)).await;
    let removed = removed.map_err(|error| refused(&error))?;
    Ok((wanted::base_text(&endpoint), removed))
}

/// Whose token would be used.
pub(super) async fn who_am_i(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<Identity, CallError> {
    let endpoint = endpoint(shared, mode, &call)?;
    let (token, source) = match call.token {
        Some(token) => (Some(token), Some(TokenSource::Caller)),
        None if call.no_login => (None, None),
        None => match read(shared, call.uid, endpoint.origin().ascii_serialization()).await {
            Ok(kept) => {
                let source = kept.as_ref().map(|_| TokenSource::Login);
                (kept, source)
            }
            Err(why) => {
                let hint = "the owner of the daemon finds more in its log, and with `hfctl doctor`";
                return Ok(Identity {
                    endpoint: wanted::base_text(&endpoint),
                    pages: endpoint.pages().clone(),
                    source: Some(TokenSource::Login),
                    account: Err(Failure::new(FailureKind::Unauthorized, unreadable(&why), hint)),
                });
            }
        },
    };
    let account = match &token {
        Some(token) => ask(shared, &endpoint, token).await.map(Some),
        None => Ok(None),
    };
    Ok(Identity {
        endpoint: wanted::base_text(&endpoint),
        pages: endpoint.pages().clone(),
        source,
        account,
    })
}

/// The token of a call: its own, else, unless it wants none, the one that its user has left for the endpoint that may see one.
pub(super) async fn token_of(
    shared: &Arc<Shared>,
    config: &Config,
    rule: &TokenRule,
    uid: u32,
    endpoints: &[Endpoint],
    own: Option<Token>,
    no_login: bool,
) -> Option<Token> {
    if own.is_some() || no_login {
        return own;
    }
    let endpoint = endpoints
        .iter()
        .find(|endpoint| access::policy(config, rule, endpoint) == TokenPolicy::Own)?;
    kept(shared, uid, endpoint.origin().ascii_serialization()).await
}

/// The token that a user has left for an origin. One that cannot be read counts as none: the user hears of it where it matters.
pub(super) async fn kept(shared: &Shared, uid: u32, origin: String) -> Option<Token> {
    read(shared, uid, origin).await.unwrap_or_else(|error| {
        tracing::error!(uid, error, "a user's kept token cannot be read");
        None
    })
}

async fn read(shared: &Shared, uid: u32, origin: String) -> Result<Option<Token>, String> {
    let tokens = shared.tokens.clone();
    let found = blocking(move || tokens.login(uid, &origin)).await;
    found.map_err(|error| chain(&error))
}

/// Why what a user has left cannot be used, for who submits without a token; `None` when nothing is wrong with it.
pub(super) async fn doubt(shared: &Shared, uid: u32) -> Option<String> {
    let why = read(shared, uid, String::new()).await.err()?;
    Some(format!("{}; the job has none", unreadable(&why)))
}

/// What a caller hears whose tokens cannot be kept.
pub(super) fn refused(error: &TokenError) -> CallError {
    match error.is_unreadable() {
        true => CallError::TokensUnreadable(chain(error)),
        false => CallError::Internal(chain(error)),
    }
}

fn unreadable(why: &str) -> String {
    format!("the tokens that you have left with the daemon cannot be read ({why})")
}

async fn ask(shared: &Shared, endpoint: &Endpoint, token: &Token) -> Result<Account, Failure> {
    let asked = shared.hub.whoami(endpoint, Some(token)).await;
    asked.map_err(|error: HubError| failure(&error))
}

/// The endpoint that the call is about: one that tokens may go to.
fn endpoint(shared: &Shared, mode: Mode, call: &TokenCall) -> Result<Endpoint, CallError> {
    let config = shared.config();
    let named: Vec<String> = Some(call.endpoint.clone())
        .filter(|name| !name.is_empty())
        .into_iter()
        .collect();
    let mut endpoints = wanted::endpoints(&config, mode, &named, &call.preferred_endpoint, &mut Vec::new())?;
    let rule = TokenRule::new(mode, &call.preferred_endpoint);
    endpoints.retain(|endpoint| access::policy(&config, &rule, endpoint) == TokenPolicy::Own);
    let first = endpoints.into_iter().next();
    let counted = first.map(|endpoint| endpoint.counted(shared.ledgers.of_user(call.uid)));
    counted.ok_or_else(|| CallError::invalid("endpoint", format!("no token is sent there: {NOT_SENT}")))
}

impl Engine {
    /// Checks a user's token at its endpoint and keeps it for jobs that bring none.
    ///
    /// # Errors
    /// With the field that is wrong; what the endpoint refuses is in the answer.
    pub async fn login(&self, call: TokenCall) -> Result<Identity, CallError> {
        login(&self.shared, self.mode, call).await
    }

    /// Forgets a kept token. Tells the endpoint, and whether there was one.
    ///
    /// # Errors
    /// With the field that is wrong.
    pub async fn logout(&self, call: TokenCall) -> Result<(String, bool), CallError> {
        logout(&self.shared, self.mode, call).await
    }

    /// Whose token would be used.
    ///
    /// # Errors
    /// With the field that is wrong; what the endpoint refuses is in the answer.
    pub async fn who_am_i(&self, call: TokenCall) -> Result<Identity, CallError> {
        who_am_i(&self.shared, self.mode, call).await
    }
}
