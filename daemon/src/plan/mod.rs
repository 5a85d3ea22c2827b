//! Floor 1: pure planning. A manifest and a selection become files; a file becomes segments. No clock, no I/O.

pub mod blocks;
mod judge;
mod ranges;
mod segments;
mod select;
mod steal;

pub use judge::{PlannedFile, Question, Seen, SeenListing, SeenPart, Trouble, judge, lifetime};
pub use ranges::RangeSet;
pub use segments::{LeaseId, SegmentMap, segment_bytes};
pub use select::{MissingEntry, Pattern, SelectError, SelectWarning, Selected, select};
pub use steal::{AtWork, Helper, spare, steal};
