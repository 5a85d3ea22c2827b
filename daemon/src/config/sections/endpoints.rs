//! `[[endpoints]]`: the Hub and its mirrors, and which of them may see a user's token.

use url::Url;

use super::users::budget_of;
use crate::config::{
    inputs::Context,
    origin::Origin,
    section::Reader,
    settings::Header,
    shape::{Checked, fault},
    timetable::parse_limit,
    tree::{Entry, Node, Table},
    values,
};
use crate::model::{Budget, Limit};

/// The Hub itself.
pub const HUB: &str = "https://huggingface.co";
const HUB_HOSTS: [&str; 2] = ["huggingface.co", "www.huggingface.co"];
/// Anyone's servers that pass on what the Hub says.
const PUBLIC_MIRRORS: [&str; 2] = ["hf-mirror.com", "alpha.hf-mirror.com"];

/// Connections to an endpoint at a time, unless the configuration says otherwise. The daemon finds out how many pay; this is
/// only what it never goes beyond.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 32;

/// One of `[[endpoints]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointOptions {
    /// What people call it; no two have the same.
    pub name: String,
    /// The base address: http or https, without user, query and fragment.
    pub url: Url,
    /// Whether tokens may go there.
    pub token: TokenPolicy,
    /// What all connections to it may bring together.
    pub limit: Limit,
    /// Connections at a time.
    pub max_connections: u32,
    /// What may come from it and from wherever it leads, for all users together; `None` is no bound.
    pub budget: Option<Budget>,
    /// When it brings bytes of files.
    pub bytes: Bytes,
}

/// When an endpoint brings bytes of files; descriptions and lists are asked of it in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// Beside the others.
    Always,
    /// While no other endpoint of the job can.
    Fallback,
}

/// Whether a user's Hub token may be sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPolicy {
    /// No token.
    Never,
    /// The token of the user whose job it is.
    Own,
}

/// Whether an address is the Hub's own, reached as nobody can listen to.
pub fn is_hub(url: &Url) -> bool {
    url.scheme() == "https" && url.port().is_none() && url.host_str().is_some_and(|host| HUB_HOSTS.contains(&host))
}

/// Whether a host, perhaps with a port, is a public mirror: no token goes there unless the configuration says so.
pub fn is_public_mirror(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    PUBLIC_MIRRORS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(in crate::config) fn read(
    reader: &mut Reader,
    root: &mut Table,
    context: &Context<'_>,
) -> Option<Vec<EndpointOptions>> {
    if !root.contains_key("endpoints") {
        return read_default(reader, context).map(|endpoint| vec![endpoint]);
    }
    let (at, tables) = reader.listed(root, "endpoints")?;
    if tables.is_empty() {
        reader.mistake(at, "endpoints", "must have at least one; leave the key out for the Hub");
    }
    let mut read = Vec::new();
    for (number, (at, table)) in tables.into_iter().enumerate() {
        let places = Written {
            name: place(&table, "name", &at),
            url: place(&table, "url", &at),
            token: place(&table, "token", &at),
        };
        read.push((read_one(reader, number, at, table, configured_token), places));
    }
    let complete = read.iter().all(|(endpoint, _)| endpoint.is_some());
    check_together(reader, &read);
    complete.then(|| read.into_iter().filter_map(|(endpoint, _)| endpoint).collect())
}

/// Where the keys of an endpoint stand.
struct Written {
    name: Origin,
    url: Origin,
    token: Origin,
}

fn place(table: &Table, key: &str, otherwise: &Origin) -> Origin {
    let entry = table.get(key);
    entry.map_or_else(|| otherwise.clone(), |entry| entry.node.origin.clone())
}

fn read_one(
    reader: &mut Reader,
    number: usize,
    at: Origin,
    table: Table,
    default_token: fn(&Url) -> TokenPolicy,
) -> Option<EndpointOptions> {
    let header = Header::Item("endpoints", number);
    let mut section = reader.open(header, "endpoints", format!("endpoints[{number}]"), at, table);
    let url = section.read_required("url", |node| values::base_url(node, &["http", "https"]));
    let host = url.as_ref().map_or_else(|| "unknown".to_owned(), host_and_port);
    let name = section.read("name", host.as_str(), name);
    let token = match url.as_ref().map_or(TokenPolicy::Never, default_token) {
        TokenPolicy::Never => "never",
        TokenPolicy::Own => "own",
    };
    let policies = [("never", TokenPolicy::Never), ("own", TokenPolicy::Own)];
    let token = section.read("token", token, values::word(&policies));
    let limit = section.read("limit", "off", |node| values::parsed(node, parse_limit));
    let max_connections = section.read("max_connections", DEFAULT_MAX_CONNECTIONS, values::number(1..=4096));
    let budget = section.read("budget", "off", budget_of);
    let wishes = [("always", Bytes::Always), ("fallback", Bytes::Fallback)];
    let bytes = section.read("bytes", "always", values::word(&wishes));
    section.finish();
    Some(EndpointOptions {
        name: name?,
        url: url?,
        token: token?,
        limit: limit?,
        max_connections: max_connections?,
        budget: budget?,
        bytes: bytes?,
    })
}

/// Without `[[endpoints]]`: what `HF_ENDPOINT` says, as with the Python client.
fn read_default(reader: &mut Reader, context: &Context<'_>) -> Option<EndpointOptions> {
    let said = context.environment.get("HF_ENDPOINT");
    let (name, url, origin) = match said {
        Some(url) => ("default", url, Origin::variable("HF_ENDPOINT")),
        None => ("hub", HUB, Origin::Default),
    };
    let entry = |value: &str, origin: Origin| {
        let node = Node {
            origin: origin.clone(),
            ..Node::from(value)
        };
        Entry { key_at: origin, node }
    };
    let table = Table::from([
        ("name".to_owned(), entry(name, Origin::Default)),
        ("url".to_owned(), entry(url, origin.clone())),
    ]);
    let endpoint = read_one(reader, 0, origin, table, unconfigured_token)?;
    let host = host_and_port(&endpoint.url);
    if is_public_mirror(&host) {
        reader.warnings.push(format!(
            "HF_ENDPOINT is the public mirror {host}: no token is sent there; to allow it, name the mirror in \
             [[endpoints]] with token = \"own\""
        ));
    }
    Some(endpoint)
}

/// Who names an endpoint in the configuration may name one for all users: only the Hub has their tokens by default.
fn configured_token(url: &Url) -> TokenPolicy {
    match is_hub(url) {
        true => TokenPolicy::Own,
        false => TokenPolicy::Never,
    }
}

/// Who sets `HF_ENDPOINT` gives it the token, as with the Python client; but not by accident to anyone's servers.
fn unconfigured_token(url: &Url) -> TokenPolicy {
    match is_public_mirror(&host_and_port(url)) {
        true => TokenPolicy::Never,
        false => TokenPolicy::Own,
    }
}

fn check_together(reader: &mut Reader, read: &[(Option<EndpointOptions>, Written)]) {
    let good = || {
        read.iter()
            .enumerate()
            .filter_map(|(number, (one, at))| Some((number, one.as_ref()?, at)))
    };
    for (number, endpoint, at) in good() {
        for (_, other, _) in good().filter(|(earlier, ..)| *earlier < number) {
            let key = |key: &str| format!("endpoints[{number}].{key}");
            if other.name == endpoint.name {
                let message = format!("there is another endpoint `{}`", other.name);
                reader.mistake(at.name.clone(), &key("name"), message);
            }
            if other.url == endpoint.url {
                let message = format!("this is the address of `{}` already", other.name);
                reader.mistake(at.url.clone(), &key("url"), message);
            } else if other.url.origin() == endpoint.url.origin() && other.token != endpoint.token {
                let message = format!("must be as for `{}`: a token is sent to a host as a whole", other.name);
                reader.mistake(at.token.clone(), &key("token"), message);
            }
        }
    }
}

fn name(node: &Node) -> Checked<String> {
    let name = values::text(node)?;
    let good = |c: char| c.is_alphanumeric() || "._-:[]".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(good) {
        return Err(fault(
            node,
            "a name is made of letters, digits, `.`, `_`, `-` and `:`, 100 at most",
        ));
    }
    Ok(name.to_owned())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
