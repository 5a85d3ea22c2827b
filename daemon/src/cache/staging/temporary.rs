//! Small files: written at once under a name that nobody goes on with.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use super::Staging;
use crate::cache::{error::CacheError, root::Root, stamp::FileStamp};

impl Staging {
    /// A new, empty file under a name of its own, which nobody else has and nobody goes on with.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::cache) fn temporary(
        root: &Arc<Root>,
        file: File,
        relative: String,
        size: u64,
    ) -> Result<Self, CacheError> {
        let path = root.path(&relative);
        let meta = file.metadata().map_err(|source| CacheError::Io {
            act: "look at",
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            root: Arc::clone(root),
            path,
            file,
            relative,
            size,
            existed: false,
            found: FileStamp::of(&meta),
            broken: AtomicBool::new(false),
            dirty: AtomicBool::new(true),
            // Some kilobytes that are soon looked at are nobody's burden.
            passing: false,
            let_go: AtomicU64::new(0),
        })
    }
}
