//! Integration tests, one binary.

mod grpc_python;
mod python_main;
mod resume;
mod sim;
