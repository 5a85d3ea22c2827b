//! The small files of one job, from the plan to the disk: what is to be done with them next. No I/O; time is a parameter.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    small::{Batched, Fetched, Looked, SMALL, Wanted},
    turns::Turn,
};
use crate::model::{Digest, FileRecord};

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
    /// Those with a turn were left to this job.
    Look(Vec<(FileRecord, Option<Turn>)>),
    /// Until others have done with them.
    Wait(Vec<FileRecord>),
    Fetch(Wanted),
    Publish(Vec<Batched>),
}

/// Small files on their way.
#[derive(Default)]
pub(super) struct Lane {
    /// Read from the plan, not looked for yet.
    unseen: VecDeque<(FileRecord, Option<Turn>)>,
    looking: bool,
    wanted: VecDeque<Wanted>,
    /// By the contents that are wanted, being fetched, or in memory: the other files that have them.
    twins: HashMap<Digest, Vec<FileRecord>>,
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
        self.unseen.push_back((file, None));
        None
    }

    /// Files that wait in memory: to be looked for, or for another file.
    pub(super) fn waiting_files(&self) -> usize {
        self.unseen.len() + self.taken.len() + self.twins.values().map(Vec::len).sum::<usize>()
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
        let batch = std::mem::replace(&mut self.fetched, rest)
            .into_iter()
            .map(|fetched| Batched {
                twins: self.take_twins(&fetched.file.digest),
                fetched,
            });
        Some(Step::Publish(batch.collect()))
    }

    /// A look is over.
    pub(super) fn looked(&mut self, looked: Option<Looked>) {
        self.looking = false;
        if let Some(looked) = looked {
            for wanted in looked.wanted {
                self.twins.entry(wanted.file.digest).or_default();
                self.wanted.push_back(wanted);
            }
            for file in looked.taken {
                // Ours is as good as another job's, and they go together.
                match self.twins.get_mut(&file.digest) {
                    Some(twins) => twins.push(file),
                    None => self.taken.push(file),
                }
            }
        }
    }

    /// The files that wait for a content; no more of them are taken up.
    pub(super) fn take_twins(&mut self, digest: &Digest) -> Vec<FileRecord> {
        self.twins.remove(digest).unwrap_or_default()
    }

    /// Others have done with these, or left them to this job: another look shows what is there.
    pub(super) fn waited(&mut self, files: Vec<(FileRecord, Option<Turn>)>) {
        self.waiting = false;
        for file in files.into_iter().rev() {
            self.unseen.push_front(file);
        }
    }

    /// Another job takes a file over, and with it the others that have its content.
    pub(super) fn left(&mut self, file: FileRecord) {
        let twins = self.take_twins(&file.digest);
        self.taken.extend(twins);
        self.taken.push(file);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{FileId, FileState, RepoPath};

    fn file(id: i64, content: u8) -> FileRecord {
        FileRecord {
            id: FileId(id),
            path: RepoPath::parse(&format!("f{id}")).unwrap(),
            size: 10,
            digest: Digest::GitSha1([content; 20]),
            state: FileState::Pending,
            reused: false,
            failure: None,
        }
    }

    fn wanted(file: FileRecord) -> Wanted {
        let turn = Arc::new(tokio::sync::Mutex::new(())).try_lock_owned().unwrap();
        Wanted {
            file,
            seated: None,
            turn,
        }
    }

    fn ids(files: &[FileRecord]) -> Vec<i64> {
        files.iter().map(|file| file.id.0).collect()
    }

    #[test]
    fn equal_files_wait_for_one_of_their_own_job() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for id in 0..6 {
            assert!(lane.offer(file(id, 1)).is_none());
        }
        assert!(matches!(lane.next(1, 100, now), Some(Step::Look(files)) if files.len() == 6));
        // One content is to be fetched; another is in the hands of another job.
        lane.looked(Some(Looked {
            wanted: vec![wanted(file(0, 1))],
            taken: vec![file(1, 1), file(2, 2), file(3, 1)],
            ..Looked::default()
        }));
        assert!(matches!(lane.next(1, 100, now), Some(Step::Fetch(wanted)) if wanted.file.id.0 == 0));
        assert!(!lane.is_empty());
        // All that wait count for what is read ahead.
        assert_eq!(lane.waiting_files(), 3);
        // Found by a later look, while it is being fetched.
        lane.looked(Some(Looked {
            taken: vec![file(4, 1)],
            ..Looked::default()
        }));
        assert_eq!(ids(&lane.take_twins(&file(0, 1).digest)), [1, 3, 4]);
        // It is being published by now: the next one looks again.
        lane.looked(Some(Looked {
            taken: vec![file(5, 1)],
            ..Looked::default()
        }));
        assert!(matches!(lane.next(1, 100, now), Some(Step::Wait(files)) if ids(&files) == [2, 5]));
    }
}
