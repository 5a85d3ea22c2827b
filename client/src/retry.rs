//! Repeating calls that are safe to repeat while the daemon restarts. Decides which failures pass by themselves and how
//! long to wait between tries; says nothing to anybody.

use std::time::Duration;

use hfetch_proto::reason;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::error::reason_of;

/// How long a single call is repeated: a restart of the daemon takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits between tries: doubling from 50 ms to a second.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            next: Duration::from_millis(50),
        }
    }
}

impl Backoff {
    /// The next wait.
    pub(crate) fn step(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(Duration::from_secs(1));
        wait
    }
}

/// Whether the failure is the connection's or the daemon is stopping, so that the same call may succeed later. A daemon
/// that is killed shows as Unknown, Internal or Cancelled from the transport, always without one of our reasons.
pub(crate) fn is_passing(status: &Status) -> bool {
    match reason_of(status) {
        Some(reason) => reason == reason::STOPPING,
        None => match status.code() {
            Code::Unavailable => true,
            Code::Unknown | Code::Internal | Code::Cancelled => {
                std::error::Error::source(status).is_some() || status.message().contains("h2 protocol error")
            }
            _ => false,
        },
    }
}

/// Calls until it succeeds, fails for good, or [`PATIENCE`] is used up. Only for calls that are safe to repeat.
pub(crate) async fn retrying<T, F, Fut>(mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let started = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) if is_passing(&status) && started.elapsed() < PATIENCE => {
                tokio::time::sleep(backoff.step()).await;
            }
            Err(status) => return Err(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::HashMap;
    use tonic_types::{ErrorDetails, StatusExt};

    #[test]
    fn waits_double_up_to_a_second() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn only_the_connections_failures_pass() {
        let with_reason = |code, reason| {
            let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::new());
            Status::with_error_details(code, "why", details)
        };
        assert!(is_passing(&Status::unavailable("connection refused")));
        assert!(is_passing(&with_reason(Code::Unavailable, reason::STOPPING)));
        assert!(is_passing(&Status::unknown(
            "h2 protocol error: error reading a body from connection"
        )));
        assert!(!is_passing(&with_reason(Code::Unavailable, reason::HUB_UNREACHABLE)));
        assert!(!is_passing(&with_reason(Code::Internal, reason::INTERNAL)));
        assert!(!is_passing(&Status::internal("a bug")));
    }

    #[tokio::test]
    async fn repeats_passing_failures_only() {
        let calls = Cell::new(0);
        let answer = retrying(|| {
            calls.set(calls.get() + 1);
            let result = if calls.get() < 3 {
                Err(Status::unavailable("down"))
            } else {
                Ok(tonic::Response::new(7))
            };
            async { result }
        })
        .await;
        assert_eq!((answer.expect("the third call succeeds"), calls.get()), (7, 3));

        calls.set(0);
        let answer: Result<(), _> = retrying(|| {
            calls.set(calls.get() + 1);
            async { Err(Status::not_found("no")) }
        })
        .await;
        assert_eq!((answer.is_err(), calls.get()), (true, 1));
    }
}
