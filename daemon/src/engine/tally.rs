//! How jobs ended since the daemon started: counted as the store commits it, so that no watcher's lag loses one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::{Event, EventKind, FailureKind, JobState};

/// Final states, in the order of their counters.
const ENDS: [JobState; 3] = [JobState::Done, JobState::Failed, JobState::Cancelled];

/// The counters; they only grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ended: [AtomicU64; ENDS.len()],
    failed: [AtomicU64; FailureKind::ALL.len()],
}

impl Tally {
    /// Counts a committed event.
    pub(super) fn count(&self, event: &Event) {
        if event.what.kind != EventKind::StateChanged {
            return;
        }
        if let Some(at) = ENDS.iter().position(|end| *end == event.what.state) {
            self.ended[at].fetch_add(1, Relaxed);
        }
        let kind = event.what.failure.as_ref().map(|failure| failure.kind);
        if let Some(at) = FailureKind::ALL.iter().position(|known| Some(*known) == kind) {
            self.failed[at].fetch_add(1, Relaxed);
        }
    }

    /// Jobs by the state in which they ended; every final state is there.
    pub(super) fn ended(&self) -> Vec<(JobState, u64)> {
        let read = ENDS.iter().zip(&self.ended);
        read.map(|(state, count)| (*state, count.load(Relaxed))).collect()
    }

    /// Failed jobs by why; every kind is there.
    pub(super) fn failed(&self) -> Vec<(FailureKind, u64)> {
        let read = FailureKind::ALL.iter().zip(&self.failed);
        read.map(|(kind, count)| (*kind, count.load(Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{EventSeq, Failure, JobId, NewEvent, RepoKind};

    fn event(kind: EventKind, state: JobState, failure: Option<FailureKind>) -> Event {
        Event {
            seq: EventSeq(1),
            at: Timestamp::UNIX_EPOCH,
            job_id: JobId::parse("5d2k8q0x1a").unwrap(),
            repo_id: "org/model".to_owned(),
            repo_kind: RepoKind::Model,
            uid: 1,
            user: "ann".to_owned(),
            what: NewEvent {
                kind,
                state,
                hold_reason: None,
                failure: failure.map(|kind| Failure::new(kind, "", "")),
                file: String::new(),
                detail: String::new(),
                commit: String::new(),
                bytes: 0,
            },
        }
    }

    #[test]
    fn ends_are_counted_and_nothing_else() {
        let tally = Tally::default();
        tally.count(&event(EventKind::StateChanged, JobState::Active, None));
        tally.count(&event(EventKind::StateChanged, JobState::Done, None));
        // What is told of a job that has ended is no second end.
        tally.count(&event(EventKind::Warning, JobState::Done, None));
        tally.count(&event(
            EventKind::StateChanged,
            JobState::Failed,
            Some(FailureKind::Gated),
        ));
        let (done, failed) = ((JobState::Done, 1), (JobState::Failed, 1));
        assert_eq!(tally.ended(), [done, failed, (JobState::Cancelled, 0)]);
        let failures = tally.failed();
        assert_eq!(failures.len(), FailureKind::ALL.len());
        assert_eq!(failures.iter().map(|(_, count)| count).sum::<u64>(), 1);
        assert!(failures.contains(&(FailureKind::Gated, 1)));
    }
}
