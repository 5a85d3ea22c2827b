//! The small files of one job, from the plan to the disk: what is to be done with them next. No I/O; time is a parameter.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::small::{Fetched, Looked, SMALL, Wanted};
use crate::model::FileRecord;

/// Files that are looked for together.
const LOOKED_FOR: usize = 256;
/// So many files, or bytes, are brought to the disk together, or what has come in this time.
const TOGETHER: (usize, u64, Duration) = (64, 4 << 20, Duration::from_millis(250));
/// Most files of one batch.
const BATCH: usize = 512;
/// What a small file takes in memory besides its bytes, or a little less.
const BESIDES: u64 = 4 << 10;

/// What to do next.
pub(super) enum Step {
    Look(Vec<FileRecord>),
    /// Until others have done with them.
    Wait(Vec<FileRecord>),
    Fetch(Wanted),
    Publish(Vec<Fetched>),
}

/// Small files on their way.
#[derive(Default)]
pub(super) struct Lane {
    /// Read from the plan, not looked for yet.
    unseen: VecDeque<FileRecord>,
    looking: bool,
    wanted: VecDeque<Wanted>,
    /// Another job works on them.
    taken: Vec<FileRecord>,
    waiting: bool,
    fetching: usize,
    fetched: Vec<Fetched>,
    /// When the first of `fetched` came.
    since: Option<Instant>,
    publishing: bool,
    /// What is being fetched, or was and is in memory, by [`weight`].
    in_hand: u64,
}

/// What a file counts for while it is in memory.
fn weight(size: u64) -> u64 {
    size + BESIDES
}

impl Lane {
    /// Takes a file of the plan; gives it back when it is not small.
    pub(super) fn offer(&mut self, file: FileRecord) -> Option<FileRecord> {
        if file.size >= SMALL {
            return Some(file);
        }
        self.unseen.push_back(file);
        None
    }

    /// Files that wait to be looked for.
    pub(super) fn unseen(&self) -> usize {
        self.unseen.len()
    }

    /// It has too little to go on with.
    pub(super) fn is_hungry(&self) -> bool {
        self.unseen.len() < LOOKED_FOR
    }

    /// Files that are being fetched.
    pub(super) fn fetching(&self) -> usize {
        self.fetching
    }

    /// Files are being fetched, or will be.
    pub(super) fn wants_workers(&self) -> bool {
        self.fetching > 0
            || self.looking
            || !(self.unseen.is_empty() && self.wanted.is_empty() && self.taken.is_empty())
    }

    /// Nothing is left to do, and nothing is being done.
    pub(super) fn is_empty(&self) -> bool {
        !self.wants_workers() && self.fetched.is_empty() && !self.waiting && !self.publishing
    }

    /// What is to be done next by one of at most `workers` that fetch, with `memory` bytes for them all.
    pub(super) fn next(&mut self, workers: usize, memory: u64, now: Instant) -> Option<Step> {
        if !self.looking && self.wanted.len() < LOOKED_FOR && !self.unseen.is_empty() {
            self.looking = true;
            let count = self.unseen.len().min(LOOKED_FOR);
            return Some(Step::Look(self.unseen.drain(..count).collect()));
        }
        let fits = |wanted: &Wanted| self.in_hand == 0 || self.in_hand + weight(wanted.file.size) <= memory;
        if self.fetching < workers
            && self.wanted.front().is_some_and(fits)
            && let Some(wanted) = self.wanted.pop_front()
        {
            self.fetching += 1;
            self.in_hand += weight(wanted.file.size);
            return Some(Step::Fetch(wanted));
        }
        if self.is_due(now) {
            return self.publish();
        }
        // After all that is ours: whoever waits for others should have nothing that others wait for.
        if !self.waiting && !self.taken.is_empty() && self.wanted.is_empty() && !self.looking {
            self.waiting = true;
            return Some(Step::Wait(std::mem::take(&mut self.taken)));
        }
        None
    }

    /// What was fetched has waited for company long enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let (files, bytes, time) = TOGETHER;
        let gathered = || self.fetched.iter().map(|fetched| fetched.file.size).sum::<u64>();
        !self.publishing
            && !self.fetched.is_empty()
            && (self.fetching == 0
                || self.fetched.len() >= files
                || self.since.is_some_and(|since| now - since >= time)
                || gathered() >= bytes)
    }

    /// Brings to the disk what is in memory, due or not.
    pub(super) fn publish(&mut self) -> Option<Step> {
        if self.fetched.is_empty() || self.publishing {
            return None;
        }
        self.publishing = true;
        self.since = None;
        let rest = self.fetched.split_off(self.fetched.len().min(BATCH));
        Some(Step::Publish(std::mem::replace(&mut self.fetched, rest)))
    }

    /// A look is over.
    pub(super) fn looked(&mut self, looked: Option<Looked>) {
        self.looking = false;
        if let Some(looked) = looked {
            self.wanted.extend(looked.wanted);
            self.taken.extend(looked.taken);
        }
    }

    /// Others have done with these: another look shows what they left.
    pub(super) fn waited(&mut self, files: Vec<FileRecord>) {
        self.waiting = false;
        for file in files.into_iter().rev() {
            self.unseen.push_front(file);
        }
    }

    /// A file came, or did not.
    pub(super) fn fetched(&mut self, size: u64, fetched: Option<Fetched>, now: Instant) {
        self.fetching -= 1;
        match fetched {
            Some(fetched) => {
                self.fetched.push(fetched);
                self.since.get_or_insert(now);
            }
            None => self.in_hand -= weight(size),
        }
    }

    /// A batch of files of these sizes is on the disk, or failed.
    pub(super) fn published(&mut self, sizes: impl Iterator<Item = u64>) {
        self.publishing = false;
        self.in_hand -= sizes.map(weight).sum::<u64>();
    }

    /// Nothing of it is begun any more; what is in memory stays.
    pub(super) fn close(&mut self) {
        self.unseen.clear();
        self.wanted.clear();
        self.taken.clear();
    }
}
