//! Which folders must be synced before what lies in them counts.

use std::collections::BTreeSet;

/// Folders whose entries changed and are not synced yet, relative to the root.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Parents sort before their children.
    pub(super) folders: BTreeSet<String>,
    /// Folders whose chain is among them.
    pub(super) chains: Vec<String>,
}

impl Touched {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Notes that an entry of this folder changed.
    pub(super) fn insert(&mut self, folder: impl Into<String>) {
        self.folders.insert(folder.into());
    }
}

/// The folder of a relative path; empty for the root.
pub(super) fn parent_of(relative: &str) -> &str {
    relative.rsplit_once('/').map_or("", |(folder, _)| folder)
}
