//! Builds the programs in the profile of this one, with cargo's output in sight.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::stage::Stage;

/// Variables by which cargo describes this program; to another cargo they would be lies.
const OWN: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// Builds `hfetchd` and `hfctl` into `folder`. Without cargo they must be there.
///
/// # Errors
/// When they do not build.
pub(crate) async fn programs(stage: &Stage, folder: &Path) -> anyhow::Result<()> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = folder.file_name().context("cargo's folder of a profile")?;
        let profile = if profile == "debug" { OsStr::new("dev") } else { profile };
        stage.title("Building hfetchd and hfctl")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace")?;
        // The same choice of packages as `cargo run` had at the root: what this program needed is not compiled again.
        let arguments = ["build", "--locked", "--bin", "hfetchd", "--bin", "hfctl", "--profile"];
        let mut command = Command::new(cargo);
        command.args(arguments).arg(profile).current_dir(root).process_group(0);
        for (name, _) in std::env::vars_os() {
            if OWN.iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
        let status = Build(command.spawn().context("cargo does not start")?).end().await?;
        ensure!(status, "hfetchd and hfctl do not build");
    }
    for program in ["hfetchd", "hfctl"] {
        let path = folder.join(OsString::from(program));
        ensure!(
            path.is_file(),
            "{} is not there; run `cargo quickstart`",
            path.display()
        );
    }
    Ok(())
}

/// A cargo with the compilers that it runs: a process group, ended as one.
struct Build(Child);

impl Build {
    async fn end(mut self) -> anyhow::Result<bool> {
        Ok(self.0.wait().await?.success())
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // `None` once it was waited for.
        let group = self
            .0
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended this moment.
            kill_process_group(group, Signal::TERM).ok();
        }
    }
}
