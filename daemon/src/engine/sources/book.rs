//! The books themselves: who has how many connections, who waits, and who gets the next one. No lock, no clock.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{Counters, Slot, SourceId};
use crate::sched::connections::ConnectionLimit;

/// Weight of the newest observation in a mean.
const NEWEST: f64 = 0.3;

#[derive(Default)]
pub(super) struct Book {
    pub(super) ids: HashMap<String, SourceId>,
    pub(super) sources: Vec<State>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) next_ticket: u64,
    pub(super) active: u32,
    pub(super) most: u32,
    pub(super) users: HashMap<u32, Holder>,
}

/// The connections of one user.
#[derive(Default)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) active: u32,
    /// As many may be open; `None` is no bound.
    pub(super) most: Option<u32>,
}

impl Holder {
    fn has_room(&self) -> bool {
        self.most.is_none_or(|most| self.active < most)
    }
}

pub(super) struct State {
    pub(super) counters: Arc<Counters>,
    pub(super) limit: ConnectionLimit,
    pub(super) active: u32,
    /// Those of them that are being fed.
    pub(super) served: u32,
    /// The most that were fed at one time, and when that was last seen.
    pub(super) proven: (u32, Duration),
    /// Failures in a row without a byte.
    pub(super) failures: u32,
    pub(super) closed_until: Option<Duration>,
    pub(super) bytes_per_sec: f64,
    pub(super) first_byte: f64,
    /// Bytes per second of small files, from asking for one until it was there.
    pub(super) small_bytes_per_sec: f64,
}

pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) wish: Wish,
    pub(super) grant: oneshot::Sender<Slot>,
}

/// A wish for one more connection.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Wish {
    /// Sources that would do, the preferred one first.
    pub(in crate::engine) any_of: Vec<SourceId>,
    /// Connections that the file has already: who has fewer comes first.
    pub(in crate::engine) has: u32,
    /// Whose job it is.
    pub(in crate::engine) user: u32,
    /// Bytes to be fetched, to weigh speed against the time to the first byte.
    pub(in crate::engine) bytes: u64,
}

/// What is known of one connection to a source.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Usual {
    /// Bytes per second of one connection; 0 before anything is known.
    pub(in crate::engine) bytes_per_sec: u64,
    /// From the request to the first byte.
    pub(in crate::engine) first_byte: Duration,
}

pub(super) fn mean(mean: &mut f64, newest: f64) {
    *mean = if *mean == 0.0 {
        newest
    } else {
        *mean * (1.0 - NEWEST) + newest * NEWEST
    };
}

/// What a server took so recently it takes still.
const PROVEN: Duration = Duration::from_secs(2);

impl State {
    /// One more connection is being fed.
    pub(super) fn serves(&mut self, now: Duration) {
        self.served += 1;
        if self.served >= self.proven.0 {
            self.proven = (self.served, now);
        }
    }

    /// The server refused one more. True when that is because of the others.
    pub(super) fn refused(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.proven.1) > PROVEN {
            self.proven = (self.served, now);
        }
        // One that ended just now may still count at the server: the next one in its place is refused, and not for good.
        let takes = self.served.max(self.proven.0);
        if takes == 0 || self.failures > 0 {
            return false;
        }
        self.limit.refused(now, takes);
        true
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean of positive numbers"
    )]
    pub(super) fn usual(&self) -> Usual {
        Usual {
            bytes_per_sec: self.bytes_per_sec as u64,
            first_byte: Duration::from_secs_f64(self.first_byte),
        }
    }

    fn has_room(&self, now: Duration) -> bool {
        match self.closed_until {
            Some(until) if until > now => false,
            // After a pause one connection finds out for all.
            Some(_) => self.active == 0,
            None => self.active < self.limit.get(),
        }
    }

    /// How long a small file would take, asked for now; nothing where that is not known, or where there is no room.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn would_bring(&self, bytes: u64, now: Duration) -> Option<Duration> {
        let rate = self.bytes_per_sec.max(self.small_bytes_per_sec);
        let is_known = rate > 0.0 && self.has_room(now);
        is_known.then(|| Duration::from_secs_f64(self.first_byte + bytes as f64 / rate.max(1.0)))
    }

    /// Seconds that so many bytes would take; nothing while nothing is known, so that everyone is tried.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn expected(&self, bytes: u64) -> f64 {
        match self.bytes_per_sec > 0.0 {
            true => self.first_byte + bytes as f64 / self.bytes_per_sec,
            false => 0.0,
        }
    }
}

impl Book {
    /// Pairs those who wait with free connections, counting them as in use; tells whose they are.
    pub(super) fn match_up(&mut self, now: Duration) -> Vec<(oneshot::Sender<Slot>, SourceId, u32)> {
        let mut grants = Vec::new();
        while self.active < self.most && !self.waiting.is_empty() {
            let best = self
                .waiting
                .iter()
                .enumerate()
                .filter(|(_, waiting)| self.user_has_room(waiting.wish.user))
                .filter_map(|(index, waiting)| {
                    let source = self.best_of(&waiting.wish, now)?;
                    Some((waiting.wish.has, waiting.ticket, index, source))
                })
                .min();
            let Some((.., index, source)) = best else { break };
            let waiting = self.waiting.swap_remove(index);
            self.active += 1;
            self.sources[source].active += 1;
            let user = waiting.wish.user;
            self.users.entry(user).or_default().active += 1;
            grants.push((waiting.grant, source, user));
        }
        grants
    }

    /// Whether a user may have one connection more.
    pub(super) fn user_has_room(&self, user: u32) -> bool {
        self.users.get(&user).is_none_or(Holder::has_room)
    }

    /// The source with room that would be done first.
    fn best_of(&self, wish: &Wish, now: Duration) -> Option<SourceId> {
        let with_room = wish.any_of.iter().copied().filter(|id| self.sources[*id].has_room(now));
        with_room.min_by(|one, other| {
            let [one, other] = [one, other].map(|id| self.sources[*id].expected(wish.bytes));
            one.total_cmp(&other)
        })
    }
}
