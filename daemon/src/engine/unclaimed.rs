//! Bytes that are written and not yet claimed: what a crash would cost, and what waits in memory for the disk. Bounded for
//! each file, and for all files together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// A file is claimed at the latest when it has so many unclaimed bytes.
const CLAIM_BYTES: u64 = 24 << 20;
/// Nothing more of a file is read from the network when so many are unclaimed or on their way to the disk.
const STOP_BYTES: u64 = 40 << 20;
/// Of those on their way so many count: the rest must be something that a claim can make less.
const IN_HAND: u64 = STOP_BYTES - CLAIM_BYTES;
/// When all files together have so many, each is claimed at [`SHARE_BYTES`].
const CLAIM_IN_ALL: u64 = 96 << 20;
/// And writers wait at that when there are so many.
const STOP_IN_ALL: u64 = 160 << 20;
/// Every file may have so many, however many files there are.
const SHARE_BYTES: u64 = 4 << 20;

/// The unclaimed bytes of all files.
#[derive(Default)]
pub(super) struct UnclaimedInAll {
    bytes: AtomicU64,
    /// Some were claimed, of any file.
    less: Notify,
}

/// Written but unclaimed bytes of one file.
pub(super) struct Unclaimed {
    bytes: AtomicU64,
    /// Bytes that have come and are not written.
    in_hand: AtomicU64,
    all: Arc<UnclaimedInAll>,
    /// Many were written.
    pub(super) much: Notify,
}

impl Unclaimed {
    pub(super) fn new(all: Arc<UnclaimedInAll>) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            all,
            much: Notify::new(),
        }
    }

    /// So many came.
    pub(super) fn in_hand(&self, bytes: u64) {
        self.in_hand.fetch_add(bytes, Relaxed);
    }

    /// So many of them were written, or never will be.
    pub(super) fn out_of_hand(&self, bytes: u64) {
        self.in_hand.fetch_sub(bytes, Relaxed);
    }

    /// So many were written.
    pub(super) fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let all = self.all.bytes.fetch_add(bytes, Relaxed) + bytes;
        let limit = match all >= CLAIM_IN_ALL {
            true => SHARE_BYTES,
            false => CLAIM_BYTES,
        };
        // Also when the limit has just come down.
        if before + bytes >= limit && (before < limit || all >= CLAIM_IN_ALL) {
            self.much.notify_one();
        }
    }

    /// How many there are.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// So many of them were claimed.
    pub(super) fn claimed(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.all.bytes.fetch_sub(bytes, Relaxed);
        self.all.less.notify_waiters();
    }

    /// The disk is behind.
    pub(super) fn is_much(&self) -> bool {
        let bytes = self.bytes();
        let in_hand = self.in_hand.load(Relaxed).min(IN_HAND);
        bytes + in_hand >= STOP_BYTES || (bytes >= SHARE_BYTES && self.all.bytes.load(Relaxed) >= STOP_IN_ALL)
    }

    /// Waits while the disk is behind: the network is read no further.
    pub(super) async fn below_limit(&self) {
        loop {
            let less = self.all.less.notified();
            tokio::pin!(less);
            // Registered before the look, so that a claim in between is not missed.
            less.as_mut().enable();
            if !self.is_much() {
                return;
            }
            // Its own claim must be on the way, whoever filled the common measure.
            self.much.notify_one();
            less.await;
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let left = *self.bytes.get_mut();
        self.claimed(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn each_file_and_all_together_are_bounded() {
        let all = Arc::new(UnclaimedInAll::default());
        let files: Vec<_> = (0..64).map(|_| Unclaimed::new(all.clone())).collect();
        let due = |file: &Unclaimed| file.much.notified().now_or_never().is_some();
        files[0].add(CLAIM_BYTES - 1);
        assert!(!due(&files[0]));
        files[0].add(1);
        assert!(due(&files[0]) && !files[0].is_much());
        files[0].add(STOP_BYTES - CLAIM_BYTES);
        assert!(files[0].is_much());
        assert!(files[0].below_limit().now_or_never().is_none());
        files[0].claimed(STOP_BYTES);
        assert!(files[0].below_limit().now_or_never().is_some());
        // What is in hand counts, but never so much that a claim could not help.
        files[0].in_hand(IN_HAND);
        files[0].add(CLAIM_BYTES);
        assert!(files[0].is_much() && due(&files[0]));
        files[0].in_hand(STOP_BYTES);
        files[0].claimed(CLAIM_BYTES);
        assert!(!files[0].is_much());
        files[0].out_of_hand(IN_HAND + STOP_BYTES);
        // Every one is below its own limit.
        let mut written = 0;
        for file in files.iter().cycle() {
            if file.is_much() || written > 2 * STOP_IN_ALL {
                break;
            }
            file.add(1 << 20);
            written += 1 << 20;
        }
        assert!((STOP_IN_ALL..=2 * STOP_IN_ALL).contains(&written), "{written}");
        let stopped = files.iter().find(|file| file.is_much()).unwrap();
        assert!(due(stopped));
        drop(files);
        assert_eq!(all.bytes.load(Relaxed), 0);
    }
}
