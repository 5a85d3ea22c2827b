//! A daemon of one measurement, in a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;

use crate::daemon::{Daemon, socket};

/// The folder, and what programs that work in it see of the world.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) env: Vec<(&'static str, String)>,
    programs: PathBuf,
}

impl Place {
    pub(crate) fn new(programs: &Path, below: Option<&Path>, endpoint: &str) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        // Short: a socket's path has 107 bytes at most.
        builder.prefix("hfb-");
        let folder = match below {
            Some(below) => builder.tempdir_in(below)?,
            None => builder.tempdir()?,
        };
        let text = |path: PathBuf| path.display().to_string();
        let env = vec![
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", text(folder.path().join("home"))),
            ("HF_HUB_CACHE", text(folder.path().join("hub"))),
            ("HF_ENDPOINT", endpoint.to_owned()),
            ("HFCTL_ADDRESS", format!("unix:{}", socket(folder.path()).display())),
        ];
        Ok(Self {
            folder,
            env,
            programs: programs.to_owned(),
        })
    }

    pub(crate) async fn daemon(&self) -> anyhow::Result<Daemon> {
        Daemon::start(&self.programs.join("hfetchd"), self.folder.path(), &self.env).await
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("hfctl"));
        command
            .args(args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs hfctl to its end, and gives what it printed.
    pub(crate) async fn hfctl(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.command(args));
        let output = command.output().await?;
        ensure!(output.status.success(), "hfctl {args:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
