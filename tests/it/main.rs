//! Integration tests, one binary.

mod bench;
mod custody;
mod errors;
mod faults;
mod grpc_python;
mod kills;
mod python_main;
mod quickstart;
mod readme;
mod resume;
mod routes;
mod sim;
mod small;
mod sources;
mod startup;
mod tidy;
mod verbs;
mod watch;
