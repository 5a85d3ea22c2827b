//! The numbers of the daemon as a whole, for who watches over it. Nothing in them names a user, a repository or a file, and
//! what a caller can name (an endpoint of a job) is told apart only when the configuration knows it too.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::{CallError, Engine, ledger, shared::blocking, sources::SourceFigures};
use crate::{
    cache,
    config::EndpointOptions,
    model::{FailureKind, HoldReason, JobState, Spent},
};

/// What all endpoints are called together that the configuration does not know.
pub(super) const OTHER: &str = "other";

/// The numbers at one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Jobs in each open state.
    pub jobs: Vec<(JobState, u64)>,
    /// Held ones by what they wait for.
    pub held: Vec<(HoldReason, u64)>,
    /// Jobs that ended since the start.
    pub ended: Vec<(JobState, u64)>,
    /// Those of them that failed, by why.
    pub failed: Vec<(FailureKind, u64)>,
    /// By the name of a configured endpoint, or `other`; each is there.
    pub endpoints: BTreeMap<String, EndpointFigures>,
    /// Bytes per second of all downloads.
    pub bytes_per_sec: u64,
    /// The limit of all downloads, in bytes per second; `None` is no limit.
    pub limit_bytes_per_sec: Option<u64>,
    /// Each cache with the free and all bytes of its file system.
    pub disks: Vec<(PathBuf, u64, u64)>,
    /// In what time the scheduler and the store answered.
    pub answered_in: Duration,
}

/// One endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointFigures {
    /// What came from it, and from wherever it led, since the start.
    pub spent: Spent,
    /// Connections now.
    pub connections: u32,
    /// Connections that pay.
    pub connections_limit: u32,
}

impl Engine {
    /// All of it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn figures(&self) -> Result<Figures, CallError> {
        let asked = Instant::now();
        self.answers().await;
        let answered_in = asked.elapsed();
        let config = self.config();
        let caches = config.storage.caches.clone();
        let disks = blocking(move || {
            let space = |path: PathBuf| {
                let space = cache::space_at(&path).ok()?;
                Some((path, space.free_bytes, space.total_bytes))
            };
            caches.into_iter().filter_map(space).collect()
        });
        let counted = self.counts().await?;
        let held = self.shared.store.held().await?;
        Ok(Figures {
            jobs: every(OPEN, &counted),
            held: every(HoldReason::ALL, &held),
            ended: self.tally.ended(),
            failed: self.tally.failed(),
            endpoints: by_name(
                &config.endpoints,
                self.shared.ledgers.since_start(ledger::today(&self.shared)),
                self.shared.sources.figures(),
            ),
            bytes_per_sec: self.bytes_per_sec(),
            limit_bytes_per_sec: self.limit().in_force.bytes_per_sec,
            disks: disks.await,
            answered_in,
        })
    }
}

/// States of jobs that are not over.
const OPEN: [JobState; 4] = [JobState::Queued, JobState::Active, JobState::Held, JobState::Paused];

/// What was not counted is none: a figure that comes and goes cannot be watched.
fn every<T: Copy + PartialEq, const N: usize>(all: [T; N], counted: &[(T, u64)]) -> Vec<(T, u64)> {
    let count = |one: T| {
        counted
            .iter()
            .find(|(known, _)| *known == one)
            .map_or(0, |(_, count)| *count)
    };
    all.into_iter().map(|one| (one, count(one))).collect()
}

fn by_name(
    known: &[EndpointOptions],
    spent: BTreeMap<String, Spent>,
    sources: Vec<SourceFigures>,
) -> BTreeMap<String, EndpointFigures> {
    let mut all: BTreeMap<String, EndpointFigures> = BTreeMap::from([(OTHER.to_owned(), EndpointFigures::default())]);
    for endpoint in known {
        all.insert(endpoint.name.clone(), EndpointFigures::default());
    }
    let name_of = |is: &dyn Fn(&EndpointOptions) -> bool| {
        let found = known.iter().find(|endpoint| is(endpoint));
        found.map_or(OTHER, |endpoint| endpoint.name.as_str()).to_owned()
    };
    for (address, spent) in spent {
        let name = name_of(&|endpoint| endpoint.url.as_str().trim_end_matches('/') == address);
        all.entry(name).or_default().spent += spent;
    }
    for source in sources {
        let name = name_of(&|endpoint| endpoint.url.origin().ascii_serialization() == source.origin);
        let figures = all.entry(name).or_default();
        figures.connections += source.connections;
        figures.connections_limit += source.connections_limit;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Bytes, TokenPolicy},
        model::Limit,
    };

    #[test]
    fn only_configured_endpoints_have_a_name() {
        let known = EndpointOptions {
            name: "mirror".to_owned(),
            url: "https://mirror.example/".parse().unwrap(),
            token: TokenPolicy::Never,
            limit: Limit::Off,
            max_connections: 4,
            budget: None,
            bytes: Bytes::Always,
        };
        let bytes = |bytes| Spent {
            bytes,
            ..Spent::default()
        };
        let spent = BTreeMap::from([
            ("https://mirror.example".to_owned(), bytes(1)),
            ("https://a.example".to_owned(), bytes(2)),
            ("https://b.example".to_owned(), bytes(4)),
        ]);
        let source = |origin: &str, connections| SourceFigures {
            origin: origin.to_owned(),
            connections,
            connections_limit: 2 * connections,
        };
        let sources = vec![source("https://mirror.example", 3), source("https://a.example", 1)];
        let all = by_name(&[known], spent, sources);
        let told: Vec<_> = all
            .iter()
            .map(|(name, one)| (name.as_str(), one.spent.bytes, one.connections, one.connections_limit))
            .collect();
        assert_eq!(told, [("mirror", 1, 3, 6), (OTHER, 6, 1, 2)]);
    }

    #[test]
    fn what_is_not_there_is_counted_as_none() {
        assert_eq!(
            every(OPEN, &[(JobState::Held, 2)]),
            [
                (JobState::Queued, 0),
                (JobState::Active, 0),
                (JobState::Held, 2),
                (JobState::Paused, 0)
            ]
        );
    }
}
