//! What `daemon status` tells scripts.

use hfetch_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::time;
use crate::view::details;

/// The daemon.
#[derive(Debug, Serialize)]
pub(crate) struct ServerJson {
    version: String,
    pid: u32,
    mode: String,
    started_at: Option<Timestamp>,
    socket: String,
    state_dir: String,
    config_files: Vec<String>,
    config_warnings: Vec<String>,
    config_read_at: Option<Timestamp>,
    config_mistakes: Vec<String>,
    config_not_loaded: Vec<String>,
    config_changed: bool,
    cache: String,
    endpoints: Vec<String>,
    jobs_queued: u64,
    jobs_active: u64,
    jobs_held: u64,
    bytes_per_sec: u64,
    schema_version: u32,
    sqlite_version: String,
    caller: String,
    caller_is_operator: bool,
    client_version: &'static str,
}

impl ServerJson {
    /// The answer of `daemon status`.
    pub(crate) fn new(info: v1::GetServerInfoResponse) -> ServerJson {
        let config_changed = details::changed(&info);
        ServerJson {
            version: info.version,
            pid: info.pid,
            mode: info.mode,
            started_at: time(info.started_at),
            socket: info.socket,
            state_dir: info.state_dir,
            config_files: info.config_files,
            config_warnings: info.config_warnings,
            config_read_at: time(info.config_read_at),
            config_mistakes: info.config_mistakes.lines().map(str::to_owned).collect(),
            config_changed,
            config_not_loaded: info.config_not_loaded,
            cache: info.cache,
            endpoints: info.endpoints,
            jobs_queued: info.jobs_queued,
            jobs_active: info.jobs_active,
            jobs_held: info.jobs_held,
            bytes_per_sec: info.bytes_per_sec,
            schema_version: info.schema_version,
            sqlite_version: info.sqlite_version,
            caller: info.caller,
            caller_is_operator: info.caller_is_operator,
            client_version: env!("CARGO_PKG_VERSION"),
        }
    }
}
