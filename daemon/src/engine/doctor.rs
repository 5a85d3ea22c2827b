//! Looks at everything that a download needs, and says of each thing whether it is well and what to do if it is not.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use rustix::fs::{Access, access as may, statvfs};

use super::{
    Engine,
    access::{self, TokenRule},
    error::CallError,
    login::{self, TokenCall},
    shared::{Shared, blocking},
    submit,
};
use crate::{
    config::Mode,
    hub::{Endpoint, Hop, Reading, Way},
    model::units::show_bytes,
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
        findings.push(Finding::ok("config", "the configuration has no warnings".to_owned()));
    }
    for cache in config.storage.caches.clone() {
        let min_free = config.storage.min_free;
        findings.extend(blocking(move || folder(&cache, |total| min_free.bytes(total))).await);
    }
    let mut warnings = Vec::new();
    let endpoints = submit::endpoints(&config, mode, &[], &call.preferred_endpoint, &mut warnings)?;
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

/// Space, inodes and permissions where files will lie.
fn folder(path: &Path, floor: impl Fn(u64) -> u64) -> Vec<Finding> {
    let shown = path.display();
    let there: PathBuf = path
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned();
    let mut findings = Vec::new();
    match may(&there, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => findings.push(Finding::ok("folder", format!("{shown} can be written"))),
        Err(error) => findings.push(Finding::new(
            "folder",
            Health::Broken,
            format!("the daemon may not write to {}: {error}", there.display()),
            "make it writable for the daemon's user, or choose another storage.cache",
        )),
    }
    match statvfs(&there) {
        Err(error) => findings.push(Finding::new(
            "disk",
            Health::Broken,
            format!("the file system of {shown} does not answer: {error}"),
            "look whether it is mounted",
        )),
        Ok(space) => {
            let (free, total) = (
                space.f_bavail.saturating_mul(space.f_frsize),
                space.f_blocks.saturating_mul(space.f_frsize),
            );
            let floor = floor(total);
            let text = format!(
                "{} are free for {shown}, {} must stay",
                show_bytes(free),
                show_bytes(floor)
            );
            findings.push(match free > floor {
                true => Finding::ok("disk", text),
                false => Finding::new(
                    "disk",
                    Health::Broken,
                    text,
                    "free space, or lower storage.min_free; jobs are held until then",
                ),
            });
            // File systems without a table of inodes say 0.
            if space.f_files > 0 && space.f_favail < space.f_files / 100 {
                findings.push(Finding::new(
                    "inodes",
                    Health::Broken,
                    format!("{} of {} inodes are free for {shown}", space.f_favail, space.f_files),
                    "remove small files, or use another file system",
                ));
            }
        }
    }
    findings
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
            "see the routes below for a way that works, or name a mirror in [[endpoints]]",
        )),
    }
    findings.extend(clock(&host, first));
    for way in ways {
        let chosen = first.decision.ways.contains(way);
        if chosen && first.decision.ways.len() == 1 || first.decision.ways.is_empty() {
            continue;
        }
        let Reading { first_byte, error, .. } = shared.hub.measure(endpoint, None, first, way).await;
        let text = match (first_byte, error) {
            (Some(took), _) => format!("{host} would answer by {} in {} ms", way.name(), took.as_millis()),
            (None, why) => format!("{host} does not answer by {}: {}", way.name(), why.unwrap_or_default()),
        };
        findings.push(Finding::ok("route", text));
    }
    findings
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

async fn token(shared: &Arc<Shared>, mode: Mode, call: TokenCall) -> Result<Finding, CallError> {
    let identity = login::who_am_i(shared, mode, call).await?;
    let at = &identity.endpoint;
    Ok(match identity.account {
        Err(failure) => Finding::new("token", Health::Broken, failure.message, &failure.hint),
        Ok(None) => Finding::ok("token", format!("there is no token for {at}: downloads are anonymous")),
        Ok(Some(account)) => {
            let text = format!("the token for {at} is that of {}", account.name);
            match account.expires_at {
                Some(end) if end.duration_since(Timestamp::now()).as_hours() < EXPIRES_SOON_HOURS => Finding::new(
                    "token",
                    Health::Warning,
                    format!("{text} and ends at {end}"),
                    "make a new one at https://huggingface.co/settings/tokens, then `hfctl login`",
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
