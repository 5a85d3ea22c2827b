//! What the dispatcher does with the rows of jobs that are being worked on.

use jiff::Timestamp;

use super::{MOVED_AT_ONCE, Store, StoreError, jobs, jobs::MoveNote, jobs::Scope, queries, thread::WriteContext};
use crate::model::{HoldReason, Job, JobId, JobMove, JobState, RepoId, RepoKind};

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

    /// Another job has got all files of its repository: those that are held because no endpoint answers are due now. True when
    /// there are such.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn hasten(&self, kind: RepoKind, repo_id: &RepoId, now: Timestamp) -> Result<bool, StoreError> {
        let repo_id = repo_id.to_string();
        self.jobs
            .write(move |context| jobs::hasten(context, kind, &repo_id, now))
            .await
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

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Fixture, new_job},
        *,
    };
    use crate::model::Priority;

    #[tokio::test]
    async fn what_one_job_has_got_others_need_not_wait_for() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let now = Timestamp::now();
        let later = now + jiff::SignedDuration::from_hours(1);
        let mut ids = Vec::new();
        for (repo, reason) in [
            ("org/a", HoldReason::Endpoint),
            ("org/a", HoldReason::Window),
            ("org/b", HoldReason::Endpoint),
        ] {
            let job = new_job(1, repo, Priority::Normal, None);
            let id = store.submit(job).await.unwrap().job.id;
            let note = MoveNote {
                next_attempt_at: Some(later),
                ..MoveNote::default()
            };
            store
                .move_job(Scope::All, &id, JobMove::Hold(reason), note)
                .await
                .unwrap();
            ids.push(id);
        }
        let repo = RepoId::parse("org/a").unwrap();
        assert!(!store.hasten(RepoKind::Dataset, &repo, now).await.unwrap());
        assert!(store.hasten(RepoKind::Model, &repo, now).await.unwrap());
        assert!(!store.hasten(RepoKind::Model, &repo, now).await.unwrap(), "once");
        store.release_holds(now, Vec::new()).await.unwrap();
        let mut states = Vec::new();
        for id in &ids {
            states.push(store.state_of(id).await.unwrap());
        }
        assert_eq!(states, [JobState::Queued, JobState::Held, JobState::Held]);
    }
}
