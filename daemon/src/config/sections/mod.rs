//! One file for each section: its options, its defaults, its rules.

pub(super) mod aliases;
pub(super) mod bandwidth;
pub(super) mod control;
pub(super) mod endpoints;
pub(super) mod events;
pub(super) mod jobs;
pub(super) mod log;
pub(super) mod metrics;
pub(super) mod proxies;
pub(super) mod routing;
pub(super) mod storage;
pub(super) mod transfer;
pub(super) mod users;
pub(super) mod windows;
