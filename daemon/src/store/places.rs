//! Places by what jobs do there: whether one still writes to them, and where jobs have ended.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs::to_json,
    leftovers::{Place, place},
};
use crate::model::{Destination, JobId};

/// As in the index of open jobs.
const OPEN: &str = "state IN ('queued', 'active', 'held', 'paused')";

fn worked_on(db: &Connection) -> Result<Vec<Place>, StoreError> {
    let sql = format!("SELECT DISTINCT destination, path, kind, repo_id FROM jobs WHERE {OPEN}");
    let places = db
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_map([], place)?.collect::<Result<Vec<_>, _>>())
        .act("list open destinations")?;
    Ok(places.into_iter().flatten().collect())
}

fn is_worked_on(db: &Connection, place: &Place) -> Result<bool, StoreError> {
    // However the configuration spells it: jobs have it without a slash at the end, or as it is there.
    let path: std::path::PathBuf = place.destination.path().components().collect();
    let word = match place.destination {
        Destination::Cache(_) => "cache",
        Destination::LocalDir(_) => "local_dir",
    };
    db.prepare_cached(&format!(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE path IN (?1, ?2, ?2 || '/') AND repo_id = ?3 AND kind = ?4 \
         AND destination = ?5 AND {OPEN})"
    ))
    .and_then(|mut statement| {
        let row = params![
            place.destination.path().to_string_lossy(),
            path.to_string_lossy(),
            place.repo_id.as_str(),
            place.kind.as_str(),
            word,
        ];
        statement.query_row(row, |row| row.get(0))
    })
    .act("look for open jobs of a destination")
}

fn of_jobs(db: &Connection, ids: &[JobId]) -> Result<Vec<(Place, bool)>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
    let places = db
        .prepare_cached(
            "SELECT destination, path, kind, repo_id, max(state = 'cancelled') FROM jobs \
             WHERE id IN (SELECT value FROM json_each(?1)) GROUP BY 1, 2, 3, 4",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map([to_json(&ids)], |row| Ok((place(row)?, row.get(4)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        })
        .act("look for the destinations of jobs")?;
    let known = places
        .into_iter()
        .filter_map(|(place, cancelled)| Some((place?, cancelled)));
    Ok(known.collect())
}

fn cancelled_since(db: &Connection, since: Timestamp) -> Result<Vec<(Place, Timestamp)>, StoreError> {
    let places = db
        .prepare_cached(
            "SELECT destination, path, kind, repo_id, max(ended_at) FROM jobs \
             WHERE ended_at >= ?1 AND state = 'cancelled' GROUP BY 1, 2, 3, 4",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map([since.as_millisecond()], |row| Ok((place(row)?, row.get(4)?)))?;
            rows.collect::<Result<Vec<(_, i64)>, _>>()
        })
        .act("look for cancelled jobs")?;
    let known = places
        .into_iter()
        .filter_map(|(place, at)| Some((place?, Timestamp::from_millisecond(at).ok()?)));
    Ok(known.collect())
}

impl Store {
    /// Where jobs write to that have not ended.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn worked_on(&self) -> Result<Vec<Place>, StoreError> {
        self.reads.read(worked_on).await
    }

    /// Whether a job that has not ended writes to a place.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_worked_on(&self, place: Place) -> Result<bool, StoreError> {
        self.reads.read(move |db| is_worked_on(db, &place)).await
    }

    /// Where some jobs write to, each place once, and whether one of them was cancelled.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn places_of(&self, ids: Vec<JobId>) -> Result<Vec<(Place, bool)>, StoreError> {
        self.reads.read(move |db| of_jobs(db, &ids)).await
    }

    /// Where jobs wrote to that were cancelled at a time or later, and when the last of them was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn cancelled_since(&self, since: Timestamp) -> Result<Vec<(Place, Timestamp)>, StoreError> {
        self.reads.read(move |db| cancelled_since(db, since)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::{
        model::{JobMove, Priority, RepoId, RepoKind},
        store::{MoveNote, Scope},
    };

    #[tokio::test]
    async fn places_are_told_by_the_jobs_that_are_open_there() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut jobs = Vec::new();
        for (repo, path) in [("a/b", "/c"), ("a/b", "/c"), ("a/other", "/c"), ("a/slash", "/c/")] {
            let mut new = new_job(1, repo, Priority::Normal, None);
            new.spec.destination = Destination::Cache(path.into());
            jobs.push(store.submit(new).await.unwrap().job);
        }
        let place = |repo: &str, kind, path: &str| Place {
            destination: Destination::Cache(path.into()),
            kind,
            repo_id: RepoId::parse(repo).unwrap(),
        };
        let ours = place("a/b", RepoKind::Model, "/c");
        assert_eq!(store.worked_on().await.unwrap().len(), 3);
        for (place, open) in [
            (ours.clone(), true),
            (place("a/b", RepoKind::Model, "/c/"), true),
            (place("a/slash", RepoKind::Model, "/c"), true),
            (place("a/b", RepoKind::Dataset, "/c"), false),
            (place("a/b", RepoKind::Model, "/d"), false),
        ] {
            assert_eq!(store.is_worked_on(place.clone()).await.unwrap(), open, "{place:?}");
        }
        let moved = async |id: &JobId, job_move| {
            let moved = store.move_job(Scope::All, id, job_move, MoveNote::default());
            moved.await.unwrap()
        };
        moved(&jobs[0].id, JobMove::Pause).await;
        let before = moved(&jobs[1].id, JobMove::Cancel).await.ended_at.unwrap();
        // A paused job is not over.
        assert!(store.is_worked_on(ours.clone()).await.unwrap());
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
        let mut places = store.places_of(ids).await.unwrap();
        places.sort_by(|a, b| a.0.repo_id.as_str().cmp(b.0.repo_id.as_str()));
        assert_eq!(places.len(), 3, "{places:?}");
        assert_eq!(places[0], (ours.clone(), true));
        assert!(!places[1].1 && !places[2].1);
        moved(&jobs[0].id, JobMove::Cancel).await;
        assert!(!store.is_worked_on(ours.clone()).await.unwrap());
        let cancelled = store.cancelled_since(before).await.unwrap();
        assert!(
            matches!(&cancelled[..], [(place, _)] if *place == ours),
            "{cancelled:?}"
        );
        let later = Timestamp::from_second(4_000_000_000).unwrap();
        assert!(store.cancelled_since(later).await.unwrap().is_empty());
    }
}
