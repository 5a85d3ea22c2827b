//! What the dispatcher does with the rows of jobs that are being worked on.

use super::{MOVED_AT_ONCE, Store, StoreError, jobs, jobs::MoveNote, jobs::Scope, queries, thread::WriteContext};
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

    /// Holds a queued job and, where a user is named, all queued ones of that user, but not those of some rows; each with its
    /// event, some at a time: others do not wait for a thousand.
    ///
    /// # Errors
    /// When the database refuses; those before are held.
    pub async fn hold_queued(
        &self,
        row: i64,
        of_user: Option<u32>,
        reason: HoldReason,
        note: MoveNote,
        except: Vec<i64>,
    ) -> Result<(), StoreError> {
        let read = move |db: &rusqlite::Connection| queries::queued_ids(db, row, of_user, &except);
        for some in self.jobs.read(read).await?.chunks(MOVED_AT_ONCE) {
            let (some, note) = (some.to_vec(), note.clone());
            let hold = move |context: &mut WriteContext<'_>| {
                // Whom a user has paused since stays so.
                jobs::apply_to_all(context, Scope::All, &some, JobMove::Hold(reason), &note).map(drop)
            };
            self.jobs.write(hold).await?;
        }
        Ok(())
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
