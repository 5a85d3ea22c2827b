//! `[control]`: calls over TCP, off unless asked for, and never without TLS and tokens.

use std::net::SocketAddr;

use crate::{
    config::{
        inputs::Context,
        section::Reader,
        shape::{Checked, Faults, fault},
        tree::{Node, Table},
        values,
    },
    model::{Bearers, Pem, is_caller_name},
};

/// `[control]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlOptions {
    /// On a shared daemon, members of this group see and move the jobs of all. It need not exist.
    pub operator_group: String,
    /// `None`: the Unix socket only.
    pub remote: Option<RemoteOptions>,
}

/// Calls over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Where.
    pub listen: SocketAddr,
    /// The server's certificates, its own first.
    pub certificates: Pem,
    /// The key of the first one.
    pub key: Pem,
    /// Who may call.
    pub bearers: Bearers,
    /// Who shows a certificate of one of these authorities needs no token.
    pub client_ca: Option<Pem>,
    /// Callers who see and move the jobs of all.
    pub operators: Vec<String>,
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
    let certificates = section.read_optional("tls_cert", |node| named(node, context, pem));
    let key = section.read_optional("tls_key", |node| named(node, context, pem));
    let bearers = section.read_optional("token_file", |node| named(node, context, bearers));
    let client_ca = section.read_optional("client_ca", |node| named(node, context, pem));
    let operators = section.read_optional("operators", |node| {
        values::each(node, |node| {
            let name = values::text(node)?;
            match is_caller_name(name) {
                true => Ok(name.to_owned()),
                false => Err(fault(node, format!("`{name}` is no name of a caller"))),
            }
        })
    });
    // The hashes of random tokens are no secret.
    if let Some(Some(Named { open: true, .. })) = &key {
        section.warn("others may read the file of `control.tls_key`: `chmod 600` it");
    }
    section.finish();
    let operator_group = operator_group?;
    let (listen, certificates, key, bearers) = (listen?, certificates?, key?, bearers?);
    let (client_ca, operators) = (client_ca?, operators?.unwrap_or_default());
    let remote = match (listen, certificates, key, bearers) {
        (Some(listen), Some(certificates), Some(key), Some(bearers)) => Some(RemoteOptions {
            listen,
            certificates: certificates.is,
            key: key.is,
            bearers: bearers.is,
            client_ca: client_ca.map(|authority| authority.is),
            operators,
        }),
        _ => None,
    };
    Some(ControlOptions { operator_group, remote })
}

/// What a file said.
#[derive(Debug)]
struct Named<T> {
    is: T,
    /// Others may read the file.
    open: bool,
}

fn named<T>(node: &Node, context: &Context<'_>, read: impl Fn(&Node, String) -> Checked<T>) -> Checked<Named<T>> {
    let path = values::path(context)(node)?;
    let (text, open) = (context.read_file)(&path).map_err(|why| fault(node, format!("cannot be read: {why}")))?;
    let is = read(node, text)?;
    Ok(Named { is, open })
}

/// What it holds is the TLS library's matter, when the daemon starts; this catches the wrong file.
fn pem(node: &Node, text: String) -> Checked<Pem> {
    match text.contains("-----BEGIN ") {
        true => Ok(Pem::new(text)),
        false => Err(fault(node, "is not in PEM format (-----BEGIN ...)")),
    }
}

fn bearers(node: &Node, text: String) -> Checked<Bearers> {
    Bearers::parse(&text).map_err(|faults| {
        let faults = faults.into_iter().map(|why| (node.origin.clone(), why));
        Faults(faults.collect())
    })
}
