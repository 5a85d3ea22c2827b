//! `AdminService`.

use std::sync::Arc;

use futures_util::{Stream, stream::try_unfold};
use hfetch_proto::v1;
use jiff::Timestamp;
use tokio::{fs::File, io::AsyncReadExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    convert,
    identity::Caller,
    on_disk::{Files, Told},
};
use crate::{
    config::Mode,
    engine::{CallError, Engine},
    model::JobState,
};

/// Reads the config files again. Blocks on the disk. The error is text for the operator, one line a mistake.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>;

/// Bytes of a database that are sent at once.
const PIECE: u64 = 256 << 10;

/// What a reload changed.
#[derive(Debug, Default, Clone)]
pub struct Reloaded {
    /// Keys that are in force now.
    pub changed: Vec<String>,
    /// Keys that need a restart.
    pub needs_restart: Vec<String>,
}

/// What the daemon says of itself; fixed at start.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// Whose daemon it is.
    pub mode: Mode,
    /// When it started.
    pub started_at: Timestamp,
    /// Where the databases are.
    pub state_dir: String,
    /// Where it listens.
    pub socket: String,
}

pub(super) struct AdminApi {
    pub(super) engine: Engine,
    pub(super) facts: ServerFacts,
    pub(super) reload: Reload,
    pub(super) files: Files,
    /// Cancelled to stop the daemon.
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl v1::admin_service_server::AdminService for AdminApi {
    type BackUpStoreStream = std::pin::Pin<Box<dyn Stream<Item = Result<v1::BackUpStoreResponse, Status>> + Send>>;

    async fn back_up_store(
        &self,
        request: Request<v1::BackUpStoreRequest>,
    ) -> Result<Response<Self::BackUpStoreStream>, Status> {
        let caller = Caller::of(&request)?;
        let copy = File::from_std(self.engine.copy_store().await?);
        tracing::info!(user = caller.owner.user, "a copy of the job database is handed out");
        let pieces = try_unfold(copy, |mut copy| async move {
            let mut piece = Vec::new();
            let read = (&mut copy).take(PIECE).read_to_end(&mut piece).await;
            match read.map_err(|error| CallError::Internal(format!("the copy cannot be read: {error}")))? {
                0 => Ok(None),
                _ => Ok(Some((v1::BackUpStoreResponse { piece }, copy))),
            }
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn get_server_info(
        &self,
        request: Request<v1::GetServerInfoRequest>,
    ) -> Result<Response<v1::GetServerInfoResponse>, Status> {
        let caller = Caller::of(&request)?;
        let counts = self.engine.counts().await?;
        let count = |state: JobState| {
            counts
                .iter()
                .find(|(known, _)| *known == state)
                .map_or(0, |(_, count)| *count)
        };
        let config = self.engine.config();
        let found = match request.into_inner().check_files {
            true => self.files.look().await,
            false => None,
        };
        let told = found.map_or_else(Told::default, |found| Told::new(found, caller.operator));
        Ok(Response::new(v1::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: match self.facts.mode {
                Mode::User => "user",
                Mode::System => "system",
            }
            .to_owned(),
            started_at: Some(convert::timestamp(self.facts.started_at)),
            state_dir: self.facts.state_dir.clone(),
            socket: self.facts.socket.clone(),
            config_files: config.files.iter().map(|path| path.display().to_string()).collect(),
            cache: config
                .storage
                .caches
                .first()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            endpoints: config
                .endpoints
                .iter()
                .map(|endpoint| endpoint.url.as_str().trim_end_matches('/').to_owned())
                .collect(),
            schema_version: crate::store::Store::schema_version(),
            sqlite_version: crate::store::Store::sqlite_version().to_owned(),
            jobs_queued: count(JobState::Queued),
            jobs_active: count(JobState::Active),
            jobs_held: count(JobState::Held),
            bytes_per_sec: self.engine.bytes_per_sec(),
            caller: caller.owner.user,
            caller_is_operator: caller.operator,
            config_warnings: config.warnings.clone(),
            config_read_at: told.read_at.map(convert::timestamp),
            config_mistakes: told.mistakes,
            config_not_loaded: told.keys,
            config_changed: told.changed,
        }))
    }

    async fn reload(&self, _: Request<v1::ReloadRequest>) -> Result<Response<v1::ReloadResponse>, Status> {
        let reload = self.reload.clone();
        let reloaded = tokio::task::spawn_blocking(move || reload())
            .await
            .map_err(|error| CallError::Internal(error.to_string()))?
            .map_err(|mistakes| CallError::invalid("config", mistakes))?;
        Ok(Response::new(v1::ReloadResponse {
            changed: reloaded.changed,
            needs_restart: reloaded.needs_restart,
        }))
    }

    async fn shutdown(&self, _: Request<v1::ShutdownRequest>) -> Result<Response<v1::ShutdownResponse>, Status> {
        if self.facts.mode == Mode::System {
            return Err(
                CallError::NotAllowed("this daemon belongs to systemd: use `systemctl stop hfetchd`".into()).into(),
            );
        }
        tracing::info!("asked to stop");
        self.shutdown.cancel();
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}
