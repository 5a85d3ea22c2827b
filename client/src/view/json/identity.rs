//! JSON of a token's owner.

use hfetch_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{present, time};

/// The answer of `login` and `whoami`.
#[derive(Debug, Serialize)]
pub(crate) struct IdentityJson {
    name: String,
    orgs: Vec<String>,
    token_name: Option<String>,
    role: Option<String>,
    expires_at: Option<Timestamp>,
    scopes: Vec<String>,
    endpoint: String,
    source: String,
}

impl IdentityJson {
    /// Whose token, where, and from where.
    pub(crate) fn new(endpoint: String, source: &str, account: v1::TokenAccount) -> Self {
        Self {
            name: account.name,
            orgs: account.orgs,
            token_name: present(account.token_name),
            role: present(account.role),
            expires_at: time(account.expires_at),
            scopes: account.scopes,
            endpoint,
            source: source.to_owned(),
        }
    }
}
