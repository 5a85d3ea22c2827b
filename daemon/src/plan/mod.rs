//! Floor 1: what must be fetched. A pure engine: no I/O, no clock.

mod select;

pub use select::{MissingEntry, Pattern, SelectError, SelectWarning, Selected, select};
