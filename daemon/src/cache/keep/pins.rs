//! Pins: commits of a repository that no prune takes. One a line in `.hfetch/pins` of its folder, so that they go where the
//! files go and vanish with them.

use std::collections::BTreeSet;

use crate::cache::error::CacheError;
use crate::cache::layout::Layout;
use crate::cache::store::Store;
use crate::cache::touched::Touched;
use crate::model::CommitHash;

const LARGEST: u64 = 1 << 20;

impl Store {
    fn pins_file(&self) -> Option<String> {
        matches!(self.layout(), Layout::Cache { .. }).then(|| format!("{}/pins", self.layout().staging()))
    }

    /// The pinned commits.
    ///
    /// # Errors
    /// What the system says.
    pub fn pins(&self) -> Result<BTreeSet<CommitHash>, CacheError> {
        let Some(file) = self.pins_file() else {
            return Ok(BTreeSet::new());
        };
        let bytes = self.root().read_small(&file, LARGEST)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(|line| CommitHash::parse(line.trim())).collect())
    }

    /// Pins a commit, or takes the pin away; `false` when that was so already. Durable.
    ///
    /// # Errors
    /// As for any write.
    pub fn set_pin(&self, commit: &CommitHash, pinned: bool) -> Result<bool, CacheError> {
        let Some(file) = self.pins_file() else {
            return Ok(false);
        };
        let mut pins = self.pins()?;
        let changed = match pinned {
            true => pins.insert(commit.clone()),
            false => pins.remove(commit),
        };
        if !changed {
            return Ok(false);
        }
        let mut touched = Touched::new();
        if pins.is_empty() {
            self.root().remove(&file)?;
            touched.insert(self.layout().staging());
        } else {
            let lines: String = pins.iter().map(|commit| format!("{commit}\n")).collect();
            let _kept = self.keep_staging(&mut touched)?;
            self.replace_small(&file, lines.as_bytes(), &mut touched)?;
        }
        self.root().sync_touched(&mut touched)?;
        Ok(true)
    }
}
