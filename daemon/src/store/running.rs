//! What the dispatcher does with the rows of jobs that are being worked on.

use super::{Store, StoreError, jobs, jobs::MoveNote, jobs::Scope, queries, thread::WriteContext};
use crate::model::{HoldReason, Job, JobId, JobMove, JobState};

impl Store {
    /// Moves a job that is being worked on, with its event.
    ///
    /// # Errors
    /// `IllegalMove` also when it is neither active nor held any more.
    pub async fn move_running(&self, id: &JobId, job_move: JobMove, note: MoveNote) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| jobs::apply_to_running(context, &id, job_move, &note))
            .await
    }

    /// Holds a queued job and, where a user is named, all queued ones of that user, but not those of some rows; in one
    /// transaction, each with its event.
    ///
    /// # Errors
    /// When the database refuses; then none is held.
    pub async fn hold_queued(
        &self,
        row: i64,
        of_user: Option<u32>,
        reason: HoldReason,
        note: MoveNote,
        except: Vec<i64>,
    ) -> Result<(), StoreError> {
        let hold = move |context: &mut WriteContext<'_>| {
            for id in queries::queued_ids(context.db, row, of_user, &except)? {
                jobs::apply(context, Scope::All, &id, JobMove::Hold(reason), &note)?;
            }
            Ok(())
        };
        self.jobs.write(hold).await
    }

    /// Notes that bytes came for a job that was stuck.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unstick(&self, job_row: i64) -> Result<(), StoreError> {
        self.jobs.write(move |context| jobs::unstick(context, job_row)).await
    }

    /// The state of a job; not delayed by users' queries.
    ///
    /// # Errors
    /// `NoSuchJob`.
    pub async fn state_of(&self, id: &JobId) -> Result<JobState, StoreError> {
        let id = id.clone();
        self.queue
            .read(move |db| jobs::get(db, Scope::All, &id).map(|job| job.state))
            .await
    }

    /// Keeps how far the unfinished files of a job are, for those who look while nothing moves.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_partial(&self, job_row: i64, bytes: u64) -> Result<(), StoreError> {
        self.jobs
            .write(move |context| jobs::note_partial(context, job_row, bytes))
            .await
    }
}
