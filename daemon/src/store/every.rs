//! What is asked of all jobs of a kind, however many there are.

use std::collections::HashSet;

use rusqlite::Connection;

use super::{
    Filter, Store,
    error::{Act as _, StoreError},
};
use crate::model::JobId;

fn token_refs(db: &Connection, uid: u32) -> Result<HashSet<String>, StoreError> {
    let open = "SELECT token_ref FROM jobs WHERE uid = ?1 AND token_ref IS NOT NULL \
                AND state IN ('queued', 'active', 'held', 'paused') \
                UNION SELECT token_ref FROM schedules WHERE uid = ?1 AND token_ref IS NOT NULL";
    db.prepare_cached(open)
        .and_then(|mut statement| statement.query_map([uid], |row| row.get(0))?.collect())
        .act("list token references")
}

impl Store {
    /// References of the tokens that a user's open jobs and schedules need.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn token_refs(&self, uid: u32) -> Result<HashSet<String>, StoreError> {
        self.reads.read(move |db| token_refs(db, uid)).await
    }

    /// The ids of all jobs that a filter shows, newest first; `limit` is the size of a page.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn job_ids(&self, mut filter: Filter) -> Result<Vec<JobId>, StoreError> {
        let mut ids = Vec::new();
        loop {
            let (page, _) = self.list_jobs(filter.clone()).await?;
            let full = page.len() == filter.limit as usize;
            filter.before_row = page.last().map(|job| job.row);
            ids.extend(page.into_iter().map(|job| job.id));
            if !full {
                return Ok(ids);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            MoveNote, Scope,
            tests::{Fixture, new_job},
        },
        Filter,
    };
    use crate::model::{JobMove, Priority};

    #[tokio::test]
    async fn what_is_asked_of_all_jobs_is_answered_over_all_pages() {
        let fixture = Fixture::new();
        for index in 0..5 {
            let job = new_job(index % 2, &format!("org/m{index}"), Priority::Normal, None);
            fixture.store.submit(job).await.unwrap();
        }
        let mut with_token = new_job(1, "org/gated", Priority::Normal, None);
        with_token.spec.token_ref = Some("t1".into());
        let job = fixture.store.submit(with_token).await.unwrap().job;
        assert_eq!(fixture.store.token_refs(1).await.unwrap(), ["t1".to_owned()].into());
        assert!(fixture.store.token_refs(0).await.unwrap().is_empty());
        let (cancel, note) = (JobMove::Cancel, MoveNote::default());
        fixture.store.move_job(Scope::All, &job.id, cancel, note).await.unwrap();
        assert!(fixture.store.token_refs(1).await.unwrap().is_empty());
        for (limit, scope, expected) in [
            (2, Scope::All, 6),
            (6, Scope::All, 6),
            (1, Scope::Uid(1), 3),
            (9, Scope::Uid(7), 0),
        ] {
            let filter = Filter {
                scope,
                states: Vec::new(),
                held_for: Vec::new(),
                user: String::new(),
                repo: String::new(),
                before_row: None,
                limit,
            };
            let ids = fixture.store.job_ids(filter).await.unwrap();
            assert_eq!(ids.len(), expected, "pages of {limit}");
        }
    }
}
