//! Builds the programs that are measured, in the profile of this one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// Variables by which cargo describes this program; to another cargo they would be lies.
const OWN: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The folder of the programs. Builds them first if asked to, and if cargo runs us; else they must be there.
///
/// # Errors
/// When they do not build or are not there.
pub(crate) fn programs(build: bool) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this program is")?;
    let folder = own.parent().context("the folder of this program")?.to_owned();
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| build) {
        let profile = folder.file_name().context("cargo's folder of a profile")?;
        let profile = if profile == "debug" { "dev".as_ref() } else { profile };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace")?;
        let mut command = Command::new(cargo);
        command
            .args([
                "build", "--locked", "--bin", "hfetchd", "--bin", "hfctl", "--bin", "sim-hub",
            ])
            .arg("--profile")
            .arg(profile)
            .current_dir(root);
        for (name, _) in std::env::vars_os() {
            if OWN.iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
        let status = command.status().context("cargo does not start")?;
        ensure!(status.success(), "hfetchd, hfctl and sim-hub do not build");
    }
    for program in ["hfetchd", "hfctl", "sim-hub"] {
        let path = folder.join(program);
        ensure!(path.is_file(), "{} is not there", path.display());
    }
    Ok(folder)
}
