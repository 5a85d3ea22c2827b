//! The hfetch daemon. README tells the floors; each module says what it owns and what it never does.

pub mod api;
pub mod cache;
pub mod config;
pub mod engine;
pub mod hub;
pub mod model;
pub mod names;
pub mod plan;
pub mod sched;
pub mod store;
pub mod tokens;
