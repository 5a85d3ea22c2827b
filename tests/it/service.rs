//! The daemon as a service: what it says to systemd, what it takes from it, and what the unit files promise.

mod activation;
mod files;
mod journal;
mod notify;
mod rights;
mod units;
