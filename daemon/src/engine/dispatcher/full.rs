//! Why jobs stay in the queue, for those who ask: all places are taken (`transfer.max_active_jobs`), or their user's jobs at work
//! have as much to come as they may have (`users.NAME.max_active`). How much a job has to come is known when it is planned, so
//! that a bounded user's jobs begin one at a time.
//!
//! Looked at when the queue is, and told when somebody asks: nothing is written for each of a hundred thousand jobs.

use std::collections::{HashMap, HashSet};

use super::{ActiveJob, Dispatcher, MOST_IN_MEMORY};
use crate::{
    engine::{Engine, progress::lock},
    model::{Job, JobState, units::show_bytes},
};

/// Why jobs stay in the queue; for people.
#[derive(Debug, Default)]
pub(in crate::engine) struct Full {
    /// By uid: who begins nothing now.
    users: HashMap<u32, String>,
    /// Nobody begins anything now.
    places: Option<String>,
}

/// Whether a user begins nothing now whose jobs at work have so much to come each; `None`: nobody knows yet.
fn is_full(to_come: &[Option<u64>], may: u64) -> bool {
    let known = to_come.iter().copied().collect::<Option<Vec<u64>>>();
    !to_come.is_empty()
        && known.is_none_or(|known| known.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) >= may)
}

/// How many jobs more may begin beside so many that hold a place, of so many in memory; when none, why.
fn places(most: usize, holding: usize, in_memory: usize) -> Result<usize, String> {
    let bound = most.max(MOST_IN_MEMORY);
    match (most.saturating_sub(holding), bound.saturating_sub(in_memory)) {
        (0, _) if most == 1 => Err("waiting for the only place of transfer.max_active_jobs, which is taken".to_owned()),
        (0, _) => Err(format!(
            "waiting for a place: all {most} of transfer.max_active_jobs are taken"
        )),
        (_, 0) => Err(format!(
            "waiting for a place: {in_memory} jobs are at work or wait for endpoints and for each other"
        )),
        (free, room) => Ok(free.min(room)),
    }
}

/// What the jobs at work of one user tell.
#[derive(Default)]
struct AtWork<'a> {
    user: &'a str,
    /// Of each.
    to_come: Vec<Option<u64>>,
    /// So many only wait for other jobs.
    standing_by: usize,
}

impl ActiveJob {
    /// It does nothing but wait for other jobs' files, or for connections of its user.
    pub(in crate::engine) fn stands_by(&self) -> bool {
        self.ending.is_none() && self.tasks > 0 && self.context.progress.standing_by() >= self.tasks
    }

    /// It holds one of the places: who is held, or stands by, leaves it to another.
    pub(in crate::engine) fn has_place(&self) -> bool {
        self.held_until.is_none() && !self.stands_by()
    }
}

impl Dispatcher {
    fn most_at_work(&self) -> usize {
        self.shared.config().transfer.max_active_jobs as usize
    }

    /// The users who begin nothing now, told to who asks.
    pub(super) fn look_who_is_full(&self) -> HashSet<u32> {
        let (config, most) = (self.shared.config(), self.most_at_work());
        let mut at_work: HashMap<u32, AtWork<'_>> = HashMap::new();
        // Who is held leaves the place to another.
        let works = |active: &&ActiveJob| active.ending.is_none() && active.held_until.is_none();
        for active in self.jobs.values().filter(works) {
            let owner = &active.context.owner;
            let reading = active.context.progress.read();
            let to_come = reading.bytes_total.saturating_sub(reading.bytes_done);
            let of_user = at_work.entry(owner.uid).or_default();
            of_user.user = &owner.user;
            of_user.to_come.push(active.plan.is_some().then_some(to_come));
            of_user.standing_by += usize::from(active.stands_by());
        }
        let full = at_work.into_iter().filter_map(|(uid, of_user)| {
            let AtWork { user, .. } = of_user;
            // They take no place, but the memory of all.
            if of_user.standing_by >= most {
                let why = format!(
                    "waiting until fewer than {most} jobs of {user} (transfer.max_active_jobs) stand by for others' files and \
                     connections"
                );
                return Some((uid, why));
            }
            let may = config.users.of(user).max_active;
            let may = show_bytes(may.filter(|may| is_full(&of_user.to_come, *may))?);
            let why =
                format!("waiting until jobs of {user} at work have less than {may} to come (users.NAME.max_active)");
            Some((uid, why))
        });
        let full: HashMap<u32, String> = full.collect();
        let uids = full.keys().copied().collect();
        lock(&self.shared.full).users = full;
        uids
    }

    /// How many jobs more may begin; when none, that is told to who asks.
    pub(super) fn look_for_places(&self) -> usize {
        let holding = self.jobs.values().filter(|active| active.has_place()).count();
        let places = places(self.most_at_work(), holding, self.jobs.len());
        let free = *places.as_ref().unwrap_or(&0);
        lock(&self.shared.full).places = places.err();
        free
    }

    /// Nobody tells of bytes that come: while somebody waits for that, the queue is looked at now and then.
    pub(in crate::engine) fn look_for_who_is_full(&mut self) {
        self.look_at_queue |= !lock(&self.shared.full).users.is_empty();
    }

    /// Nor of jobs that stand by from now on.
    pub(in crate::engine) fn look_for_left_places(&mut self) {
        let was_full = lock(&self.shared.full).places.is_some();
        self.look_at_queue |= was_full && self.look_for_places() > 0;
    }
}

impl Engine {
    /// Why a queued job does not begin.
    pub fn why_queued(&self, job: &Job) -> Option<String> {
        (job.state == JobState::Queued)
            .then(|| self.why_nothing_begins(job.owner.uid))
            .flatten()
    }

    /// Why no job of a user begins now.
    pub fn why_nothing_begins(&self, uid: u32) -> Option<String> {
        let full = lock(&self.shared.full);
        full.users.get(&uid).or(full.places.as_ref()).cloned()
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

#[test]
fn places_are_free_or_it_is_told_why_not() {
    assert_eq!(places(4, 1, 3), Ok(3));
    // What is held or stands by takes memory all the same.
    assert_eq!(places(4, 1, MOST_IN_MEMORY - 1), Ok(1));
    assert_eq!(places(100, 70, 70), Ok(30));
    for (most, holding, in_memory, words) in [
        (4, 4, 4, "all 4 of transfer.max_active_jobs are taken"),
        // The number was lowered meanwhile.
        (2, 4, 4, "all 2 of transfer.max_active_jobs are taken"),
        (1, 1, 1, "the only place of transfer.max_active_jobs"),
        (4, 1, MOST_IN_MEMORY, "64 jobs are at work or wait"),
    ] {
        let why = places(most, holding, in_memory).expect_err("no place");
        assert!(why.contains(words), "{why}");
    }
}
