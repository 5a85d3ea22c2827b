//! The simulated Hub as a process of its own, so that its CPU time is nobody else's.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context as _, ensure};

/// A running sim-hub; it ends with its stdin.
pub(crate) struct Sim {
    endpoint: String,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
}

impl Sim {
    pub(crate) fn start(programs: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let mut child = Command::new(programs.join("sim-hub"))
            .arg("--totals")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("sim-hub does not start")?;
        let stdin = child.stdin.take().context("a pipe")?;
        let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut endpoint = String::new();
        stdout.read_line(&mut endpoint)?;
        let mut cdn = String::new();
        stdout.read_line(&mut cdn)?;
        ensure!(endpoint.starts_with("http://"), "sim-hub does not say where it is");
        Ok(Self {
            endpoint: endpoint.trim().to_owned(),
            pipes: Mutex::new((stdin, stdout)),
            child,
        })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Requests so far, and bytes of files that went out.
    pub(crate) fn totals(&self) -> anyhow::Result<(u64, u64)> {
        let mut pipes = self.pipes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pipes.0.write_all(b"\n")?;
        let mut line = String::new();
        pipes.1.read_line(&mut line)?;
        let (requests, bytes) = line.trim().split_once(' ').context("sim-hub does not answer")?;
        Ok((requests.parse()?, bytes.parse()?))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
