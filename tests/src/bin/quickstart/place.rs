//! Where things lie: beside this program, and in a scratch folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// Longest path of a socket, less what is added to the scratch folder.
const LONGEST_SCRATCH: usize = 80;

/// The folders of one run.
pub(crate) struct Places {
    /// The story of the simulated Hub is told: nothing of the caller's counts.
    pub(crate) simulated: bool,
    /// Where cargo puts this program, `hfetchd` and `hfctl`.
    pub(crate) programs: PathBuf,
    /// The Hugging Face cache that stays.
    pub(crate) cache: PathBuf,
    /// The daemon's.
    pub(crate) state: PathBuf,
    /// Everything else; removed when dropped.
    pub(crate) scratch: TempDir,
}

impl Places {
    /// The cache is the one that was named, the caller's own when real files are fetched and HF_HUB_CACHE names one, else
    /// a folder in cargo's target directory.
    ///
    /// # Errors
    /// When there is no room for a scratch folder.
    pub(crate) fn new(simulated: bool, cache: Option<&Path>, state: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let programs = own.parent().context("this program has no folder")?.to_owned();
        let target = programs.parent().context("cargo's target directory")?;
        let scratch = scratch()?;
        let callers = std::env::var_os("HF_HUB_CACHE").filter(|path| !path.is_empty() && !simulated);
        let cache = match cache.map(Path::to_owned).or(callers.map(PathBuf::from)) {
            Some(path) => std::path::absolute(path)?,
            None => target.join("quickstart-files"),
        };
        let state = match state {
            _ if simulated => scratch.path().join("state"),
            // Outlives a run that is interrupted: it knows which bytes of an unfinished file are good.
            None => target.join("quickstart-state"),
            // A folder of our own in it, for it is removed in the end.
            Some(path) => std::path::absolute(path)?.join("quickstart-state"),
        };
        Ok(Self {
            simulated,
            programs,
            cache,
            state,
            scratch,
        })
    }
}

/// A new folder for the socket, whose path must be short, and all else that goes. Removed when dropped.
///
/// # Errors
/// When there is no room for it.
fn scratch() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hfetch-quickstart-");
    let temp = std::env::temp_dir();
    let temp = if temp.as_os_str().len() < LONGEST_SCRATCH - 30 {
        temp
    } else {
        PathBuf::from("/tmp")
    };
    builder
        .tempdir_in(&temp)
        .with_context(|| format!("no scratch folder in {}", temp.display()))
}
