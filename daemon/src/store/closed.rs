//! Which repositories are not for everybody, as an origin said.

use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
};
use crate::model::{RepoId, RepoKind};

fn is_closed(db: &Connection, kind: RepoKind, repo_id: &RepoId) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM closed_repos WHERE kind = ?1 AND repo_id = ?2)")
        .and_then(|mut statement| statement.query_row([kind.as_str(), repo_id.as_str()], |row| row.get(0)))
        .act("look for a closed repository")
}

impl Store {
    /// Whether an origin said that not everybody may have a repository.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_closed(&self, kind: RepoKind, repo_id: RepoId) -> Result<bool, StoreError> {
        self.queue.read(move |db| is_closed(db, kind, &repo_id)).await
    }

    /// Notes what an origin said. Costs a look when it says what it said before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_closed(&self, kind: RepoKind, repo_id: RepoId, closed: bool) -> Result<(), StoreError> {
        if self.is_closed(kind, repo_id.clone()).await? == closed {
            return Ok(());
        }
        let sql = match closed {
            true => "INSERT OR IGNORE INTO closed_repos (kind, repo_id) VALUES (?1, ?2)",
            false => "DELETE FROM closed_repos WHERE kind = ?1 AND repo_id = ?2",
        };
        self.jobs
            .write(move |context| {
                let noted = context.db.execute(sql, params![kind.as_str(), repo_id.as_str()]);
                noted.act("note a closed repository").map(drop)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Fixture;

    #[tokio::test]
    async fn what_an_origin_said_last_counts_after_a_restart_too() {
        let fixture = Fixture::new();
        let repo = RepoId::parse("org/gated").unwrap();
        let model = RepoKind::Model;
        let store = &fixture.store;
        assert!(!store.is_closed(model, repo.clone()).await.unwrap());
        for _ in 0..2 {
            store.note_closed(model, repo.clone(), true).await.unwrap();
        }
        let fixture = fixture.reopen();
        let store = &fixture.store;
        assert!(store.is_closed(model, repo.clone()).await.unwrap());
        assert!(!store.is_closed(RepoKind::Dataset, repo.clone()).await.unwrap());
        store.note_closed(model, repo.clone(), false).await.unwrap();
        assert!(!store.is_closed(model, repo).await.unwrap());
    }
}
