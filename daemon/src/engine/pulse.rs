//! Whether the engine still turns: asked by whoever must tell a service manager, answered by the loop and the store
//! themselves. A timer that answered for them would hide the very deadlock it is there for.

use tokio::sync::{mpsc, oneshot};

use super::Engine;

/// Asks the dispatcher.
pub(super) type Pulse = mpsc::Sender<oneshot::Sender<()>>;
/// Where the dispatcher hears it.
pub(super) type PulseAsked = mpsc::Receiver<oneshot::Sender<()>>;

pub(super) fn pulse() -> (Pulse, PulseAsked) {
    mpsc::channel(1)
}

impl Engine {
    /// Returns once the dispatcher and every thread that writes the store have answered; never, when one of them hangs.
    /// Safe to cancel.
    pub async fn answers(&self) {
        let (answer, wait) = oneshot::channel();
        let asked = self.pulse.send(answer).await.is_ok();
        if !asked || wait.await.is_err() {
            // The dispatcher is gone, which is no answer.
            std::future::pending::<()>().await;
        }
        self.shared.store.answers().await;
    }
}
