//! Looks at everything that a download needs, and says of each thing whether it is well and what to do if it is not.

mod places;

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{
    Engine,
    access::{self, TokenRule},
    error::CallError,
    login::{self, TokenCall},
    shared::{Shared, blocking},
    stop::chain,
    wanted,
};
use crate::{
    config::Mode,
    hub::{Endpoint, Hop, Reading, Way, tokens_page},
    model::FailureKind,
};

/// A clock that differs by more makes signed addresses and certificates doubtful; by more than the second, useless.
const CLOCK_SEC: (i64, i64) = (30, 300);
/// A token that ends within so many hours is worth a word.
const EXPIRES_SOON_HOURS: i64 = 7 * 24;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It is well.
    Ok,
    /// Downloads work, but something should be known.
    Warning,
    /// Downloads do not work, or not all of them.
    Broken,
}

/// What was found out about one thing.
#[derive(Debug)]
pub struct Finding {
    /// One stable word.
    pub check: &'static str,
    /// How bad.
    pub health: Health,
    /// One sentence.
    pub message: String,
    /// What to do; empty when nothing is to be done.
    pub hint: String,
}

impl Finding {
    fn new(check: &'static str, health: Health, message: String, hint: &str) -> Self {
        Self {
            check,
            health,
            message,
            hint: hint.to_owned(),
        }
    }

    fn ok(check: &'static str, message: String) -> Self {
        Self::new(check, Health::Ok, message, "")
    }
}

/// Examines everything that the daemon sees.
pub(super) async fn examine(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<Vec<Finding>, CallError> {
    // It costs as much as a dry run.
    let _turn = shared.previews.acquire().await.map_err(|_| CallError::Stopping)?;
    let config = shared.config();
    let mut findings: Vec<Finding> = config
        .warnings
        .iter()
        .map(|warning| {
            Finding::new(
                "config",
                Health::Warning,
                warning.clone(),
                "`hfetchd --check-config` tells the same",
            )
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "config",
            "the configuration in force has no warnings".to_owned(),
        ));
    }
    for cache in config.storage.caches.clone() {
        let min_free = config.storage.min_free;
        findings.extend(blocking(move || places::look(&cache, |total| min_free.bytes(total))).await);
    }
    findings.extend(token_files(shared, call.uid).await);
    let mut warnings = Vec::new();
    let endpoints = wanted::endpoints(&config, mode, &[], &call.preferred_endpoint, &mut warnings)?;
    findings.extend(
        warnings
            .into_iter()
            .map(|warning| Finding::new("endpoint", Health::Warning, warning, "")),
    );
    let ways = shared.hub.routes().ways();
    let proxies = ways.iter().filter(|way| **way != Way::Direct);
    findings.extend(join_all(proxies.map(|way| proxy(shared, way))).await);
    let ledger = shared.ledgers.of_user(call.uid);
    let endpoints: Vec<Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| endpoint.counted(ledger.clone()))
        .collect();
    let asked = endpoints.iter().map(|known| endpoint(shared, known, &ways));
    let mut looks: Vec<Vec<Finding>> = join_all(asked).await;
    let answering = looks
        .iter()
        .any(|found| found.iter().all(|finding| finding.health != Health::Broken));
    for found in &mut looks {
        // One of several that does not answer is no end: jobs go to the next.
        for finding in found
            .iter_mut()
            .filter(|finding| answering && finding.health == Health::Broken)
        {
            finding.health = Health::Warning;
        }
    }
    findings.extend(looks.into_iter().flatten());
    let rule = TokenRule::new(mode, &call.preferred_endpoint);
    let may_see_token = endpoints
        .iter()
        .any(|endpoint| access::policy(&config, &rule, endpoint) == crate::config::TokenPolicy::Own);
    if may_see_token {
        findings.push(token(shared, mode, call).await?);
    }
    Ok(findings)
}

async fn proxy(shared: &Shared, way: &Way) -> Finding {
    match shared.hub.knock(way).await {
        Ok(took) => Finding::ok(
            "proxy",
            format!("the proxy {} takes connections ({} ms)", way.name(), took.as_millis()),
        ),
        Err(why) => Finding::new(
            "proxy",
            Health::Broken,
            format!("the proxy {} does not take connections: {why}", way.name()),
            "start it, or correct [[proxies]] (or the proxy variables of the daemon)",
        ),
    }
}

/// Whether an endpoint answers by the way that the rules choose, how the others do, and what time it has.
async fn endpoint(shared: &Shared, endpoint: &Endpoint, ways: &[Way]) -> Vec<Finding> {
    let hops = shared.hub.trace_base(endpoint).await;
    let mut findings = Vec::new();
    let host = endpoint.host();
    let Some(first) = hops.first() else {
        return findings;
    };
    let rule = &first.decision.by;
    let (mut routes, mut elsewhere) = (Vec::new(), None);
    for way in ways {
        let chosen = first.decision.ways.contains(way);
        if chosen && first.decision.ways.len() == 1 || first.decision.ways.is_empty() {
            continue;
        }
        let Reading { first_byte, error, .. } = shared.hub.measure(endpoint, None, first, way).await;
        let text = match (first_byte, error) {
            (Some(took), _) => {
                elsewhere.get_or_insert(way.name());
                format!("{host} would answer by {} in {} ms", way.name(), took.as_millis())
            }
            (None, why) => format!("{host} does not answer by {}: {}", way.name(), why.unwrap_or_default()),
        };
        routes.push(Finding::ok("route", text));
    }
    // Its front page may be anything; that it answers is what counts.
    match (&first.first_byte, &first.error, &first.way) {
        (Some(took), _, Some(way)) => findings.push(Finding::ok(
            "endpoint",
            format!("{host} answers in {} ms by {} ({rule})", took.as_millis(), way.name()),
        )),
        (_, why, _) => findings.push(Finding::new(
            "endpoint",
            Health::Broken,
            why.clone().unwrap_or_else(|| format!("{host} does not answer")),
            &what_to_do(&host, first.decision.ways.is_empty(), elsewhere, &routes),
        )),
    }
    findings.extend(clock(&host, first));
    findings.extend(routes);
    findings
}

/// What to do about an endpoint that does not answer by the way that the rules choose.
fn what_to_do(host: &str, rejected: bool, elsewhere: Option<&str>, tried: &[Finding]) -> String {
    match (elsewhere, tried) {
        _ if rejected => "change `routing.rules`, then `hfctl daemon reload`".to_owned(),
        (Some(way), _) => format!("lead {host} by {way} in `routing.rules`, then `hfctl daemon reload`"),
        (None, []) => "look at the network, name a proxy in [[proxies]], or a mirror in [[endpoints]]".to_owned(),
        (None, _) => {
            "no way leads there (see the routes below): look at the network, or name a mirror in [[endpoints]]"
                .to_owned()
        }
    }
}

fn clock(host: &str, hop: &Hop) -> Option<Finding> {
    let theirs = hop.clock?;
    let seconds = Timestamp::now().duration_since(theirs).as_secs();
    let (doubtful, useless) = CLOCK_SEC;
    let text = format!(
        "the clock of this machine and that of {host} differ by {} s",
        seconds.abs()
    );
    let hint = "set the clock: `timedatectl set-ntp true`";
    Some(match seconds.abs() {
        difference if difference > useless => Finding::new("clock", Health::Broken, text, hint),
        difference if difference > doubtful => Finding::new("clock", Health::Warning, text, hint),
        _ => Finding::ok("clock", format!("the clock agrees with that of {host}")),
    })
}

/// Whether what users have left can be read. Whose the others' are is not told.
async fn token_files(shared: &Shared, uid: u32) -> Vec<Finding> {
    let tokens = shared.tokens.clone();
    let (sealed, unreadable) = (shared.tokens.is_sealed(), blocking(move || tokens.unreadable()).await);
    if unreadable.is_empty() {
        let text = match sealed {
            true => "the tokens of users are sealed on the disk",
            false => "the tokens of users are in files that only the daemon reads, and not sealed",
        };
        return vec![Finding::ok("tokens", text.to_owned())];
    }
    let own = unreadable.iter().find(|error| error.is_of(uid)).or(unreadable.first());
    let others = unreadable.len() - 1;
    let text = match (own, others) {
        (Some(error), 0) => chain(error),
        (Some(error), more) => format!("{}; and {more} more", chain(error)),
        (None, _) => return Vec::new(),
    };
    let hint = "start the daemon with the credential `token-key` with which they were sealed (LoadCredentialEncrypted= of its unit); \
                or remove the file, and its user logs in again";
    vec![Finding::new("tokens", Health::Broken, text, hint)]
}

async fn token(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<Finding, CallError> {
    let identity = login::who_am_i(shared, mode, call).await?;
    let at = &identity.endpoint;
    Ok(match identity.account {
        // That is told of the endpoint already; of the token it tells nothing.
        Err(failure)
            if matches!(
                failure.kind,
                FailureKind::EndpointUnreachable | FailureKind::BadEndpoint
            ) =>
        {
            let text = format!("whether {at} accepts the token could not be asked: {}", failure.message);
            Finding::new("token", Health::Warning, text, &failure.hint_alone())
        }
        Err(failure) => {
            let hint = failure.hint_alone();
            Finding::new("token", Health::Broken, failure.message, &hint)
        }
        Ok(None) => Finding::ok("token", format!("there is no token for {at}: downloads are anonymous")),
        Ok(Some(account)) => {
            let text = format!("the token for {at} is that of {}", account.name);
            match account.expires_at {
                Some(end) if end.duration_since(Timestamp::now()).as_hours() < EXPIRES_SOON_HOURS => Finding::new(
                    "token",
                    Health::Warning,
                    format!("{text} and ends at {end}"),
                    &format!("make a new one at {}, then `hfctl login`", tokens_page(&identity.pages)),
                ),
                _ => Finding::ok("token", text),
            }
        }
    })
}

impl Engine {
    /// Looks at disks, clock, proxies, endpoints and the caller's token. Asks them, changes nothing.
    ///
    /// # Errors
    /// When the daemon is stopping, or its configuration has no usable endpoint.
    pub async fn examine(&self, call: TokenCall) -> Result<Vec<Finding>, CallError> {
        examine(&self.shared, self.mode, call).await
    }
}
