//! What is absent on the wire is null in JSON.

use jiff::Timestamp;
use prost_types::Timestamp as WireTime;

use super::human;

pub(super) fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn time(wire: Option<WireTime>) -> Option<Timestamp> {
    human::time(wire.as_ref())
}
