//! What is absent on the wire is null in JSON.

use hfetch_proto::v1;
use jiff::Timestamp;
use prost_types::Timestamp as WireTime;

use super::{FailureJson, human};

pub(super) fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn time(wire: Option<WireTime>) -> Option<Timestamp> {
    human::time(wire.as_ref())
}

pub(super) fn failure(failure: v1::Failure) -> FailureJson {
    FailureJson {
        kind: failure.kind,
        message: failure.message,
        hint: present(failure.hint),
    }
}
