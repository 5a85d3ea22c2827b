//! What was written, before anyone asks what it means: values with their places, and how a later source covers an earlier
//! one.

use std::collections::BTreeMap;

use super::origin::Origin;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A value of TOML, or of a variable whose key has not said yet what it wants.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// A date or a time; no key wants one.
    Moment,
    List(Vec<Node>),
    Table(Table),
    /// As it stands in the environment, and what TOML makes of it.
    Variable {
        raw: String,
        parsed: Result<Box<Value>, String>,
    },
}

/// Keys in order of their names.
pub(super) type Table = BTreeMap<String, Entry>;

/// A key with its place, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key_at: Origin,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn built_in(value: Value) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::built_in(Value::Text(text.to_owned()))
    }
}

impl From<u32> for Node {
    fn from(number: u32) -> Self {
        Self::built_in(Value::Integer(number.into()))
    }
}

impl From<bool> for Node {
    fn from(yes: bool) -> Self {
        Self::built_in(Value::Boolean(yes))
    }
}

impl Value {
    /// For "must be …, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a point",
            Self::Boolean(_) => "true or false",
            Self::Moment => "a date or a time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Variable { parsed: Ok(value), .. } => value.kind(),
            Self::Variable { parsed: Err(_), .. } => "a text",
        }
    }
}

/// Lays `over` on `base`: tables are joined key by key, everything else is replaced, lists as a whole.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, entry) in over {
        let entry = match base.remove(&key) {
            Some(below) => joined(below, entry),
            None => entry,
        };
        base.insert(key, entry);
    }
}

fn joined(below: Entry, above: Entry) -> Entry {
    let (Value::Table(mut base), key_at) = (below.node.value, above.key_at.clone()) else {
        return above;
    };
    match above.node.value {
        Value::Table(over) => {
            merge(&mut base, over);
            let node = Node {
                value: Value::Table(base),
                origin: above.node.origin,
            };
            Entry { key_at, node }
        }
        value => Entry {
            key_at,
            node: Node {
                value,
                origin: above.node.origin,
            },
        },
    }
}
