//! Which endpoints a job may use, and which of them may see its submitter's token.

use std::sync::Arc;

use url::{Origin, Url};

use super::{
    shared::{EndpointAccess, Shared, blocking},
    stop::chain,
    transfer::hint,
};
use crate::{
    config::{Bytes, Config, HUB, Mode, TokenPolicy, is_hub, is_public_mirror},
    hub::Endpoint,
    model::{Job, JobSpec, Token, Trust},
    tokens::BoundToken,
};

/// Who names endpoints in a call: decides which of those that the configuration does not list may see a token.
#[derive(Debug, Clone)]
pub(super) struct TokenRule {
    mode: Mode,
    /// The origin of the caller's own HF_ENDPOINT, or of that of a job's submitter.
    own: Option<Origin>,
}

impl TokenRule {
    /// For a caller with this HF_ENDPOINT; empty: none.
    pub(super) fn new(mode: Mode, preferred_endpoint: &str) -> Self {
        let own = Endpoint::parse("", preferred_endpoint).ok();
        Self {
            mode,
            own: own.map(|endpoint| endpoint.origin()),
        }
    }

    /// The one of these endpoints that is the caller's own, as it is stored with a job.
    pub(super) fn own_of(&self, endpoints: &[Endpoint]) -> Option<String> {
        let own = self.own.as_ref()?;
        let found = endpoints.iter().any(|endpoint| endpoint.origin() == *own);
        found.then(|| own.ascii_serialization())
    }
}

/// Whether a user's token may go to an endpoint: what the configuration says of it. Of others the Hub gets it, and what the
/// user has as HF_ENDPOINT, as with the Python client, unless it is a known public mirror; not what is only named in a
/// call. On a shared daemon only configured ones do.
pub(super) fn policy(config: &Config, rule: &TokenRule, endpoint: &Endpoint) -> TokenPolicy {
    let origin = endpoint.origin();
    let configured = config.endpoints.iter().find(|known| known.url.origin() == origin);
    match configured {
        Some(known) => known.token,
        None if rule.mode == Mode::System || is_public_mirror(&endpoint.host()) => TokenPolicy::Never,
        None if is_hub(endpoint.base()) || rule.own.as_ref() == Some(&origin) => TokenPolicy::Own,
        None => TokenPolicy::Never,
    }
}

/// What a user is told whose token goes nowhere.
pub(super) const NOT_SENT: &str =
    "only the Hub, your HF_ENDPOINT and [[endpoints]] with `token = \"own\"` are trusted with one";

/// The endpoint's own word counts as the official one where users trust it with their tokens.
pub(super) fn trust(policy: TokenPolicy) -> Trust {
    match policy {
        TokenPolicy::Own => Trust::Origin,
        TokenPolicy::Never => Trust::Mirror,
    }
}

/// The one origin of a call that may see its caller's token: the first whose policy allows it.
pub(super) fn token_origin(config: &Config, rule: &TokenRule, endpoints: &[Endpoint]) -> Option<String> {
    let own = endpoints
        .iter()
        .find(|endpoint| policy(config, rule, endpoint) == TokenPolicy::Own);
    own.map(|endpoint| endpoint.origin().ascii_serialization())
}

/// Where the web pages of these endpoints are, those where terms are accepted: at the first that is trusted with tokens, else
/// at the first of the configuration that is, else at the Hub. A mirror passes them on at best.
fn pages(config: &Config, rule: &TokenRule, endpoints: &[Endpoint]) -> Option<Url> {
    let own = endpoints
        .iter()
        .find(|endpoint| policy(config, rule, endpoint) == TokenPolicy::Own);
    let configured = || config.endpoints.iter().find(|known| known.token == TokenPolicy::Own);
    own.map(|endpoint| endpoint.base().clone())
        .or_else(|| configured().map(|known| known.url.clone()))
        .or_else(|| Url::parse(HUB).ok())
}

/// Endpoints for a call that was made with a token at hand; what they bring is counted for the caller.
pub(super) fn for_caller(
    shared: &Shared,
    rule: &TokenRule,
    endpoints: Vec<Endpoint>,
    uid: u32,
    token: Option<Token>,
) -> Vec<EndpointAccess> {
    let ledger = shared.ledgers.of_user(uid);
    let counted = endpoints.into_iter().map(|endpoint| endpoint.counted(ledger.clone()));
    for_call(&shared.config(), rule, counted.collect(), uid, token)
}

fn for_call(
    config: &Config,
    rule: &TokenRule,
    endpoints: Vec<Endpoint>,
    uid: u32,
    token: Option<Token>,
) -> Vec<EndpointAccess> {
    let bound =
        token.and_then(|token| token_origin(config, rule, &endpoints).map(|origin| BoundToken { origin, token }));
    let pages = pages(config, rule, &endpoints);
    endpoints
        .into_iter()
        .map(|endpoint| grant(config, rule, endpoint, uid, bound.as_ref(), pages.as_ref()))
        .collect()
}

fn grant(
    config: &Config,
    rule: &TokenRule,
    endpoint: Endpoint,
    uid: u32,
    bound: Option<&BoundToken>,
    pages: Option<&Url>,
) -> EndpointAccess {
    let policy = policy(config, rule, &endpoint);
    let configured = config
        .endpoints
        .iter()
        .find(|known| known.url.origin() == endpoint.origin());
    let fallback = configured.is_some_and(|known| known.bytes == Bytes::Fallback);
    let endpoint = match pages {
        Some(pages) => endpoint.with_pages(pages.clone()),
        None => endpoint,
    };
    let origin = endpoint.origin().ascii_serialization();
    let token = bound
        .filter(|bound| policy == TokenPolicy::Own && bound.origin == origin)
        .map(|bound| bound.token.clone());
    EndpointAccess {
        account: token.as_ref().map(|_| uid),
        endpoint,
        token,
        trust: trust(policy),
        fallback,
    }
}

/// The rule under which a job was submitted.
pub(super) fn rule_of(mode: Mode, spec: &JobSpec) -> TokenRule {
    TokenRule::new(mode, spec.own_endpoint.as_deref().unwrap_or_default())
}

/// The endpoints of a stored job. A token that cannot be read counts as none: the Hub's answer will say what is missing.
pub(super) async fn endpoints_of(shared: &Arc<Shared>, job: &Job) -> Vec<EndpointAccess> {
    let config = shared.config();
    let bound = match job.spec.token_ref.clone() {
        Some(reference) => {
            let (tokens, uid) = (shared.tokens.clone(), job.owner.uid);
            let read = blocking(move || tokens.get(uid, &reference)).await;
            match read {
                Ok(bound) => bound,
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(job = %job.id, error, "the submitter's token cannot be read");
                    let text = format!("the job goes on without its token, which cannot be read: {error}");
                    hint(shared.store.warn(&job.id, String::new(), text).await);
                    None
                }
            }
        }
        None => None,
    };
    let rule = rule_of(shared.mode, &job.spec);
    let ledger = shared.ledgers.of_job(job);
    let stored = job.spec.endpoints.iter().filter_map(|base| {
        let endpoint = Endpoint::parse(base, base);
        let endpoint = endpoint.map_err(|error| tracing::error!(%error, "a stored endpoint"));
        Some(endpoint.ok()?.counted(ledger.clone()))
    });
    let endpoints: Vec<Endpoint> = stored.collect();
    let pages = pages(&config, &rule, &endpoints);
    endpoints
        .into_iter()
        .map(|endpoint| grant(&config, &rule, endpoint, job.owner.uid, bound.as_ref(), pages.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::config_of;

    #[test]
    fn a_token_goes_to_the_hub_to_ones_own_endpoint_and_where_the_configuration_says() {
        let listed =
            "[[endpoints]]\nurl = 'https://olah.example'\n[[endpoints]]\nurl = 'https://ours.example'\ntoken = 'own'";
        let ours = [("HF_ENDPOINT", "https://daemon.example")];
        let cases = [
            (config_of(Mode::User, listed, &[]), Mode::User, ""),
            (
                config_of(Mode::User, "", &ours),
                Mode::User,
                "https://mine.example/hub/",
            ),
            (config_of(Mode::User, "", &[]), Mode::User, "https://hf-mirror.com"),
            (config_of(Mode::User, "", &[]), Mode::User, "http://huggingface.co"),
            (
                config_of(Mode::System, listed, &[]),
                Mode::System,
                "https://mine.example",
            ),
        ];
        let check = |url: &str, expected: [bool; 5]| {
            let endpoint = Endpoint::parse("", url).unwrap();
            let found = cases
                .each_ref()
                .map(|(config, mode, own)| policy(config, &TokenRule::new(*mode, own), &endpoint) == TokenPolicy::Own);
            assert_eq!(found, expected, "{url}");
        };
        check("https://huggingface.co", [true, true, true, true, false]);
        // Anybody on the way could read it.
        check("http://huggingface.co", [false, false, false, true, false]);
        check("https://huggingface.co:8443", [false; 5]);
        check("https://huggingface.co.evil.example", [false; 5]);
        check("https://some-mirror.example", [false; 5]);
        check("https://hf-mirror.com", [false; 5]);
        check("https://olah.example", [false; 5]);
        check("https://ours.example", [true, false, false, false, true]);
        check("https://daemon.example", [false, true, false, false, false]);
        check("https://mine.example", [false, true, false, false, false]);
        check("http://mine.example", [false; 5]);
    }

    #[test]
    fn terms_are_accepted_at_the_origin_in_force() {
        let listed = "[[endpoints]]\nurl = 'https://olah.example'\n[[endpoints]]\nurl = 'https://ours.example/hf'\ntoken = 'own'";
        let mirror = ("HF_ENDPOINT", "https://hf-mirror.com");
        let check = |(listed, environment): (&str, &[(&str, &str)]), named: &[&str], expected: &str| {
            let config = config_of(Mode::User, listed, environment);
            let named = named.iter().map(|url| Endpoint::parse("", url).unwrap()).collect();
            let granted = for_call(&config, &TokenRule::new(Mode::User, ""), named, 7, None);
            let pages: Vec<&str> = granted.iter().map(|access| access.endpoint.pages().as_str()).collect();
            assert!(
                pages.iter().all(|pages| *pages == expected),
                "{pages:?}, not {expected}"
            );
        };
        let ours = "https://ours.example/hf";
        check((listed, &[]), &["https://olah.example", ours], ours);
        check((listed, &[]), &["https://olah.example"], ours);
        check((listed, &[]), &["https://huggingface.co"], "https://huggingface.co/");
        check(("", &[]), &["https://some-mirror.example"], "https://huggingface.co/");
        check(("", &[mirror]), &["https://hf-mirror.com"], "https://huggingface.co/");
        let own = [("HF_ENDPOINT", "https://daemon.example")];
        check(("", &own), &["https://daemon.example"], "https://daemon.example/");
    }

    #[test]
    fn the_first_that_may_see_it_gets_it_wherever_it_stands() {
        let config = config_of(Mode::User, "", &[]);
        let rule = TokenRule::new(Mode::User, "");
        let named = ["https://some-mirror.example", "https://huggingface.co"]
            .map(|url| Endpoint::parse("", url).unwrap())
            .to_vec();
        let granted = for_call(&config, &rule, named.clone(), 7, Token::new("hf_x"));
        let seen: Vec<_> = granted
            .iter()
            .map(|access| (access.token.is_some(), access.trust))
            .collect();
        assert_eq!(seen, [(false, Trust::Mirror), (true, Trust::Origin)]);
        assert_eq!(rule.own_of(&named), None);
        let mine = TokenRule::new(Mode::User, "https://some-mirror.example/");
        assert_eq!(mine.own_of(&named).as_deref(), Some("https://some-mirror.example"));
    }
}
