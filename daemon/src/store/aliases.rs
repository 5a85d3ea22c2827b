//! Users' own short names.

use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    thread::WriteContext,
};

pub(super) fn list(db: &Connection, uid: u32) -> Result<Vec<(String, String)>, StoreError> {
    db.prepare_cached("SELECT name, target FROM aliases WHERE uid = ?1 ORDER BY name")
        .and_then(|mut statement| {
            statement
                .query_map([uid], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<Vec<_>, _>>()
        })
        .act("list aliases")
}

/// True when it replaced one.
pub(super) fn set(context: &mut WriteContext<'_>, uid: u32, name: &str, target: &str) -> Result<bool, StoreError> {
    let replaced = remove(context, uid, name)?;
    context
        .db
        .execute(
            "INSERT INTO aliases (uid, name, target) VALUES (?1, ?2, ?3)",
            params![uid, name, target],
        )
        .act("set an alias")?;
    Ok(replaced)
}

/// True when there was one.
pub(super) fn remove(context: &mut WriteContext<'_>, uid: u32, name: &str) -> Result<bool, StoreError> {
    let removed = context
        .db
        .execute("DELETE FROM aliases WHERE uid = ?1 AND name = ?2", params![uid, name])
        .act("remove an alias")?;
    Ok(removed > 0)
}

impl Store {
    /// A user's aliases, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn aliases(&self, uid: u32) -> Result<Vec<(String, String)>, StoreError> {
        self.reads.read(move |db| list(db, uid)).await
    }

    /// Adds or replaces an alias; true when it replaced one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_alias(&self, uid: u32, name: String, target: String) -> Result<bool, StoreError> {
        self.jobs.write(move |context| set(context, uid, &name, &target)).await
    }

    /// Removes an alias; false when there was none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_alias(&self, uid: u32, name: String) -> Result<bool, StoreError> {
        self.jobs.write(move |context| remove(context, uid, &name)).await
    }
}
