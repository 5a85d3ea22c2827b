//! What the dispatcher does with what its workers return, and with the passing of time.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinError;

use super::{
    dispatcher::{ActiveJob, Dispatcher, Ending, Work},
    progress::wall_time,
    stop::JobStop,
};
use crate::{
    model::{Failure, FailureKind, JobId, JobMove},
    store::{MoveNote, Scope, StoreError},
};

/// A job that waits without a byte for so long is shown as held.
const SHOW_HELD_AFTER: Duration = Duration::from_secs(2);

impl Dispatcher {
    pub(super) async fn on_results(&mut self, results: Vec<(JobId, Result<Work, JoinError>)>) {
        // Published files are stored first, all files of a job in one write.
        let mut published: HashMap<JobId, Vec<_>> = HashMap::new();
        let mut others = Vec::new();
        for (id, result) in results {
            match result {
                Ok(Work::File(_, Ok(file))) => published.entry(id).or_default().push(file),
                other => others.push((id, other)),
            }
        }
        for (id, files) in published {
            let done = files.iter().map(|file| file.done).collect();
            match self.shared.store.files_done(&id, done).await {
                Ok(job) => {
                    if let Some(active) = self.jobs.get(&id) {
                        active.context.progress.recorded(&job);
                        active.context.progress.moved();
                    }
                    drop(files);
                    self.go_on(&id).await;
                }
                Err(error) => self.end(&id, error.into()).await,
            }
        }
        for (id, result) in others {
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
            Work::Finished(Ok(())) => {
                let note = MoveNote::default();
                if let Some(active) = self.jobs.get_mut(id) {
                    active.ending.get_or_insert(Ending::Move(JobMove::Finish, note));
                }
                self.go_on(id).await;
            }
            Work::File(file, Err(JobStop::FileFailed(failure))) => {
                tracing::warn!(job = %id, file = %file.path, %failure, "a file was given up");
                if let Err(error) = self.shared.store.file_failed(file.id, failure.clone()).await {
                    return self.end(id, error.into()).await;
                }
                if let Some(active) = self.jobs.get_mut(id) {
                    active.file_failure.get_or_insert(failure);
                }
                self.go_on(id).await;
            }
            Work::Planned(Err(stop))
            | Work::Opened(Err(stop))
            | Work::Finished(Err(stop))
            | Work::File(_, Err(stop)) => self.end(id, stop).await,
            // Sorted out before.
            Work::File(_, Ok(_)) => {}
        }
    }

    /// Gives a job its next files, or closes it when its tasks are gone.
    async fn go_on(&mut self, id: &JobId) {
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
            active.ending = Some(match stop {
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
                    let wait = jiff::SignedDuration::try_from(retry_after).unwrap_or_default();
                    let next_attempt_at = Timestamp::now().checked_add(wait).ok();
                    Ending::Move(
                        JobMove::Hold(reason),
                        MoveNote {
                            detail,
                            next_attempt_at,
                            failure: None,
                        },
                    )
                }
            });
            active.context.cancel.cancel();
        }
        self.close_when_empty(id).await;
    }

    async fn close_when_empty(&mut self, id: &JobId) {
        if self.jobs.get(id).is_none_or(|active| active.tasks > 0) {
            return;
        }
        let Some(active) = self.jobs.remove(id) else { return };
        if let Some(Ending::Move(job_move, note)) = active.ending {
            self.store_ending(id, job_move, note, active.held).await;
        }
        self.shared.board.remove(id);
    }

    async fn store_ending(&mut self, id: &JobId, job_move: JobMove, note: MoveNote, held: bool) {
        if held && job_move == JobMove::Finish {
            // Its last bytes came while it was still shown as held.
            self.try_move(id, JobMove::Start, MoveNote::default()).await;
        }
        if matches!(job_move, JobMove::Hold(_)) {
            let retry_after = note.next_attempt_at.map(|at| Timestamp::now().duration_until(at));
            self.hold_was_stored(
                retry_after
                    .and_then(|wait| Duration::try_from(wait).ok())
                    .unwrap_or_default(),
            );
        }
        if let Some(failure) = &note.failure {
            tracing::warn!(job = %id, %failure, "failed");
        }
        self.try_move(id, job_move, note).await;
    }

    /// Moves a job; a user who was quicker wins.
    async fn try_move(&self, id: &JobId, job_move: JobMove, note: MoveNote) -> bool {
        match self.shared.store.move_job(Scope::All, id, job_move, note).await {
            Ok(job) => {
                tracing::info!(job = %id, state = %job.state, detail = job.detail, "moved");
                true
            }
            Err(StoreError::IllegalMove(illegal)) => {
                tracing::debug!(job = %id, %illegal, "somebody else moved it first");
                false
            }
            Err(error) => {
                tracing::error!(job = %id, %error, "a job cannot be moved");
                false
            }
        }
    }

    /// Samples rates, and shows jobs as held while nothing of theirs moves.
    pub(super) async fn on_tick(&mut self) {
        self.shared.board.sample();
        let mut moves = Vec::new();
        for (id, active) in &mut self.jobs {
            if active.ending.is_none()
                && let Some(job_move) = held_move(active)
            {
                moves.push((id.clone(), job_move));
            }
        }
        for (id, (job_move, note)) in moves {
            self.try_move(&id, job_move, note).await;
        }
    }
}

/// Whether the shown state of a job should change between active and held.
fn held_move(active: &mut ActiveJob) -> Option<(JobMove, MoveNote)> {
    let waiting = active.context.progress.waiting();
    match waiting {
        Some(waiting) if !active.held && waiting.lasts() > SHOW_HELD_AFTER => {
            active.held = true;
            let note = MoveNote {
                detail: waiting.detail,
                next_attempt_at: Some(wall_time(waiting.until)),
                failure: None,
            };
            Some((JobMove::Hold(waiting.reason), note))
        }
        None if active.held => {
            active.held = false;
            Some((JobMove::Start, MoveNote::default()))
        }
        _ => None,
    }
}
