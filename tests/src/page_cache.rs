//! How much of a file is in memory. By `fincore`, which only looks: a read that must not wait is no such look, for it begins to
//! bring in what is missing, and finds it there when the disk is quicker than the reader gets on.

use std::{io, path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// Bytes of a file that are in memory; nothing where there is no `fincore`.
///
/// # Errors
/// When it cannot tell.
pub fn resident(path: &Path) -> anyhow::Result<Option<u64>> {
    let mut fincore = Command::new("fincore");
    fincore.args(["--bytes", "--noheadings", "--output", "RES"]).arg(path);
    let output = match fincore.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output.context("fincore")?,
    };
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "fincore {}: {told}{errors}", path.display());
    let bytes = told.trim().parse();
    Ok(Some(bytes.with_context(|| format!("fincore says {told:?}"))?))
}
