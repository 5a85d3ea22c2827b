//! Floor 1: pure scheduling. Who may go when, and how fast it goes. Time and chance come in as parameters.

pub mod backoff;
pub mod budget;
pub mod calendar;
pub mod connections;
pub mod cron;
pub mod fair;
pub mod forecast;
pub mod queue;
pub mod rate;
pub mod stall;
