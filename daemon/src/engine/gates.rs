//! Until when nobody is to be asked.

use std::{collections::HashMap, sync::Mutex};

use tokio::time::Instant;

use super::progress::lock;

/// "Do not ask before": one gate for all jobs that use the same quota, so that a 429 stops them all.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<String, Instant>>);

impl Gates {
    /// Closes the gate until a moment, unless it is closed for longer already.
    pub(super) fn close(&self, gate: &str, until: Instant) {
        let mut gates = lock(&self.0);
        let now = Instant::now();
        gates.retain(|_, known| *known > now);
        let known = gates.entry(gate.to_owned()).or_insert(until);
        *known = (*known).max(until);
    }

    /// When the gate opens; `None` when it is open.
    pub(super) fn closed_until(&self, gate: &str) -> Option<Instant> {
        lock(&self.0).get(gate).copied().filter(|until| *until > Instant::now())
    }
}
