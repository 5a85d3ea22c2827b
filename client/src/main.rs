//! `hfctl`, the command-line client of hfetchd. It holds no rules about downloads: it turns a command line into calls of
//! the package `hfetch.v1`, and answers into text. `main` maps the outcome to an exit code and does nothing else.
//!
//! Floors, lowest first: `exit`, `error`; `paths`, `token`, `retry`, `connect`, `follow`; `view` (the only place that
//! prints); `cli` (what can be typed); `context`, `resolve`, `spec`; `commands` (one file per verb); `app`.

mod app;
mod cli;
mod commands;
mod connect;
mod context;
mod error;
mod exit;
mod follow;
mod paths;
mod resolve;
mod retry;
mod spec;
mod token;
mod view;

fn main() -> std::process::ExitCode {
    app::run(std::env::args_os()).into()
}
