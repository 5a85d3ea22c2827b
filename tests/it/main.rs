//! Integration tests, one binary.

mod resume;
mod sim;
mod tidy;
