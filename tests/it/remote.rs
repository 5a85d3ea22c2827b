//! Calls over TCP: TLS, tokens and certificates, what they may do, and what the port withstands.

mod abuse;
mod callers;
mod place;
