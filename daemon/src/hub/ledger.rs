//! What came off the network, counted where it arrives: by endpoint, host and way, for whoever pays for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Spent, TrafficRoute};

/// The account of one payer: a job, or a user's calls. Clones of an endpoint share one.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<BTreeMap<Key, Entry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    endpoint: String,
    host: String,
    way: String,
}

#[derive(Debug)]
struct Entry {
    by: String,
    tally: Arc<Tally>,
}

/// Counters of one host on one way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    bytes: AtomicU64,
    wasted: AtomicU64,
    repeated: AtomicU64,
}

/// Where the bytes of one answer are counted, for those who find out later what they were worth. Counts nothing for calls
/// that nobody pays for.
#[derive(Debug, Clone, Default)]
pub struct Charge(pub(super) Option<Arc<Tally>>);

/// What went to one host by one way for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteUse {
    /// From where and how.
    pub route: TrafficRoute,
    /// How much.
    pub spent: Spent,
}

impl Charge {
    /// The request is sent once more.
    pub(super) fn asked_again(&self) {
        if let Some(tally) = &self.0 {
            tally.requests.fetch_add(1, Relaxed);
        }
    }

    /// Bytes of an answer came.
    pub(super) fn got(&self, bytes: usize) {
        if let Some(tally) = &self.0 {
            tally.bytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// So many of the bytes that came are thrown away: they are wrong, or nobody asked for them.
    pub fn wasted(&self, bytes: u64) {
        if let Some(tally) = &self.0 {
            tally.wasted.fetch_add(bytes, Relaxed);
        }
    }

    /// So many of the bytes that came are there already, or will have to come again.
    pub fn repeated(&self, bytes: u64) {
        if let Some(tally) = &self.0 {
            tally.repeated.fetch_add(bytes, Relaxed);
        }
    }
}

impl Ledger {
    /// Notes a request that is about to be sent.
    pub(super) fn note(&self, endpoint: &str, host: &str, way: &str, by: &str) -> Charge {
        let key = Key {
            endpoint: endpoint.to_owned(),
            host: host.to_owned(),
            way: way.to_owned(),
        };
        let tally = self.tally(key, by);
        tally.requests.fetch_add(1, Relaxed);
        Charge(Some(tally))
    }

    fn tally(&self, key: Key, by: &str) -> Arc<Tally> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key).or_insert_with(|| Entry {
            by: String::new(),
            tally: Arc::default(),
        });
        if entry.by != by {
            by.clone_into(&mut entry.by);
        }
        entry.tally.clone()
    }

    /// What was counted since the last [`Self::take`].
    pub fn read(&self) -> Vec<RouteUse> {
        self.collect(|counter| counter.load(Relaxed))
    }

    /// The same, and counts from nothing again.
    pub fn take(&self) -> Vec<RouteUse> {
        self.collect(|counter| counter.swap(0, Relaxed))
    }

    /// Puts back what could not be stored.
    pub fn put_back(&self, route: &TrafficRoute, spent: Spent) {
        let key = Key {
            endpoint: route.endpoint.clone(),
            host: route.host.clone(),
            way: route.way.clone(),
        };
        let tally = self.tally(key, &route.rule);
        tally.requests.fetch_add(spent.requests, Relaxed);
        tally.bytes.fetch_add(spent.bytes, Relaxed);
        tally.wasted.fetch_add(spent.wasted, Relaxed);
        tally.repeated.fetch_add(spent.repeated, Relaxed);
    }

    fn collect(&self, value: impl Fn(&AtomicU64) -> u64) -> Vec<RouteUse> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|(key, entry)| RouteUse {
                route: TrafficRoute {
                    endpoint: key.endpoint.clone(),
                    host: key.host.clone(),
                    way: key.way.clone(),
                    rule: entry.by.clone(),
                },
                spent: Spent {
                    requests: value(&entry.tally.requests),
                    bytes: value(&entry.tally.bytes),
                    wasted: value(&entry.tally.wasted),
                    repeated: value(&entry.tally.repeated),
                },
            })
            .filter(|known| known.spent != Spent::default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted_once() {
        let ledger = Ledger::default();
        ledger.note("https://hub", "cdn", "DIRECT", "rule 1").got(10);
        let charge = ledger.note("https://hub", "cdn", "DIRECT", "rule 2");
        charge.got(5);
        charge.wasted(2);
        charge.repeated(1);
        ledger.note("https://hub", "cdn", "clash", "rule 2");
        ledger.note("https://mirror", "cdn", "DIRECT", "rule 2").got(1);
        let direct = RouteUse {
            route: TrafficRoute {
                endpoint: "https://hub".to_owned(),
                host: "cdn".to_owned(),
                way: "DIRECT".to_owned(),
                rule: "rule 2".to_owned(),
            },
            spent: Spent {
                requests: 2,
                bytes: 15,
                wasted: 2,
                repeated: 1,
            },
        };
        let all = ledger.read();
        assert_eq!((all.len(), &all[0]), (3, &direct));
        assert_eq!(ledger.take(), all);
        assert_eq!(ledger.read(), []);
        for one in &all {
            ledger.put_back(&one.route, one.spent);
        }
        assert_eq!(ledger.take(), all);
        // What was found out after the booking is booked with the next.
        charge.wasted(3);
        assert_eq!(ledger.take()[0].spent.wasted, 3);
    }
}
