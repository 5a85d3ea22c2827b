//! Integration tests, one binary.

mod custody;
mod faults;
mod grpc_python;
mod kills;
mod python_main;
mod resume;
mod sim;
mod startup;
mod tidy;
