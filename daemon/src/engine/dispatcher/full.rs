//! Users whose jobs at work have as much to come as they may have (`users.NAME.max_active`): their other jobs stay in the queue,
//! and say why. How much a job has to come is known when it is planned, so that they begin one at a time.

use std::collections::HashMap;

use super::{ActiveJob, Dispatcher};
use crate::{
    engine::{Engine, progress::lock},
    model::{Job, JobState, units::show_bytes},
};

/// Why a user's jobs stay in the queue, by uid; for people.
pub(in crate::engine) type Full = HashMap<u32, String>;

/// Whether a user begins nothing now whose jobs at work have so much to come each; `None`: nobody knows yet.
fn is_full(to_come: &[Option<u64>], may: u64) -> bool {
    let known = to_come.iter().copied().collect::<Option<Vec<u64>>>();
    !to_come.is_empty()
        && known.is_none_or(|known| known.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) >= may)
}

impl Dispatcher {
    /// The users who begin nothing now, told to who asks.
    pub(super) fn look_who_is_full(&self) -> Full {
        let config = self.shared.config();
        let mut at_work: HashMap<u32, (&str, Vec<Option<u64>>)> = HashMap::new();
        // Who is held leaves the place to another.
        let works = |active: &&ActiveJob| active.ending.is_none() && active.held_until.is_none();
        for active in self.jobs.values().filter(works) {
            let owner = &active.context.owner;
            let reading = active.context.progress.read();
            let to_come = reading.bytes_total.saturating_sub(reading.bytes_done);
            let (_, all) = at_work.entry(owner.uid).or_insert((&owner.user, Vec::new()));
            all.push(active.plan.is_some().then_some(to_come));
        }
        let full = at_work.into_iter().filter_map(|(uid, (user, to_come))| {
            let may = config.users.of(user).max_active.filter(|may| is_full(&to_come, *may))?;
            let may = show_bytes(may);
            let why =
                format!("waiting until jobs of {user} at work have less than {may} to come (users.NAME.max_active)");
            Some((uid, why))
        });
        let full: Full = full.collect();
        lock(&self.shared.full_users).clone_from(&full);
        full
    }

    /// Nobody tells of bytes that come: while somebody waits for that, the queue is looked at now and then.
    pub(in crate::engine) fn look_for_who_is_full(&mut self) {
        self.look_at_queue |= !lock(&self.shared.full_users).is_empty();
    }
}

impl Engine {
    /// Why a queued job does not begin though there may be room.
    pub fn why_queued(&self, job: &Job) -> Option<String> {
        let full = lock(&self.shared.full_users);
        full.get(&job.owner.uid)
            .filter(|_| job.state == JobState::Queued)
            .cloned()
    }
}

#[test]
fn a_user_is_full_at_the_line_and_while_nobody_knows() {
    for (to_come, may, full) in [
        (&[][..], 10, false),
        (&[Some(9)], 10, false),
        (&[Some(10)], 10, true),
        (&[Some(5), Some(4)], 10, false),
        (&[Some(5), Some(5)], 10, true),
        // Not planned yet.
        (&[None], 10, true),
        (&[Some(0), None], 10, true),
        (&[Some(u64::MAX), Some(1)], 10, true),
    ] {
        assert_eq!(is_full(to_come, may), full, "{to_come:?}");
    }
}
