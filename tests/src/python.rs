//! Finding a Python with the libraries that a test wants, and running scripts with it.
//!
//! A test whose Python is missing prints one line and returns; with `HFETCH_NO_SKIP=1` that is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// An interpreter that can import what was asked for.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Looks at `HFETCH_TEST_PYTHON`, then `target/pyenv/bin/python`, then `python3`, for one that runs
    /// `import MODULES` (comma-separated). `None`: there is none, and a line was printed; the test is to return.
    ///
    /// # Panics
    /// When there is none and `HFETCH_NO_SKIP=1` is set.
    pub async fn with(modules: &str) -> Option<Self> {
        Self::satisfying(modules, &format!("import {modules}")).await
    }

    /// As [`Python::with`] for `huggingface_hub` from version 2 on.
    ///
    /// # Panics
    /// As [`Python::with`].
    pub async fn with_huggingface_hub() -> Option<Self> {
        let check = "import huggingface_hub as h; assert int(h.__version__.split('.')[0]) >= 2";
        Self::satisfying("huggingface_hub >= 2", check).await
    }

    async fn satisfying(what: &str, check: &str) -> Option<Self> {
        for program in candidates() {
            let mut command = Command::new(&program);
            command
                .args(["-c", check])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if command.status().await.is_ok_and(|status| status.success()) {
                return Some(Self { program });
            }
        }
        skip(&format!("no Python with {what}"));
        None
    }

    /// The interpreter.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a script with arguments in a clean environment plus `environment`; gives what it printed.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0; the error holds what it wrote to stderr.
    pub async fn run(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(script)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(environment.iter().copied());
        let output = command
            .output()
            .await
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "python ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Says that a test does nothing, on one line that is seen even when output is captured.
///
/// # Panics
/// When `HFETCH_NO_SKIP=1` is set.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("HFETCH_NO_SKIP").is_none_or(|value| value != "1"),
        "must not be skipped: {why}"
    );
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {test}: {why}").ok();
}

fn candidates() -> Vec<PathBuf> {
    if let Some(given) = std::env::var_os("HFETCH_TEST_PYTHON") {
        return vec![given.into()];
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    vec![target.join("pyenv/bin/python"), "python3".into()]
}
