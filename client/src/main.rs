//! `hfctl`, the command-line client of hfetchd. It holds no rules about downloads: it turns a command line into calls of
//! the package `hfetch.v1`, and answers into text. `main` maps the outcome to an exit code and does nothing else.
//!
//! Floors, from the ground up; a module imports lower floors only: 0 `exit`; 1 `error`; 2 `paths`; 3 `token`, `retry`, `when`, `remote`; 4
//! `connect`; 5 `follow`; 6 `cli` (what can be typed); 7 `view` (the only place that prints); 8 `context`, `spec`; 9
//! `resolve`; 10 `commands` (one file per verb); 11 `app`.

mod app;
mod cli;
mod commands;
mod connect;
mod context;
mod error;
mod exit;
mod follow;
mod paths;
mod remote;
mod resolve;
mod retry;
mod spec;
mod token;
mod view;
mod when;

fn main() -> std::process::ExitCode {
    app::run(std::env::args_os()).into()
}
