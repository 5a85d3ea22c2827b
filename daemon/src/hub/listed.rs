//! Bytes of answers that are no files, for whoever counts all traffic.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Hub;

/// A count. Clones are one count.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed(Arc<AtomicU64>);

impl Listed {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Relaxed);
    }
}

impl Hub {
    /// Bytes of listings and other answers that are no files, since the last call of this.
    pub fn take_listed_bytes(&self) -> u64 {
        self.listed().0.swap(0, Relaxed)
    }
}
