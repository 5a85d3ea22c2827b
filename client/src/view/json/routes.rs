//! JSON of routes.

use hfetch_proto::v1;
use serde::Serialize;

use super::{JobJson, present};

/// What a job had from one host by one way.
#[derive(Debug, Serialize)]
pub(super) struct JobRouteJson {
    host: String,
    way: String,
    rule: String,
    requests: u64,
    bytes: u64,
}

/// The answer of `route explain`.
#[derive(Debug, Serialize)]
pub(crate) struct ExplanationJson {
    hosts: Vec<HostJson>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HostJson {
    host: String,
    roles: Vec<String>,
    rule: String,
    ways: Vec<String>,
    way: Option<String>,
    answers: bool,
    first_byte_ms: Option<u64>,
    saw_token: bool,
    error: Option<String>,
    measured: Vec<ReadingJson>,
}

#[derive(Debug, Serialize)]
struct ReadingJson {
    way: String,
    chosen: bool,
    answers: bool,
    first_byte_ms: Option<u64>,
    bytes: u64,
    bytes_per_sec: Option<u64>,
    error: Option<String>,
}

impl JobRouteJson {
    pub(super) fn new(route: v1::JobRoute) -> Self {
        Self {
            host: route.host,
            way: route.way,
            rule: route.rule,
            requests: route.requests,
            bytes: route.bytes,
        }
    }
}

impl JobJson {
    /// Adds where its bytes came from (`show`).
    pub(crate) fn with_routes(self, routes: Vec<v1::JobRoute>) -> JobJson {
        JobJson {
            routes: Some(routes.into_iter().map(JobRouteJson::new).collect()),
            ..self
        }
    }
}

impl ExplanationJson {
    /// The whole answer.
    pub(crate) fn new(explained: v1::ExplainRouteResponse) -> Self {
        Self {
            hosts: explained.hosts.into_iter().map(HostJson::new).collect(),
            notes: explained.notes,
        }
    }
}

impl HostJson {
    fn new(host: v1::HostRoute) -> Self {
        Self {
            host: host.host,
            roles: host.roles,
            rule: host.rule,
            ways: host.ways,
            way: present(host.way),
            answers: host.answers,
            first_byte_ms: host.first_byte_ms,
            saw_token: host.saw_token,
            error: present(host.error),
            measured: host.readings.into_iter().map(ReadingJson::new).collect(),
        }
    }
}

impl ReadingJson {
    fn new(reading: v1::WayReading) -> Self {
        Self {
            way: reading.way,
            chosen: reading.chosen,
            answers: reading.answers,
            first_byte_ms: reading.first_byte_ms,
            bytes: reading.bytes,
            bytes_per_sec: reading.bytes_per_sec,
            error: present(reading.error),
        }
    }
}
