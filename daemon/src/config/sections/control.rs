//! `[control]`: calls over TCP, off unless asked for, and never without TLS and tokens.

use std::{net::SocketAddr, path::PathBuf};

use crate::config::{inputs::Context, section::Reader, tree::Table, values};

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlOptions {
    /// On a shared daemon, members of this group see and move the jobs of all. It need not exist.
    pub operator_group: String,
    /// `None`: the Unix socket only. Otherwise the first three files are there.
    pub listen: Option<SocketAddr>,
    /// The server's certificates.
    pub tls_cert: Option<PathBuf>,
    /// The server's key.
    pub tls_key: Option<PathBuf>,
    /// Accepted bearer tokens, one `name:sha256-of-token` a line.
    pub token_file: Option<PathBuf>,
    /// Callers must show a certificate of this authority.
    pub client_ca: Option<PathBuf>,
}

/// Made by the packages.
const OPERATOR_GROUP: &str = "hfetch-admin";

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table, context: &Context<'_>) -> Option<ControlOptions> {
    let mut section = reader.section(root, "control");
    let at = section.origin_of("listen");
    if at.is_some() {
        for needed in ["tls_cert", "tls_key", "token_file"] {
            if section.origin_of(needed).is_none() {
                section.mistake(
                    at.clone(),
                    "listen",
                    format!("needs `control.{needed}`, also on loopback"),
                );
            }
        }
    }
    let operator_group = section.read("operator_group", OPERATOR_GROUP, |node| {
        values::parsed(node, |text| {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            match !text.is_empty() && text.chars().all(good) {
                true => Ok(text.to_owned()),
                false => Err(format!("`{text}` is no name of a group")),
            }
        })
    });
    let listen = section.read_optional("listen", values::socket_address);
    let tls_cert = section.read_optional("tls_cert", values::path(context));
    let tls_key = section.read_optional("tls_key", values::path(context));
    let token_file = section.read_optional("token_file", values::path(context));
    let client_ca = section.read_optional("client_ca", values::path(context));
    section.finish();
    Some(ControlOptions {
        operator_group: operator_group?,
        listen: listen?,
        tls_cert: tls_cert?,
        tls_key: tls_key?,
        token_file: token_file?,
        client_ca: client_ca?,
    })
}
