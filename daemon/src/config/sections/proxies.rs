//! `[[proxies]]`: ways that `[routing]` can choose.

use std::path::PathBuf;

use url::Url;

use crate::{
    config::{
        inputs::Context,
        origin::Origin,
        rules::RESERVED,
        section::Reader,
        settings::Header,
        shape::{Checked, fault},
        tree::{Node, Table},
        values,
    },
    model::ProxyLogin,
};

/// One of `[[proxies]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyOptions {
    /// What rules call it; no two have the same.
    pub name: String,
    /// http, https, socks5 or socks5h, never with user or password.
    pub url: Url,
    /// A file with `user:password` in its first line, and what it said.
    pub login: Option<(PathBuf, ProxyLogin)>,
}

/// The proxies, and every name that was given to one, for rules that are read although a proxy has a mistake.
pub(in crate::config) struct Proxies {
    pub(in crate::config) options: Option<Vec<ProxyOptions>>,
    pub(in crate::config) names: Vec<String>,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table, context: &Context<'_>) -> Proxies {
    let mut options = Some(Vec::new());
    let mut names: Vec<String> = Vec::new();
    let tables = match root.contains_key("proxies") {
        true => reader.listed(root, "proxies"),
        false => Some((Origin::Default, Vec::new())),
    };
    if tables.is_none() {
        options = None;
    }
    for (number, (at, table)) in tables.into_iter().flat_map(|(_, tables)| tables).enumerate() {
        let header = Header::Item("proxies", number);
        let mut section = reader.open(header, "proxies", format!("proxies[{number}]"), at, table);
        let name_at = section.origin_of("name");
        let name = section.read_required("name", name);
        let schemes = ["http", "https", "socks5", "socks5h"];
        let url = section.read_required("url", |node| values::base_url(node, &schemes));
        let login = section.read_optional("password_file", |node| login(node, context));
        if let Some(Some(Login { path, open: true, .. })) = &login {
            section.warn(format!("others may read {}: `chmod 600` it", path.display()));
        }
        if let Some(name) = &name {
            if names.contains(name) {
                section.mistake(name_at, "name", format!("there is another proxy `{name}`"));
            }
            names.push(name.clone());
        }
        section.finish();
        let proxy = name.zip(url).zip(login);
        match (proxy, &mut options) {
            (Some(((name, url), login)), Some(options)) => options.push(ProxyOptions {
                name,
                url,
                login: login.map(|Login { path, login, .. }| (path, login)),
            }),
            _ => options = None,
        }
    }
    Proxies { options, names }
}

/// A password file as it was read.
#[derive(Debug)]
struct Login {
    path: PathBuf,
    login: ProxyLogin,
    /// Others may read it.
    open: bool,
}

fn login(node: &Node, context: &Context<'_>) -> Checked<Login> {
    let path = values::path(context)(node)?;
    let (text, open) = (context.read_file)(&path).map_err(|why| fault(node, format!("cannot be read: {why}")))?;
    let login = ProxyLogin::parse(&text).ok_or_else(|| {
        fault(
            node,
            format!("{} must hold `user:password` in its first line", path.display()),
        )
    })?;
    Ok(Login { path, login, open })
}

fn name(node: &Node) -> Checked<String> {
    let name = values::text(node)?;
    if name.is_empty() || name.len() > 100 || name.contains(|c: char| ",()".contains(c) || c.is_control()) {
        return Err(fault(
            node,
            "a name has no comma and no parentheses, and at most 100 bytes",
        ));
    }
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(fault(node, format!("`{name}` means something else in rules")));
    }
    Ok(name.to_owned())
}
