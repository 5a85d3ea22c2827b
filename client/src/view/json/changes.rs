//! JSON of commands that change something else than jobs.

use hfetch_proto::v1::ReloadResponse;
use serde::Serialize;

/// The answer of `daemon reload`: dotted keys.
#[derive(Debug, Serialize)]
pub(crate) struct ReloadJson {
    changed: Vec<String>,
    needs_restart: Vec<String>,
}

impl ReloadJson {
    /// What the daemon says.
    pub(crate) fn new(answer: ReloadResponse) -> Self {
        Self {
            changed: answer.changed,
            needs_restart: answer.needs_restart,
        }
    }
}

/// The answer of `daemon backup`.
#[derive(Debug, Serialize)]
pub(crate) struct BackupJson<'a> {
    pub(crate) path: &'a str,
    pub(crate) bytes: u64,
}

/// The answer of `alias remove`.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedAliasJson<'a> {
    pub(crate) name: &'a str,
    pub(crate) removed: bool,
}

/// The answer of `logout`.
#[derive(Debug, Serialize)]
pub(crate) struct LogoutJson {
    pub(crate) endpoint: String,
    /// False: there was no login.
    pub(crate) removed: bool,
}

/// The answer of `daemon stop`.
#[derive(Debug, Serialize)]
pub(crate) struct StoppedJson {
    /// False: none was running.
    pub(crate) stopped: bool,
}
