//! What time it is, for windows, timetables and waits: the system's clock, or one that a test sets.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{sync::watch, time::sleep};

/// A clock that was set, or a machine that slept, is noticed within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The time of day. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Option<watch::Receiver<Timestamp>>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(None)
    }

    /// Stands still until it is told another time.
    pub fn stepped(time: watch::Receiver<Timestamp>) -> Self {
        Self(Some(time))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(Timestamp::now, |time| *time.borrow())
    }

    /// Resolves once it is that time or later. Safe to cancel.
    pub async fn reaches(&self, at: Timestamp) {
        if let Some(time) = &self.0 {
            let mut time = time.clone();
            if time.wait_for(|now| *now >= at).await.is_err() {
                // Nobody will ever set it again.
                std::future::pending::<()>().await;
            }
            return;
        }
        // Not slept for in one piece: the wall clock and the timers may go apart.
        while let Ok(left) = Duration::try_from(Timestamp::now().duration_until(at)) {
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK_AGAIN)).await;
        }
    }

    /// As [`Self::reaches`]; never without a time.
    pub async fn reaches_if(&self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.reaches(at).await,
            None => std::future::pending().await,
        }
    }
}
