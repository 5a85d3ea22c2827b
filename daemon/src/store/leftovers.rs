//! Who may want, or has left, what lies in the staging folder of a destination; and verified files that nobody asks for any more.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{
    Store,
    error::{Act as _, StoreError},
};
use crate::model::{Destination, Digest, JobState, RepoId, RepoKind};

/// Rows of one transaction.
const ROWS: u32 = 2000;
/// Contents of one query: others wait meanwhile.
const CONTENTS: usize = 32;

/// Where files of jobs go: a repository folder of a cache, or a local directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The cache, or the directory.
    pub destination: Destination,
    /// Kind of the repository; for a local directory, of one whose files go there.
    pub kind: RepoKind,
    /// The repository; for a local directory, one whose files go there.
    pub repo_id: RepoId,
}

/// What jobs have to do with one content in one place; of one that is wanted nothing else is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimants {
    /// A job that has not ended wants it, or may: it has no plan yet.
    pub wanted: bool,
    /// Jobs that ended without it: how, and when.
    pub left: Vec<(JobState, Timestamp)>,
    /// A job has it in its place.
    pub placed: bool,
}

/// A job of a place.
struct Here {
    row: i64,
    id: String,
    state: JobState,
    planned: bool,
    ended_at: Timestamp,
}

/// Of the columns `destination, path, kind, repo_id`; `None` when they make no sense.
pub(super) fn place(row: &Row<'_>) -> rusqlite::Result<Option<Place>> {
    let (word, path): (String, String) = (row.get(0)?, row.get(1)?);
    let (kind, repo_id): (String, String) = (row.get(2)?, row.get(3)?);
    let destination = match word.as_str() {
        "cache" => Destination::Cache(path.into()),
        _ => Destination::LocalDir(path.into()),
    };
    let known = RepoKind::parse(&kind).zip(RepoId::parse(&repo_id).ok());
    Ok(known.map(|(kind, repo_id)| Place {
        destination,
        kind,
        repo_id,
    }))
}

fn places(db: &Connection) -> Result<Vec<Place>, StoreError> {
    // Of a local directory one is enough, whatever repositories went there.
    let mut statement = db
        .prepare_cached(
            "SELECT DISTINCT destination, path, kind, repo_id FROM jobs WHERE destination = 'cache' \
             UNION ALL SELECT destination, path, min(kind), min(repo_id) FROM jobs WHERE destination = 'local_dir' GROUP BY path",
        )
        .act("list destinations")?;
    let places = statement
        .query_map([], place)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("list destinations")?;
    Ok(places.into_iter().flatten().collect())
}

fn jobs_here(db: &Connection, place: &Place) -> Result<Vec<Here>, StoreError> {
    let columns = "SELECT row, id, state, planned, ended_at FROM jobs";
    let path = place.destination.path().to_string_lossy();
    let read = |row: &Row<'_>| -> rusqlite::Result<Option<Here>> {
        let (row_id, id, word): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let ended_at: Option<i64> = row.get(4)?;
        let ended_at = ended_at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let (planned, ended_at) = (row.get(3)?, ended_at.unwrap_or(Timestamp::MIN));
        Ok(JobState::parse(&word).map(|state| Here {
            row: row_id,
            id,
            state,
            planned,
            ended_at,
        }))
    };
    let found = match &place.destination {
        Destination::Cache(_) => db
            .prepare_cached(&format!(
                "{columns} WHERE path = ?1 AND repo_id = ?2 AND kind = ?3 AND destination = 'cache'"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![path, place.repo_id.as_str(), place.kind.as_str()], read)?
                    .collect::<Result<Vec<_>, _>>()
            }),
        Destination::LocalDir(_) => db
            .prepare_cached(&format!("{columns} WHERE path = ?1 AND destination = 'local_dir'"))
            .and_then(|mut statement| statement.query_map([path], read)?.collect()),
    };
    Ok(found
        .act("list the jobs of a destination")?
        .into_iter()
        .flatten()
        .collect())
}

/// Of each content; a tag is the id of the only job that may go on with it.
fn claimants(
    db: &Connection,
    place: &Place,
    contents: &[(Digest, Option<String>)],
) -> Result<Vec<Claimants>, StoreError> {
    let mut jobs = jobs_here(db, place)?;
    // Who wants it most likely is asked first, and the rest not at all then: there may be thousands.
    jobs.sort_by_key(|job| (job.state.is_final(), job.planned, job.state != JobState::Active));
    let mut statement = db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(state <> 'done'), 0) FROM files WHERE job_row = ?1 AND digest = ?2",
        )
        .act("look for a content")?;
    let mut all = Vec::with_capacity(contents.len());
    for (digest, tag) in contents {
        let mut claimants = Claimants::default();
        for job in &jobs {
            if tag.as_ref().is_some_and(|tag| *tag != job.id) {
                continue;
            }
            if !job.state.is_final() && !job.planned {
                claimants.wanted = true;
            }
            if claimants.wanted {
                break;
            }
            let (files, unfinished): (u64, u64) = statement
                .query_row(params![job.row, digest.to_string()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .act("look for a content")?;
            claimants.placed |= files > unfinished;
            match job.state.is_final() {
                false => claimants.wanted = unfinished > 0,
                true if unfinished > 0 => claimants.left.push((job.state, job.ended_at)),
                true => {}
            }
        }
        all.push(claimants);
    }
    Ok(all)
}

fn forget_verified(db: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    db.execute(
        "DELETE FROM verified WHERE (dev, ino) IN (SELECT dev, ino FROM verified WHERE at < ?1 LIMIT ?2)",
        params![before.as_millisecond(), ROWS],
    )
    .act("forget verified files")
}

impl Store {
    /// All places that jobs are known to have written to.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn places(&self) -> Result<Vec<Place>, StoreError> {
        self.reads.read(places).await
    }

    /// What jobs have to do with some contents in one place, in the order of the question. A tag is the id of the only job that
    /// may go on with a partial file.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn claimants(
        &self,
        place: Place,
        contents: Vec<(Digest, Option<String>)>,
    ) -> Result<Vec<Claimants>, StoreError> {
        let mut all = Vec::with_capacity(contents.len());
        for some in contents.chunks(CONTENTS) {
            let (place, some) = (place.clone(), some.to_vec());
            all.extend(self.reads.read(move |db| claimants(db, &place, &some)).await?);
        }
        Ok(all)
    }

    /// Forgets which files were verified before a time, in small transactions. They are hashed again when they are next wanted.
    ///
    /// # Errors
    /// When the database refuses; what went until then is gone.
    pub async fn forget_verified(&self, before: Timestamp) -> Result<usize, StoreError> {
        let mut gone = 0;
        loop {
            let some = self
                .progress
                .write(move |context| forget_verified(context.db, before))
                .await?;
            gone += some;
            if some < ROWS as usize {
                return Ok(gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::{
        model::{CommitHash, FileId, FileRecord, FileState, Job, JobMove, Priority, RepoPath, Trust},
        store::{FileDone, MoveNote, PlanHead, Scope, Verified},
    };

    const DIGEST: Digest = Digest::Sha256([7; 32]);

    fn file(path: &str, digest: Digest) -> FileRecord {
        FileRecord {
            id: FileId(0),
            path: RepoPath::parse(path).unwrap(),
            size: 1,
            digest,
            state: FileState::Pending,
            reused: false,
            failure: None,
        }
    }

    async fn moved(store: &Store, job: &Job, job_move: JobMove) {
        let note = MoveNote {
            failure: Some(crate::model::Failure::new(
                crate::model::FailureKind::Internal,
                "x",
                "y",
            )),
            ..MoveNote::default()
        };
        store.move_job(Scope::All, &job.id, job_move, note).await.unwrap();
    }

    /// A planned, active job of one file.
    async fn planned(store: &Store, repo: &str) -> Job {
        let job = store
            .submit(new_job(1, repo, Priority::Normal, None))
            .await
            .unwrap()
            .job;
        moved(store, &job, JobMove::Start).await;
        store.add_files(job.row, vec![file("a", DIGEST)]).await.unwrap();
        let head = PlanHead {
            commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            asked_at: Timestamp::now(),
            trust: Trust::Origin,
            files: 1,
            bytes: 1,
            difference: None,
        };
        store.finish_plan(&job.id, head).await.unwrap();
        job
    }

    async fn asked(store: &Store, place: &Place, tag: Option<&str>) -> Claimants {
        let content = vec![(DIGEST, tag.map(str::to_owned))];
        store.claimants(place.clone(), content).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn who_wants_a_content_and_who_has_left_it() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let job = planned(store, "a/b").await;
        let place = store.places().await.unwrap().remove(0);
        assert_eq!((place.repo_id.as_str(), place.kind), ("a/b", RepoKind::Model));
        let other = Place {
            repo_id: RepoId::parse("a/other").unwrap(),
            ..place.clone()
        };
        assert!(asked(store, &place, None).await.wanted);
        assert!(asked(store, &place, Some(job.id.as_str())).await.wanted);
        assert_eq!(asked(store, &place, Some("another")).await, Claimants::default());
        assert_eq!(asked(store, &other, None).await, Claimants::default());
        // Paused is not ended.
        moved(store, &job, JobMove::Pause).await;
        assert!(asked(store, &place, None).await.wanted);
        moved(store, &job, JobMove::Cancel).await;
        let left = asked(store, &place, None).await;
        assert!(!left.wanted && !left.placed);
        assert!(matches!(left.left[..], [(JobState::Cancelled, _)]));
        // Tried again, it has no plan yet, and may want anything.
        moved(store, &job, JobMove::Retry).await;
        assert!(asked(store, &place, None).await.wanted);
        moved(store, &job, JobMove::Cancel).await;
        let failed = planned(store, "a/b").await;
        moved(store, &failed, JobMove::Fail).await;
        let left = asked(store, &place, None).await;
        let how: Vec<JobState> = left.left.iter().map(|(state, _)| *state).collect();
        assert!(!left.wanted, "{left:?}");
        assert_eq!(how, [JobState::Cancelled, JobState::Failed]);
        // In its place for one.
        let last = planned(store, "a/b").await;
        let page = store.pending_files(last.row, FileId(0), 1).await.unwrap();
        let done = FileDone {
            id: page[0].id,
            reused: false,
        };
        store.files_done(&last.id, vec![done]).await.unwrap();
        let left = asked(store, &place, None).await;
        assert!(!left.wanted && left.placed, "{left:?}");
    }

    #[tokio::test]
    async fn what_was_verified_long_ago_is_forgotten() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let all: Vec<Verified> = (0..u64::from(ROWS) + 1)
            .map(|ino| Verified {
                dev: 1,
                ino,
                size: 1,
                mtime_ns: 1,
                ctime_ns: 1,
                digest: DIGEST,
            })
            .collect();
        store.vouch_all(all.clone()).await.unwrap();
        assert_eq!(store.forget_verified(Timestamp::UNIX_EPOCH).await.unwrap(), 0);
        assert!(store.is_vouched(all[5]).await);
        let later = Timestamp::from_second(4_000_000_000).unwrap();
        assert_eq!(store.forget_verified(later).await.unwrap(), all.len());
        assert!(!store.is_vouched(all[5]).await);
    }
}
