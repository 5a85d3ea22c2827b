//! Integration tests, one binary.

mod python_main;
mod resume;
mod sim;
