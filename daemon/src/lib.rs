//! The hfetch daemon, as a library for its binary, benches and tests.
//!
//! Floors, from the ground up; a module imports lower floors only: 0 `model`; 1 `names`, `plan`, `sched` (pure);
//! 2 `config`, `store`, `hub`, `cache`, `tokens`, `callers` (each the only user of one library or kind of file);
//! 3 `engine` (the flow of a job); 4 `api`, `telemetry`, `signals`, `state_dir`, `systemd`, `metrics`, `resources`, `cli`; 5 `app`.

pub mod api;
pub mod app;
pub mod cache;
pub mod callers;
pub mod cli;
pub mod config;
pub mod engine;
pub mod hub;
pub mod metrics;
pub mod model;
pub mod names;
pub mod plan;
pub mod resources;
pub mod sched;
pub mod signals;
pub mod state_dir;
pub mod store;
pub mod systemd;
pub mod telemetry;
pub mod tokens;
