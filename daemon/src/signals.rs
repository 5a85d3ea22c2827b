//! Floor 4: signals, as a stream.

use std::io;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Stop cleanly.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// Signals from the moment of its creation on.
pub struct SignalStream(Signals);

impl SignalStream {
    /// Begins to catch SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Self)
    }

    /// The next one. Safe to cancel.
    pub async fn next(&mut self) -> Ask {
        match self.0.next().await {
            Some(SIGHUP) => Ask::Reload,
            Some(_) => Ask::Stop,
            None => std::future::pending().await,
        }
    }
}
