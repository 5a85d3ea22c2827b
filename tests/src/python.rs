//! Finding a Python with the libraries that a test wants, and running scripts with it.
//!
//! A test whose Python is missing prints one line and returns; with `HFETCH_NO_SKIP=1` that is a failure.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::harness::{PATIENCE, Ran};

/// The `hf` command line, wherever this Python keeps it.
const HF: &str = "import sys; from huggingface_hub.cli.hf import main; sys.argv[0] = 'hf'; main()";

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
        let ran = self.output(script, arguments, environment.iter().copied()).await?;
        ensure!(ran.code == 0, "python ended with {}: {}", ran.code, ran.stderr);
        Ok(ran.stdout)
    }

    /// As [`Python::run`], whatever the exit code.
    ///
    /// # Errors
    /// When it cannot be started, or hangs.
    pub async fn output<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> anyhow::Result<Ran> {
        let mut command = self.command(script, arguments, environment);
        let output = tokio::time::timeout(PATIENCE * 2, command.output())
            .await
            .context("python hangs")?
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Ran::from(output))
    }

    /// Runs the `hf` command line.
    ///
    /// # Errors
    /// As [`Python::output`].
    pub async fn hf<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> anyhow::Result<Ran> {
        self.output(HF, arguments, environment).await
    }

    /// Starts a script that a test talks to, line by line.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn talk<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> anyhow::Result<Talk> {
        let mut child = self
            .command(script, arguments, environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let input = child.stdin.take().context("stdin")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Talk { child, input, output })
    }

    fn command<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Command {
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
        command.envs(environment);
        command
    }
}

/// A running script; killed when dropped.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    /// The next line that it prints (it must flush).
    ///
    /// # Errors
    /// When it ends or is silent for too long; the error holds what it wrote to stderr.
    pub async fn hear(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        match line.context("python says nothing")?? {
            Some(line) => Ok(line),
            None => {
                let said = self.complaints().await;
                anyhow::bail!("python ended: {said}")
            }
        }
    }

    /// Gives it a line to read.
    ///
    /// # Errors
    /// When it ended.
    pub async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(())
    }

    /// Waits for its end; gives what else it printed.
    ///
    /// # Errors
    /// When it goes on for too long or does not exit with 0.
    pub async fn end(mut self) -> anyhow::Result<Vec<String>> {
        let mut rest = Vec::new();
        let wait = async {
            while let Some(line) = self.output.next_line().await? {
                rest.push(line);
            }
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, wait).await.context("python goes on")??;
        let said = self.complaints().await;
        ensure!(status.success(), "python ended with {status}: {said}");
        Ok(rest)
    }

    async fn complaints(&mut self) -> String {
        let mut said = Vec::new();
        if let Some(stderr) = &mut self.child.stderr {
            let read = tokio::time::timeout(PATIENCE, stderr.read_to_end(&mut said));
            // What came until then is better than nothing.
            let _hangs = read.await.is_err();
        }
        String::from_utf8_lossy(&said).into_owned()
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
