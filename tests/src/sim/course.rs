//! How an answer goes out, or fails to: what faults do to the connection.

use std::time::Duration;

use super::fault::Fault;

/// The way of one answer. The default: at once, all of it, in good order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    pub(crate) delay: Duration,
    pub(crate) before_head: Option<Stop>,
    /// After so many bytes of the body.
    pub(crate) in_body: Option<(u64, Stop)>,
    pub(crate) drip: Option<(u64, Duration)>,
}

/// An end that is not the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// RST.
    Reset,
    /// FIN.
    Cut,
    /// Silence until the peer closes.
    Stall,
    /// The last chunk of a chunked body, too early.
    LastChunk,
}

impl Course {
    /// Takes in what a fault says about the way; other faults change nothing here.
    pub(crate) fn adopt(&mut self, fault: &Fault) {
        match fault {
            Fault::Delay(wait) => self.delay += *wait,
            Fault::StallBeforeHead => self.before_head = Some(Stop::Stall),
            Fault::ResetBeforeHead => self.before_head = Some(Stop::Reset),
            Fault::CutBeforeHead => self.before_head = Some(Stop::Cut),
            Fault::StallAfter(bytes) => self.in_body = Some((*bytes, Stop::Stall)),
            Fault::ResetAfter(bytes) => self.in_body = Some((*bytes, Stop::Reset)),
            Fault::CutAfter(bytes) => self.in_body = Some((*bytes, Stop::Cut)),
            Fault::ShortChunked(bytes) => self.in_body = Some((*bytes, Stop::LastChunk)),
            Fault::Drip(bytes, pause) => self.drip = Some(((*bytes).max(1), *pause)),
            _ => {}
        }
    }
}
