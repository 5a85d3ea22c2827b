//! Floor 1: pure planning. A manifest and a selection become files; a file becomes segments. No clock, no I/O.

pub mod blocks;
mod ranges;
mod segments;
mod select;
mod steal;

pub use ranges::RangeSet;
pub use segments::{LeaseId, SegmentMap, segment_bytes};
pub use select::{MissingEntry, Pattern, SelectError, SelectWarning, Selected, select};
pub use steal::{AtWork, Helper, steal};
