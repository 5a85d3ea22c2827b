//! Which hosts were asked, by which way, and how many bytes came: kept per job, counted where the bytes arrive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The account of one job. Clones of an endpoint share one.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By host and way.
    entries: Mutex<BTreeMap<(String, String), Entry>>,
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
}

/// What went to one host by one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteUse {
    /// The host, with its port when it is not the usual one.
    pub host: String,
    /// `DIRECT`, or the name of a proxy.
    pub way: String,
    /// The rule that decided last.
    pub by: String,
    /// Requests that were sent.
    pub requests: u64,
    /// Bytes of bodies that came.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn got(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }
}

impl Ledger {
    /// Notes a request that is about to be sent.
    pub(super) fn note(&self, host: &str, way: &str, by: &str) -> Arc<Tally> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries
            .entry((host.to_owned(), way.to_owned()))
            .or_insert_with(|| Entry {
                by: String::new(),
                tally: Arc::default(),
            });
        if entry.by != by {
            by.clone_into(&mut entry.by);
        }
        entry.tally.requests.fetch_add(1, Relaxed);
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
    pub fn put_back(&self, uses: &[RouteUse]) {
        for RouteUse {
            host,
            way,
            by,
            requests,
            bytes,
        } in uses
        {
            let tally = self.note(host, way, by);
            tally.requests.fetch_add(requests.saturating_sub(1), Relaxed);
            tally.bytes.fetch_add(*bytes, Relaxed);
        }
    }

    fn collect(&self, value: impl Fn(&AtomicU64) -> u64) -> Vec<RouteUse> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|((host, way), entry)| RouteUse {
                host: host.clone(),
                way: way.clone(),
                by: entry.by.clone(),
                requests: value(&entry.tally.requests),
                bytes: value(&entry.tally.bytes),
            })
            .filter(|known| known.requests > 0 || known.bytes > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted_once() {
        let ledger = Ledger::default();
        ledger.note("cdn", "DIRECT", "rule 1").got(10);
        ledger.note("cdn", "DIRECT", "rule 2").got(5);
        ledger.note("cdn", "clash", "rule 2");
        let direct = |requests, bytes| RouteUse {
            host: "cdn".to_owned(),
            way: "DIRECT".to_owned(),
            by: "rule 2".to_owned(),
            requests,
            bytes,
        };
        let all = ledger.read();
        assert_eq!((all.len(), &all[0]), (2, &direct(2, 15)));
        assert_eq!(ledger.take(), all);
        assert_eq!(ledger.read(), []);
        ledger.put_back(&all);
        assert_eq!(ledger.take(), all);
    }
}
