//! The keys in force with their origins: what `--print-config` shows and what a reload compares.

use super::{
    keys,
    origin::Origin,
    tree::{Node, Value},
};

/// The table that a key stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// `[a.b]`.
    Table(Vec<String>),
    /// The nth `[[a]]`.
    Item(&'static str, usize),
}

/// A key in force.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// As [`keys::KEYS`] spells it.
    pub(super) pattern: String,
    /// As people see it.
    pub(super) path: String,
    pub(super) header: Header,
    pub(super) key: String,
    /// `None`: it is not set and has no default.
    pub(super) value: Option<Value>,
    /// What the value means, in a form that can be compared: `30s` and `30 s` are the same.
    pub(super) checked: String,
    pub(super) origin: Origin,
}

/// What a reload changes: dotted keys, and those among them that need a restart.
pub(super) fn diff(before: &[Setting], after: &[Setting]) -> (Vec<String>, Vec<String>) {
    let mut changed = Vec::new();
    let mut needs_restart = Vec::new();
    let find = |all: &'_ [Setting], path: &str| {
        let of = |path: &str| all.iter().find(|one| one.path == path).map(|one| one.checked.clone());
        // Whose table is not there has what everybody has.
        of(path).or_else(|| of(&for_everybody(path)?))
    };
    let gone = before.iter().filter(|old| after.iter().all(|new| new.path != old.path));
    for setting in after.iter().chain(gone) {
        if find(before, &setting.path) == find(after, &setting.path) {
            continue;
        }
        changed.push(setting.path.clone());
        if keys::find(&setting.pattern).is_some_and(|key| key.restart) {
            needs_restart.push(setting.path.clone());
        }
    }
    (changed, needs_restart)
}

/// `users.default.KEY` for `users.NAME.KEY`.
fn for_everybody(path: &str) -> Option<String> {
    let (_, key) = path.strip_prefix("users.")?.rsplit_once('.')?;
    Some(format!("users.default.{key}"))
}

/// TOML with the origin of each key beside it.
pub(super) fn print(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut header = None;
    for setting in settings {
        if header != Some(&setting.header) {
            header = Some(&setting.header);
            text.push_str(&match &setting.header {
                Header::Table(names) => {
                    let names: Vec<String> = names.iter().map(|name| key_text(name)).collect();
                    format!("\n[{}]\n", names.join("."))
                }
                Header::Item(name, _) => format!("\n[[{name}]]\n"),
            });
        }
        let key = key_text(&setting.key);
        text.push_str(&match &setting.value {
            Some(value) => format!("{key} = {} # {}\n", value_text(value), setting.origin),
            None => format!("# {key} is not set\n"),
        });
    }
    text
}

/// A key as TOML wants it: in quotes when it must be.
pub(super) fn key_text(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { quoted(key) }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(yes) => yes.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|Node { value, .. }| value_text(value)).collect();
            format!("[{}]", items.join(", "))
        }
        // Settings are texts, numbers and lists by now.
        Value::Moment | Value::Table(_) | Value::Variable { .. } => quoted(""),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
