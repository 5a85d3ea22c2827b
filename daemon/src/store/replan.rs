//! Plans of earlier jobs: who wants the same files of the same commit in the same place needs no listing.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    row,
    thread::WriteContext,
};
use crate::model::{CommitHash, FileRecord, Trust};

/// What another job planned, and nothing speaks against it so far.
#[derive(Debug, Clone)]
pub struct KnownPlan {
    /// The other job's row.
    pub row: i64,
    /// The pinned commit.
    pub commit: CommitHash,
    /// When the endpoint was asked for it.
    pub asked_at: Timestamp,
    /// Where the digests came from.
    pub trust: Trust,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A plan for the same files from the same endpoints to the same place, its list still whole. A job that failed or was given
/// up vouches for nothing.
const SAME: &str = "SELECT other.* FROM jobs me JOIN jobs other \
     ON other.repo_id = me.repo_id AND other.kind = me.kind AND other.selection = me.selection \
     AND other.destination = me.destination AND other.path = me.path AND other.endpoints = me.endpoints \
     WHERE me.row = ?1 AND other.row <> me.row AND other.planned = 1 AND other.planned_at IS NOT NULL \
     AND other.state NOT IN ('failed', 'cancelled') AND NOT me.force_download";
const WHOLE: &str = "AND other.files_total = (SELECT count(*) FROM files WHERE job_row = other.row) \
     ORDER BY other.planned_at DESC LIMIT 1";

fn find(db: &Connection, job_row: i64, which: &str, commit: Option<&str>) -> Result<Option<KnownPlan>, StoreError> {
    let sql = format!("{SAME} AND {which} {WHOLE}");
    let mut statement = db.prepare_cached(&sql).act("look for a known plan")?;
    let mut rows = statement.query(params![job_row, commit]).act("look for a known plan")?;
    match rows.next().act("look for a known plan")? {
        Some(row) => row::known_plan(row).map(Some),
        None => Ok(None),
    }
}

impl Store {
    /// What another job planned for the same files at a commit.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn plan_at(&self, job_row: i64, commit: CommitHash) -> Result<Option<KnownPlan>, StoreError> {
        let which = "other.commit_hash = ?2";
        self.queue
            .read(move |db| find(db, job_row, which, Some(commit.as_str())))
            .await
    }

    /// What another job of the same user planned for the same revision, when the endpoint was asked after this job was
    /// submitted: to ask again would tell the same.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn plan_since_submit(&self, job_row: i64) -> Result<Option<KnownPlan>, StoreError> {
        let which = "?2 IS NULL AND other.revision = me.revision AND other.uid = me.uid \
             AND other.token_ref IS me.token_ref AND other.planned_at > me.created_at";
        self.queue.read(move |db| find(db, job_row, which, None)).await
    }

    /// Copies some files of another job's plan, in path order after a path; gives the last path, `None` after the last file.
    ///
    /// # Errors
    /// `PlanOutdated` when the other job has another plan by now, or none; when the database refuses.
    pub async fn copy_files(
        &self,
        job_row: i64,
        from: KnownPlan,
        after: String,
        limit: u32,
    ) -> Result<Option<String>, StoreError> {
        self.jobs
            .write(move |context| copy(context, job_row, &from, &after, limit))
            .await
    }

    /// The smallest file of a plan that is not empty.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn smallest_file(&self, job_row: i64) -> Result<Option<FileRecord>, StoreError> {
        self.queue
            .read(move |db| {
                let mut statement = db
                    .prepare_cached("SELECT * FROM files WHERE job_row = ?1 AND size > 0 ORDER BY size LIMIT 1")
                    .act("look for the smallest file")?;
                let mut rows = statement.query([job_row]).act("look for the smallest file")?;
                let first = rows.next().act("look for the smallest file")?;
                first.map(row::file).transpose()
            })
            .await
    }
}

fn copy(
    context: &mut WriteContext<'_>,
    job_row: i64,
    from: &KnownPlan,
    after: &str,
    limit: u32,
) -> Result<Option<String>, StoreError> {
    // Between two batches it may have been tried again, and list another commit.
    let is_the_same: bool = context
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE row = ?1 AND planned = 1 AND commit_hash = ?2 AND planned_at = ?3)",
        )
        .and_then(|mut statement| {
            let plan = params![from.row, from.commit.as_str(), from.asked_at.as_millisecond()];
            statement.query_row(plan, |row| row.get(0))
        })
        .act("look at a known plan")?;
    if !is_the_same {
        return Err(StoreError::PlanOutdated);
    }
    let last: Option<String> = context
        .db
        .prepare_cached("SELECT path FROM files WHERE job_row = ?1 AND path > ?2 ORDER BY path LIMIT 1 OFFSET ?3 - 1")
        .and_then(|mut statement| {
            statement
                .query_row(params![from.row, after, limit], |row| row.get(0))
                .optional()
        })
        .act("read a plan")?;
    context
        .db
        .prepare_cached(
            "INSERT INTO files (job_row, path, size, digest, state) SELECT ?1, path, size, digest, 'pending' \
             FROM files WHERE job_row = ?2 AND path > ?3 AND (?4 IS NULL OR path <= ?4) ORDER BY path",
        )
        .and_then(|mut statement| statement.execute(params![job_row, from.row, after, last]))
        .act("copy a plan")?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{Fixture, new_job},
        *,
    };
    use crate::{
        model::{Digest, FileId, FileState, Job, JobMove, Priority, RepoPath},
        store::{MoveNote, PlanHead, Scope},
    };

    async fn begun(store: &Store) -> Job {
        let new = new_job(1, "a/b", Priority::Normal, None);
        let job = store.submit(new).await.unwrap().job;
        moved(store, &job, JobMove::Start).await
    }

    async fn moved(store: &Store, job: &Job, job_move: JobMove) -> Job {
        let moved = store.move_job(Scope::All, &job.id, job_move, MoveNote::default());
        moved.await.unwrap()
    }

    /// Two files, `a` and `b`, of a commit.
    async fn plan(store: &Store, job: &Job, commit: u8) {
        let file = |path: &str| FileRecord {
            id: FileId(0),
            path: RepoPath::parse(path).unwrap(),
            size: 1,
            digest: Digest::Sha256([commit; 32]),
            state: FileState::Pending,
            reused: false,
            failure: None,
        };
        store.clear_plan(job.row).await.unwrap();
        store.add_files(job.row, vec![file("a"), file("b")]).await.unwrap();
        let head = PlanHead {
            commit: CommitHash::parse(&commit.to_string().repeat(40)).unwrap(),
            asked_at: Timestamp::from_second(i64::from(commit)).unwrap(),
            trust: Trust::Origin,
            files: 2,
            bytes: 2,
        };
        store.finish_plan(&job.id, head).await.unwrap();
    }

    #[tokio::test]
    async fn a_plan_is_not_copied_from_two() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let (first, second) = (begun(store).await, begun(store).await);
        plan(store, &first, 1).await;
        let commit = CommitHash::parse(&"1".repeat(40)).unwrap();
        let known = store.plan_at(second.row, commit).await.unwrap().unwrap();
        let copy = |after: &str| store.copy_files(second.row, known.clone(), after.to_owned(), 1);
        assert_eq!(copy("").await.unwrap().as_deref(), Some("a"));
        // Tried again: it has no plan, then that of another commit, whose list is as long.
        moved(store, &first, JobMove::Cancel).await;
        moved(store, &first, JobMove::Retry).await;
        assert!(matches!(copy("a").await, Err(StoreError::PlanOutdated)));
        moved(store, &first, JobMove::Start).await;
        plan(store, &first, 2).await;
        assert!(matches!(copy("a").await, Err(StoreError::PlanOutdated)));
    }
}
