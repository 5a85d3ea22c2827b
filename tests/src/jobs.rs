//! Jobs as a user of `hfctl` handles them: submit, look, wait for a state.

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::harness::{Scratch, eventually};

impl Scratch {
    /// Submits a job and gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, args: &[&str]) -> anyhow::Result<String> {
        let args = std::iter::once("submit").chain(args.iter().copied());
        Ok(self.hfctl(args).await?.ok()?.trim().to_owned())
    }

    /// A job as `show --json` tells it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn show(&self, id: &str) -> anyhow::Result<Value> {
        self.hfctl(["show", "--json", id]).await?.json()
    }

    /// The state of a job, with the reason when it is held: `active`, `held (disk)`.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn state_of(&self, id: &str) -> anyhow::Result<String> {
        Ok(state_text(&self.show(id).await?))
    }

    /// Waits until a job is in a state (as [`Scratch::state_of`] words it); gives the job as it is then.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn until(&self, id: &str, wanted: &str) -> anyhow::Result<Value> {
        let what = format!("job {id}, {wanted}");
        let reached = eventually(&what, async || {
            let job = self.show(id).await.map_err(|error| error.to_string())?;
            if state_text(&job) == wanted {
                Ok(job)
            } else {
                Err(job.to_string())
            }
        });
        reached
            .await
            .with_context(|| format!("the daemon's log:\n{}", self.log()))
    }

    /// The warnings in the event stream of a job that has ended, one line each.
    ///
    /// # Errors
    /// When `hfctl` cannot be run.
    pub async fn warnings(&self, id: &str) -> anyhow::Result<Vec<String>> {
        let args = ["watch", "--json", "--after", "0", "--no-progress", id];
        let told = self.hfctl(args).await?.stdout;
        let warnings = told.lines().filter(|line| line.contains("\"warning\""));
        Ok(warnings.map(str::to_owned).collect())
    }

    /// Waits until jobs have ended, and fails unless all are done.
    ///
    /// # Errors
    /// With how they ended.
    pub async fn wait_done(&self, ids: &[&str]) -> anyhow::Result<()> {
        let args = std::iter::once("wait").chain(ids.iter().copied());
        let ran = self.hfctl(args).await?;
        if ran.code != 0 {
            bail!("exit {}\n{}\nthe daemon's log:\n{}", ran.code, ran.stderr, self.log());
        }
        Ok(())
    }
}

/// State and reason of a job in one text.
pub fn state_text(job: &Value) -> String {
    let state = job["state"].as_str().unwrap_or("?");
    match job["reason"].as_str() {
        Some(reason) => format!("{state} ({reason})"),
        None => state.to_owned(),
    }
}
