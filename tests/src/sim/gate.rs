//! Gates: bodies or answers that wait until a test lets them go on, so that it can act in the middle of a transfer.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::fault::Matcher;
use super::glob::fits;
use super::journal::lock;
use crate::PATIENCE;

/// Holds what it matches until [`Gate::release`] or until it is dropped.
#[derive(Debug)]
#[must_use = "a gate that is dropped holds nothing"]
pub struct Gate {
    inner: Arc<GateState>,
}

#[derive(Debug)]
pub(crate) struct GateState {
    what: What,
    budget: Mutex<Budget>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
enum What {
    /// Bodies of files whose path in the repository fits this pattern.
    Bodies(String),
    /// Answers, before their first byte.
    Answers(Matcher),
}

#[derive(Debug)]
struct Budget {
    left: u64,
    open: bool,
    held: usize,
}

impl Gate {
    /// Returns once something waits at this gate. Not for tests that pause their clock, whose minutes pass at once.
    ///
    /// # Panics
    /// After a minute.
    pub async fn reached(&self) {
        self.held_by(1).await;
    }

    /// Returns once `count` bodies or answers wait at this gate at one time.
    ///
    /// # Panics
    /// After a minute.
    pub async fn held_by(&self, count: usize) {
        let mut changes = self.inner.changed.subscribe();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if self.held() >= count || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{} of {count} came to the gate of {:?}", self.held(), self.inner.what);
        }
    }

    /// How many wait now.
    pub fn held(&self) -> usize {
        lock(&self.inner.budget).held
    }

    /// Lets so many further bytes pass (for a gate of answers: so many answers).
    pub fn let_through(&self, more: u64) {
        lock(&self.inner.budget).left += more;
        self.inner.changed.send_replace(());
    }

    /// Opens it for good.
    pub fn release(&self) {
        lock(&self.inner.budget).open = true;
        self.inner.changed.send_replace(());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

impl GateState {
    pub(crate) fn holds_bodies_of(&self, file: &str) -> bool {
        matches!(&self.what, What::Bodies(pattern) if fits(pattern, file))
    }

    pub(crate) fn answers(&self) -> Option<&Matcher> {
        if let What::Answers(matcher) = &self.what {
            Some(matcher)
        } else {
            None
        }
    }

    fn take(&self, want: u64) -> u64 {
        let mut budget = lock(&self.budget);
        if budget.open {
            return want;
        }
        let granted = want.min(budget.left);
        budget.left -= granted;
        granted
    }

    /// Waits until at least one of `want` may pass. Safe to cancel.
    pub(crate) async fn pass(&self, want: u64) -> u64 {
        let granted = self.take(want);
        if granted > 0 {
            return granted;
        }
        let mut changes = self.changed.subscribe();
        let _held = Held::new(self);
        loop {
            changes.mark_unchanged();
            let granted = self.take(want);
            if granted > 0 || changes.changed().await.is_err() {
                return granted.max(1);
            }
        }
    }
}

/// Counts one waiter, also when its connection goes away.
struct Held<'a>(&'a GateState);

impl<'a> Held<'a> {
    fn new(gate: &'a GateState) -> Self {
        lock(&gate.budget).held += 1;
        gate.changed.send_replace(());
        Self(gate)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        lock(&self.0.budget).held -= 1;
        self.0.changed.send_replace(());
    }
}

/// All gates of one Hub.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<Vec<Weak<GateState>>>);

impl Gates {
    pub(crate) fn bodies(&self, file_pattern: &str, after_bytes: u64) -> Gate {
        self.add(What::Bodies(file_pattern.to_owned()), after_bytes)
    }

    pub(crate) fn requests(&self, matcher: Matcher) -> Gate {
        self.add(What::Answers(matcher), 0)
    }

    fn add(&self, what: What, left: u64) -> Gate {
        let budget = Mutex::new(Budget {
            left,
            open: false,
            held: 0,
        });
        let inner = Arc::new(GateState {
            what,
            budget,
            changed: watch::Sender::new(()),
        });
        let mut gates = lock(&self.0);
        gates.retain(|gate| gate.strong_count() > 0);
        gates.push(Arc::downgrade(&inner));
        Gate { inner }
    }

    /// Gates that satisfy a condition; empty and cheap in the ordinary case.
    pub(crate) fn matching(&self, wanted: impl Fn(&GateState) -> bool) -> Vec<Arc<GateState>> {
        let gates = lock(&self.0);
        gates
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|gate| wanted(gate))
            .collect()
    }
}
