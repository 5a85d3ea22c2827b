//! The engine as callers of another machine have it.

use super::Engine;
use crate::config::Mode;

impl Engine {
    /// The same engine: but caches and endpoints are those that the configuration names, as on a shared daemon.
    #[must_use]
    pub fn for_remote(&self) -> Self {
        Self {
            mode: Mode::System,
            ..self.clone()
        }
    }
}
