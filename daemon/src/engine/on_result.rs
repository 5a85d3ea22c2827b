//! What the dispatcher does with what its workers return.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::task::JoinError;

use super::{
    dispatcher::{ActiveJob, Dispatcher, Ending, Work},
    finish::Finished,
    gated,
    handout::Sorted,
    ledger,
    planner::NOTHING_FITS,
    stop::JobStop,
    transfer::{Published, hint},
};
use crate::{
    model::{Failure, FailureKind, HoldReason, JobId, JobMove, JobState, Selection},
    store::{MoveNote, StoreError, Stuck},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Moved,
    /// The job is in a state that does not allow it.
    Refused(JobState),
    /// Nobody remembers it any more.
    Gone,
    StoreFailed,
}

impl Dispatcher {
    /// All files that are there are stored first, then failures are heard, and only then is anything new begun: a job must not
    /// be finished while one of its failures waits in the same batch.
    pub(super) async fn on_results(&mut self, results: Vec<(JobId, Result<Work, JoinError>)>) {
        let mut sorted = Sorted::default();
        for (id, result) in results {
            self.take_in(id, result, &mut sorted);
        }
        let mut published: HashMap<JobId, Vec<Published>> = HashMap::new();
        for (id, file) in sorted.published {
            published.entry(id).or_default().push(file);
        }
        let mut going_on: HashSet<JobId> = sorted.going_on.into_iter().collect();
        for (id, files) in published {
            let done = files.iter().map(|file| file.done).collect();
            match self.shared.store.files_done(&id, done).await {
                Ok(job) => {
                    if let Some(active) = self.jobs.get(&id) {
                        active.context.progress.recorded(&job);
                        active.context.progress.moved();
                    }
                    // The files' bytes leave the figures of unfinished ones only now.
                    drop(files);
                    going_on.insert(id);
                }
                Err(error) => self.end(&id, error.into()).await,
            }
        }
        for (id, result) in sorted.others {
            match result {
                Ok(work) => self.on_work(&id, work).await,
                Err(error) => {
                    // One job's bug is not the others' end.
                    tracing::error!(job = %id, %error, "a task panicked");
                    let failure = Failure::new(
                        FailureKind::Internal,
                        "a task of the daemon panicked",
                        "this is a bug: the daemon's log has the details; `hfctl retry` tries again",
                    );
                    self.end(&id, JobStop::JobFailed(failure)).await;
                }
            }
        }
        for id in going_on {
            self.go_on(&id).await;
        }
    }

    async fn on_work(&mut self, id: &JobId, work: Work) {
        match work {
            Work::Planned(Ok(job)) => {
                if let Some(active) = self.jobs.get(id) {
                    active.context.progress.recorded(&job);
                }
                if self.jobs.get(id).is_some_and(|active| active.ending.is_none()) {
                    self.open_plan(&job);
                } else {
                    self.go_on(id).await;
                }
            }
            Work::Opened(Ok(plan)) => {
                if let Some(active) = self.jobs.get_mut(id) {
                    active.plan = Some(plan);
                }
                self.go_on(id).await;
            }
            Work::Finished(Ok(Finished::NotYet)) => {
                self.jobs.get_mut(id).map(ActiveJob::read_again);
                self.go_on(id).await;
            }
            Work::Finished(Ok(Finished::Done)) => {
                if let Some(active) = self.jobs.get_mut(id) {
                    gated::granted(&active.context);
                    active
                        .ending
                        .get_or_insert(Ending::Move(JobMove::Finish, MoveNote::default()));
                }
                self.go_on(id).await;
            }
            Work::File(file, Err(JobStop::FileFailed(failure))) => {
                tracing::warn!(job = %id, file = %file.path, %failure, "a file was given up");
                if let Some(active) = self.jobs.get_mut(id) {
                    active.file_failure.get_or_insert(failure.clone());
                    let row = active.context.row;
                    if let Err(error) = self.shared.store.file_failed(row, file.id, failure).await {
                        return self.end(id, error.into()).await;
                    }
                }
                self.go_on(id).await;
            }
            Work::Planned(Err(stop))
            | Work::Opened(Err(stop))
            | Work::Finished(Err(stop))
            | Work::Stopped(stop)
            | Work::File(_, Err(stop)) => self.end(id, stop).await,
            // Sorted out before.
            Work::File(_, Ok(_))
            | Work::Left(_)
            | Work::Freed(..)
            | Work::Looked(_)
            | Work::Waited(_)
            | Work::Fetched(..)
            | Work::Placed(_) => {}
        }
    }

    /// Gives a job its next files, or closes it when its tasks are gone.
    pub(super) async fn go_on(&mut self, id: &JobId) {
        match self.jobs.get(id) {
            Some(active) if active.ending.is_some() => self.close_when_empty(id).await,
            Some(_) => self.start_files(id).await,
            None => {}
        }
    }

    /// A job cannot go on: stops its tasks; the move is stored when the last of them is gone.
    pub(super) async fn end(&mut self, id: &JobId, stop: JobStop) {
        let Some(active) = self.jobs.get_mut(id) else { return };
        if active.ending.is_none() {
            active.ending = Some(match gated::or_hold(&active.context, stop) {
                JobStop::Cancelled => Ending::Told,
                JobStop::JobFailed(failure) | JobStop::FileFailed(failure) => Ending::Move(
                    JobMove::Fail,
                    MoveNote {
                        failure: Some(failure),
                        ..MoveNote::default()
                    },
                ),
                JobStop::Hold {
                    reason,
                    detail,
                    retry_after,
                } => {
                    // For ever is no time at all: somebody has to say so.
                    let wait = jiff::SignedDuration::try_from(retry_after).unwrap_or(jiff::SignedDuration::MAX);
                    let next_attempt_at = self.shared.clock.now().checked_add(wait).ok();
                    let stuck = stuck(active, reason);
                    Ending::Move(
                        JobMove::Hold(reason),
                        MoveNote {
                            detail,
                            next_attempt_at,
                            stuck,
                            failure: None,
                        },
                    )
                }
            });
            // Others may want them, however long the tasks take to end.
            active.files.clear();
            active.lane.close();
            active.context.cancel.cancel();
        }
        self.close_when_empty(id).await;
    }

    /// Stores how a job ended, once its tasks are gone. What cannot be stored is tried again with the next tick.
    pub(super) async fn close_when_empty(&mut self, id: &JobId) {
        if self.jobs.get(id).is_none_or(|active| active.tasks > 0) || self.keep_small(id) {
            return;
        }
        let Some(active) = self.jobs.get(id) else { return };
        let ending = active.ending.clone();
        // First: who hears of the end may ask at once where the bytes came from.
        ledger::book_job(&self.shared, id).await;
        let stored = match ending {
            Some(Ending::Move(job_move, note)) => self.store_ending(id, job_move, note).await,
            Some(Ending::Told) => self.disown(id).await,
            Some(Ending::Window) => self.store_window(id).await,
            None => true,
        };
        if stored {
            let removed = self.jobs.remove(id);
            if let Some(active) = &removed {
                self.shared.gate.leave(active.context.row);
                let kept = active.context.progress.kept();
                hint(self.shared.store.note_partial(active.context.row, kept).await);
                ledger::close_job(&self.shared, id).await;
            }
            self.clear_up_after(id, removed.as_ref());
            self.shared.board.remove(id);
            self.shared.bells.leave(id);
            self.shared.promises.leave(id);
            self.look_at_queue = true;
        }
    }

    async fn store_ending(&mut self, id: &JobId, job_move: JobMove, note: MoveNote) -> bool {
        if matches!(job_move, JobMove::Hold(_)) {
            self.look_at(note.next_attempt_at.unwrap_or_else(|| self.shared.clock.now()));
        }
        if let Some(failure) = &note.failure {
            tracing::warn!(job = %id, %failure, "failed");
        }
        let mut note = note;
        if job_move == JobMove::Finish {
            self.hasten_others(id).await;
            // What looks like success has got nothing.
            let has_nothing = |active: &ActiveJob| {
                active.context.progress.read().files_total == 0 && active.context.spec.selection != Selection::default()
            };
            if self.jobs.get(id).is_some_and(has_nothing) {
                note.detail = NOTHING_FITS.to_owned();
            }
        }
        match self.try_move(id, job_move, note.clone()).await {
            // Its last bytes came while it was still shown as held.
            Outcome::Refused(JobState::Held) => {
                let started = self.try_move(id, JobMove::Start, MoveNote::default()).await;
                started == Outcome::Moved && self.try_move(id, job_move, note).await != Outcome::StoreFailed
            }
            Outcome::Moved | Outcome::Refused(_) | Outcome::Gone => true,
            Outcome::StoreFailed => false,
        }
    }

    /// What one job has got, others that wait for an endpoint can have.
    async fn hasten_others(&mut self, id: &JobId) {
        let Some(active) = self.jobs.get(id) else { return };
        let (spec, now) = (&active.context.spec, self.shared.clock.now());
        if hint(self.shared.store.hasten(spec.kind, &spec.repo_id, now).await) == Some(true) {
            self.look_within(Duration::ZERO);
        }
    }

    /// A job whose tasks were told to end. If no user moved it (a store that was closed for a moment), it is queued again; at
    /// the end of the daemon it stays as it is, for the next start to take up.
    pub(super) async fn disown(&self, id: &JobId) -> bool {
        if self.root.is_cancelled() {
            return true;
        }
        self.try_move(id, JobMove::Requeue, MoveNote::default()).await != Outcome::StoreFailed
    }

    /// Moves a job that is being worked on; a user who was quicker wins.
    pub(super) async fn try_move(&self, id: &JobId, job_move: JobMove, note: MoveNote) -> Outcome {
        match self.shared.store.move_running(id, job_move, note).await {
            Ok(job) => {
                tracing::info!(job = %id, state = %job.state, detail = job.detail, "moved");
                Outcome::Moved
            }
            Err(StoreError::IllegalMove(illegal)) => {
                tracing::debug!(job = %id, %illegal, "somebody else moved it first");
                Outcome::Refused(illegal.from)
            }
            Err(StoreError::NoSuchJob(_)) => Outcome::Gone,
            Err(error) => {
                tracing::error!(job = %id, %error, "a job cannot be moved");
                Outcome::StoreFailed
            }
        }
    }
}

/// Only waits for servers count as being stuck; a full disk is not an endpoint that does not answer.
fn stuck(active: &ActiveJob, reason: HoldReason) -> Stuck {
    match reason {
        HoldReason::Endpoint | HoldReason::RateLimited if !active.context.progress.has_received() => Stuck::Yes,
        HoldReason::Endpoint | HoldReason::RateLimited => Stuck::No,
        HoldReason::Window | HoldReason::Disk | HoldReason::Access | HoldReason::Budget | HoldReason::Approval => {
            Stuck::AsBefore
        }
    }
}
