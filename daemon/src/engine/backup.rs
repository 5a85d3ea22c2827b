//! A copy of the job database, for who keeps copies.

use super::{CallError, Engine, shared};

impl Engine {
    /// A copy of the job database as it is now, in a file that has no name and is gone when it is closed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn copy_store(&self) -> Result<std::fs::File, CallError> {
        let store = self.shared.store.clone();
        Ok(shared::blocking(move || store.copy()).await?)
    }
}
