//! What a command came to.

use std::process::Output;

use anyhow::{Context as _, ensure};

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The output, if the command succeeded.
    ///
    /// # Errors
    /// With both outputs otherwise.
    pub fn ok(self) -> anyhow::Result<String> {
        self.exits(0)
    }

    /// The output, if the command ended with a code.
    ///
    /// # Errors
    /// With both outputs otherwise.
    pub fn exits(self, code: i32) -> anyhow::Result<String> {
        ensure!(
            self.code == code,
            "exit {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }

    /// The output as JSON, if the command succeeded.
    ///
    /// # Errors
    /// When it failed or printed something else.
    pub fn json(self) -> anyhow::Result<serde_json::Value> {
        let text = self.ok()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}
