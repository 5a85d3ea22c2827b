//! One file for each section: its options, its defaults, its rules.

pub(super) mod aliases;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod log;
pub(super) mod storage;
pub(super) mod transfer;
pub(super) mod users;
