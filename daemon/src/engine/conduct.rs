//! How a connection does, and what the book of sources and the retry policy hear of it: one judgement for large and small files.

use std::time::Duration;

use super::{connection::FlowReading, retry::Retry, shared::JobContext, sources::SourceId};
use crate::{
    hub::{HubError, RetryReason, Verdict, classify},
    sched::stall,
};

/// A server that is busy with our other connections is left in peace for so long.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);
/// A connection that broke before it brought so much was of no use.
pub(super) const OF_USE: u64 = 256 << 10;

/// Tells the book of sources of a failure. True: it was one connection too many, which is no failure of anything.
pub(super) fn blame(context: &JobContext, retry: &mut Retry, index: usize, error: &HubError, brought: u64) -> bool {
    let (sources, source) = (&context.shared.sources, context.sources[index]);
    let Verdict::Retry { reason, .. } = classify(error) else {
        return false;
    };
    match reason {
        RetryReason::Server if matches!(error, HubError::Refused(_)) && sources.refused(source) => {
            let wait = AFTER_REFUSAL.max(sources.usual(source).first_byte);
            retry.shortly(index, wait, "the server takes no more connections");
            return true;
        }
        RetryReason::RateLimited => sources.rate_limited(source),
        RetryReason::Server | RetryReason::Network(_) | RetryReason::Stalled | RetryReason::Truncated => {
            if brought < OF_USE {
                sources.broke(source);
            }
            if brought == 0 {
                sources.failed(source);
            }
        }
    }
    false
}

/// Whether a connection should be cut and made anew.
pub(super) fn stands_still(
    context: &JobContext,
    source: SourceId,
    reading: &FlowReading,
    in_vain: u32,
    longest: bool,
) -> bool {
    let sources = &context.shared.sources;
    let usual = sources.usual(source);
    let flow = stall::Flow {
        idle: reading.idle,
        source_idle: sources.idle(source),
        age: reading.age,
        bytes_per_sec: reading.bytes_per_sec,
        // Under our own limits all are slow.
        usual: if reading.held_by_us { 0 } else { usual.bytes_per_sec },
        first_byte: usual.first_byte,
        in_vain,
        longest,
    };
    stall::is_stalled(&flow, context.shared.config().transfer.stall_timeout)
}
