//! `[metrics]`: numbers for Prometheus, off unless asked for.

use std::net::SocketAddr;

use crate::config::{section::Reader, tree::Table, values};

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsOptions {
    /// `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<MetricsOptions> {
    let mut section = reader.section(root, "metrics");
    let listen = section.read_optional("listen", values::socket_address);
    section.finish();
    Some(MetricsOptions { listen: listen? })
}
