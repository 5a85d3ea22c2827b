//! Stub.
#![expect(missing_docs, reason = "stub")]
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use url::Url;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    User,
    System,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPolicy {
    Never,
    Own,
}
#[derive(Debug, Clone)]
pub struct MinFree;
impl MinFree {
    pub fn bytes(&self, _total: u64) -> u64 {
        1 << 30
    }
}
#[derive(Debug, Clone)]
pub struct StorageOptions {
    pub caches: Vec<PathBuf>,
    pub local_roots: Vec<PathBuf>,
    pub min_free: MinFree,
}
#[derive(Debug, Clone)]
pub struct TransferOptions {
    pub connections: u32,
    pub max_workers: u32,
    pub max_active_jobs: u32,
    pub max_connections: u32,
    pub give_up_after: Duration,
    pub stall_timeout: Duration,
}
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    pub name: String,
    pub url: Url,
    pub token: TokenPolicy,
    pub max_connections: u32,
}
#[derive(Debug, Clone)]
pub struct EventOptions {
    pub keep: Duration,
    pub keep_count: u64,
}
#[derive(Debug, Clone)]
pub struct UserOptions {
    pub max_queued: u64,
}
#[derive(Debug, Clone)]
pub struct Users;
impl Users {
    pub fn of(&self, _name: &str) -> UserOptions {
        UserOptions { max_queued: 1_000_000 }
    }
}
#[derive(Debug, Clone)]
pub struct LogOptions {
    pub filter: String,
}
impl LogOptions {
    pub fn format(&self) -> crate::telemetry::Format {
        crate::telemetry::Format::Auto
    }
}
#[derive(Debug, Clone)]
pub struct Config {
    pub storage: StorageOptions,
    pub transfer: TransferOptions,
    pub endpoints: Vec<EndpointOptions>,
    pub aliases: BTreeMap<String, String>,
    pub events: EventOptions,
    pub users: Users,
    pub log: LogOptions,
    pub warnings: Vec<String>,
}
impl Config {
    pub fn diff(&self, _o: &Self) -> (Vec<String>, Vec<String>) {
        (vec![], vec![])
    }
}
pub fn is_public_mirror(host: &str) -> bool {
    host == "hf-mirror.com"
}
#[derive(Debug, thiserror::Error)]
#[error("bad")]
pub struct Mistakes;
pub struct Inputs {
    pub state_dir: PathBuf,
    pub socket: PathBuf,
}
impl Inputs {
    pub fn from_process(_c: Vec<PathBuf>, s: Option<PathBuf>, k: Option<PathBuf>) -> Self {
        let s = s.unwrap_or("/tmp/hfs".into());
        Self {
            socket: k.unwrap_or(s.join("hfetchd.sock")),
            state_dir: s,
        }
    }
}
pub struct Loaded {
    pub config: Config,
    pub mode: Mode,
    pub state_dir: PathBuf,
    pub socket: PathBuf,
    pub files: Vec<PathBuf>,
}
impl Loaded {
    pub fn print(&self) -> String {
        String::new()
    }
}
pub fn load(i: &Inputs) -> Result<Loaded, Mistakes> {
    let e = std::env::var("HF_ENDPOINT").unwrap_or("https://huggingface.co".into());
    let c = std::env::var("HF_HUB_CACHE").unwrap_or("/tmp/hfs/cache".into());
    Ok(Loaded {
        config: Config {
            storage: StorageOptions {
                caches: vec![c.into()],
                local_roots: vec![],
                min_free: MinFree,
            },
            transfer: TransferOptions {
                connections: 8,
                max_workers: 8,
                max_active_jobs: 4,
                max_connections: 64,
                give_up_after: Duration::from_secs(86400),
                stall_timeout: Duration::from_secs(30),
            },
            endpoints: vec![EndpointOptions {
                name: "default".into(),
                url: e.parse().unwrap(),
                token: TokenPolicy::Own,
                max_connections: 16,
            }],
            aliases: BTreeMap::new(),
            events: EventOptions {
                keep: Duration::from_secs(7 * 86400),
                keep_count: 100000,
            },
            users: Users,
            log: LogOptions { filter: "info".into() },
            warnings: vec![],
        },
        mode: Mode::User,
        state_dir: i.state_dir.clone(),
        socket: i.socket.clone(),
        files: vec![],
    })
}
