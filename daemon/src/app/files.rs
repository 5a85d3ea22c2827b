//! The configuration files while the daemon runs: read again when somebody asks, and compared with what is in force.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::routes;
use crate::{
    api::{self, BadTls, OnDisk, Reloaded, RemoteDoor},
    config::{self, Config, Inputs, Loaded},
    hub::{Hub, RouteTable},
};

/// Where the configuration comes from, and where it goes.
pub(super) struct ConfigFiles {
    inputs: Inputs,
    /// As it was at the start.
    started: Arc<Config>,
    /// When the one in force was read.
    read_at: Mutex<Timestamp>,
    sender: watch::Sender<Arc<Config>>,
    hub: Hub,
    door: Option<Arc<RemoteDoor>>,
}

impl ConfigFiles {
    pub(super) fn new(
        inputs: Inputs,
        read_at: Timestamp,
        sender: watch::Sender<Arc<Config>>,
        hub: Hub,
        door: Option<Arc<RemoteDoor>>,
    ) -> Self {
        let started = sender.borrow().clone();
        Self {
            inputs,
            started,
            read_at: Mutex::new(read_at),
            sender,
            hub,
            door,
        }
    }

    /// What the files say now. Blocks.
    fn read(&self) -> Result<(Loaded, RouteTable), String> {
        let loaded = config::load(&self.inputs).map_err(|mistakes| mistakes.to_string())?;
        let table = routes(&loaded.config).map_err(|error| error.to_string())?;
        Ok((loaded, table))
    }

    /// Puts in force what the files say. Blocks.
    pub(super) fn reload(&self) -> Result<Reloaded, String> {
        let read_at = Timestamp::now();
        let (loaded, table) = self.read()?;
        match (&self.door, &loaded.config.control.remote) {
            (Some(door), Some(options)) => door.change(options).map_err(|error: BadTls| error.to_string())?,
            // The port stays until the restart, and nobody comes in.
            (Some(door), None) => door.close(),
            // The next start shall not be the first to find what is wrong.
            (None, Some(options)) => RemoteDoor::check(options).map_err(|error| error.to_string())?,
            (None, None) => {}
        }
        let (mut changed, _) = self.sender.borrow().diff(&loaded.config);
        // Also of what an earlier reload has read: it waits for the restart still.
        let (_, needs_restart) = self.started.diff(&loaded.config);
        changed.retain(|key| !needs_restart.contains(key));
        for warning in &loaded.config.warnings {
            tracing::warn!("{warning}");
        }
        self.sender.send_replace(Arc::new(loaded.config));
        self.hub.set_routes(table);
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = read_at;
        tracing::info!(?changed, ?needs_restart, "configuration read again");
        Ok(Reloaded { changed, needs_restart })
    }

    /// What the files say beside what is in force. Blocks.
    pub(super) fn look(&self) -> OnDisk {
        let differs = self.read().and_then(|(loaded, _)| {
            if let Some(options) = &loaded.config.control.remote {
                RemoteDoor::check(options).map_err(|error| error.to_string())?;
            }
            let (mut differs, _) = self.sender.borrow().diff(&loaded.config);
            // What was read waits for a restart still.
            let (_, waits) = self.started.diff(&loaded.config);
            differs.extend(waits);
            differs.sort();
            differs.dedup();
            Ok(differs)
        });
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        OnDisk { read_at, differs }
    }
}

/// Somebody sent SIGHUP: the log tells how it went.
pub(super) async fn on_hangup(reload: api::Reload) {
    let outcome = tokio::task::spawn_blocking(move || reload()).await;
    match outcome {
        Ok(Ok(_)) => {}
        Ok(Err(mistakes)) => tracing::error!("the configuration stays as it was:\n{mistakes}"),
        Err(error) => tracing::error!(%error, "reload panicked"),
    }
}
