//! Where things lie: beside this program, and in a scratch folder.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Longest path of a socket, less what is added to the scratch folder.
const LONGEST_SCRATCH: usize = 80;

/// Folder of this program, which is where cargo puts `hfetchd` and `hfctl`.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(own.parent().context("this program has no folder")?.to_owned())
}

/// The Hugging Face cache that stays: the one that was named, the caller's own when real files are fetched and HF_HUB_CACHE
/// names one, else a folder in cargo's target directory.
///
/// # Errors
/// When the working directory is gone.
pub(crate) fn cache(programs: &Path, simulated: bool, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let callers = std::env::var_os("HF_HUB_CACHE").filter(|path| !path.is_empty() && !simulated);
    match named.map(Path::to_owned).or(callers.map(PathBuf::from)) {
        Some(path) => Ok(std::path::absolute(path)?),
        None => beside(programs, "quickstart-files"),
    }
}

/// A folder in cargo's target directory.
///
/// # Errors
/// When there is no such directory.
pub(crate) fn beside(programs: &Path, name: &str) -> anyhow::Result<PathBuf> {
    Ok(programs.parent().context("cargo's target directory")?.join(name))
}

/// A new folder for the socket, whose path must be short, and all else that goes. Removed when dropped.
///
/// # Errors
/// When there is no room for it.
pub(crate) fn scratch() -> anyhow::Result<tempfile::TempDir> {
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
