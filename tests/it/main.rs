//! Integration tests, one binary.

mod bench;
mod corruption;
mod custody;
mod errors;
mod faults;
mod grpc_python;
mod kills;
mod limits;
mod mirrors;
mod neighbour;
mod network;
mod python_main;
mod quickstart;
mod readme;
mod resume;
mod routes;
mod service;
mod sim;
mod small;
mod sources;
mod startup;
mod steps;
mod tidy;
mod usage;
mod verbs;
mod watch;
