//! Readers of the kinds of value that several sections have.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use url::Url;

use super::{
    duration::parse_duration,
    inputs::Context,
    nearest, paths,
    shape::{Checked, Faults, fault},
    tree::{Node, Value},
};
use crate::model::units::parse_rate;

/// The text; every other shape was refused before.
pub(super) fn text(node: &Node) -> Checked<&str> {
    match &node.value {
        Value::Text(text) => Ok(text),
        other => Err(fault(node, format!("must be a text, not {}", other.kind()))),
    }
}

/// A text, judged by a function.
pub(super) fn parsed<T, E: fmt::Display>(node: &Node, parse: impl Fn(&str) -> Result<T, E>) -> Checked<T> {
    parse(text(node)?).map_err(|why| fault(node, why))
}

/// A whole number within bounds.
pub(super) fn number<T>(bounds: RangeInclusive<T>) -> impl Fn(&Node) -> Checked<T>
where
    T: TryFrom<i128> + PartialOrd + fmt::Display,
{
    move |node| {
        let Value::Integer(number) = node.value else {
            return Err(fault(
                node,
                format!("must be a whole number, not {}", node.value.kind()),
            ));
        };
        T::try_from(number)
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (least, most) = (bounds.start(), bounds.end());
                fault(node, format!("must be from {least} to {most}, not {number}"))
            })
    }
}

/// `true` or `false`.
pub(super) fn flag(node: &Node) -> Checked<bool> {
    match node.value {
        Value::Boolean(yes) => Ok(yes),
        _ => Err(fault(node, format!("must be true or false, not {}", node.value.kind()))),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Node) -> Checked<T> {
    move |node| {
        let given = text(node)?;
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let near = nearest::near(given, words.iter().map(|(word, _)| *word));
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            fault(node, format!("must be {}, not `{given}`{hint}", known.join(" or ")))
        })
    }
}

/// A duration.
pub(super) fn duration(node: &Node) -> Checked<Duration> {
    parsed(node, parse_duration)
}

/// A rate in bytes per second; `None` is `off`.
pub(super) fn rate(node: &Node) -> Checked<Option<u64>> {
    parsed(node, limit)
}

/// The same from a text.
pub(super) fn limit(text: &str) -> Result<Option<u64>, String> {
    match parse_rate(text) {
        Ok(Some(0)) => {
            Err("0 could mean no limit or no bytes: write `off` for no limit; to stop, pause the jobs".into())
        }
        Ok(rate) => Ok(rate),
        Err(why) => Err(why.to_string()),
    }
}

/// An absolute path, after `~` and `$VARIABLE` are replaced.
pub(super) fn path<'c>(context: &'c Context<'_>) -> impl Fn(&Node) -> Checked<PathBuf> + 'c {
    move |node| parsed(node, |text| paths::configured(text, context.environment))
}

/// Each item of a list by itself; every mistake is told.
pub(super) fn each<T>(node: &Node, read: impl Fn(&Node) -> Checked<T>) -> Checked<Vec<T>> {
    let one = std::slice::from_ref(node);
    let items = if let Value::List(items) = &node.value {
        items
    } else {
        one
    };
    let mut found = Vec::new();
    let mut faults = Vec::new();
    for item in items {
        match read(item) {
            Ok(value) => found.push(value),
            Err(Faults(more)) => faults.extend(more),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(Faults(faults))
    }
}

/// `ADDRESS:PORT`.
pub(super) fn socket_address(node: &Node) -> Checked<SocketAddr> {
    parsed(node, |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("`{text}` is not an address with a port, such as 0.0.0.0:7850 or [::1]:7850"))
    })
}

/// A base address with one of some schemes, without user, query and fragment. What is shown of it is never more than its
/// scheme: it may hold a password.
pub(super) fn base_url(node: &Node, schemes: &[&str]) -> Checked<Url> {
    let known = || {
        schemes
            .iter()
            .map(|scheme| format!("{scheme}://"))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    parsed(node, |text| {
        let text = text.trim().trim_end_matches('/');
        let Some((scheme, _)) = text.split_once("://") else {
            return Err(format!("is not an address: it must begin with {}", known()));
        };
        if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
            return Err(format!("must begin with {}", known()));
        }
        let url = Url::parse(text).map_err(|why| format!("is not an address: {why}"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err("names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or a password; they do not belong here".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("holds a query or a fragment".to_owned());
        }
        Ok(url)
    })
}
