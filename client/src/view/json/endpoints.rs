//! JSON of endpoints.

use hfetch_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{present, time};

/// An endpoint and what is known of it.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointJson {
    name: String,
    url: String,
    token: String,
    trust: String,
    state: &'static str,
    fault: Option<String>,
    reason: Option<String>,
    repo_id: Option<String>,
    commit: Option<String>,
    lists: bool,
    serves: Option<String>,
    ends_at: Option<String>,
    checked_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    bytes_per_sec: Option<u64>,
    first_byte_ms: Option<u64>,
    measured_at: Option<Timestamp>,
}

/// The answer of `endpoint probe`.
#[derive(Debug, Serialize)]
pub(crate) struct ProbeJson {
    repo_id: String,
    commit: Option<String>,
    compared_with: Option<String>,
    endpoints: Vec<EndpointJson>,
    notes: Vec<String>,
}

impl EndpointJson {
    /// One.
    pub(crate) fn new(endpoint: v1::Endpoint) -> Self {
        Self {
            state: match endpoint.state() {
                v1::EndpointState::Good => "good",
                v1::EndpointState::Bad => "bad",
                v1::EndpointState::Unknown | v1::EndpointState::Unspecified => "unknown",
            },
            name: endpoint.name,
            url: endpoint.url,
            token: endpoint.token,
            trust: endpoint.trust,
            fault: present(endpoint.fault),
            reason: present(endpoint.reason),
            repo_id: present(endpoint.repo_id),
            commit: present(endpoint.commit),
            lists: endpoint.lists,
            serves: present(endpoint.serves),
            ends_at: present(endpoint.ends_at),
            checked_at: time(endpoint.checked_at),
            expires_at: time(endpoint.expires_at),
            bytes_per_sec: endpoint.bytes_per_sec,
            first_byte_ms: endpoint.first_byte_ms,
            measured_at: time(endpoint.measured_at),
        }
    }
}

impl ProbeJson {
    /// The whole answer.
    pub(crate) fn new(probed: v1::ProbeEndpointsResponse) -> Self {
        Self {
            repo_id: probed.repo_id,
            commit: present(probed.commit),
            compared_with: present(probed.compared_with),
            endpoints: probed.endpoints.into_iter().map(EndpointJson::new).collect(),
            notes: probed.notes,
        }
    }
}
