//! From what was written to what a key wants: a text, a number, a list of texts. Variables learn here what they are.

use super::{
    keys::Shape,
    origin::Origin,
    tree::{Node, Table, Value},
};

/// What is wrong with a value; lists can have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Faults(pub(super) Vec<(Origin, String)>);

/// A value that was read, or all that is wrong with it.
pub(super) type Checked<T> = Result<T, Faults>;

/// One thing wrong with a value.
pub(super) fn fault(node: &Node, message: impl ToString) -> Faults {
    Faults(vec![(node.origin.clone(), message.to_string())])
}

/// Gives the value the shape of its key.
pub(super) fn conform(shape: Shape, node: &Node) -> Checked<Node> {
    match &node.value {
        Value::Variable { raw, parsed } => variable(shape, node, raw, parsed),
        _ => plain(shape, node),
    }
}

fn plain(shape: Shape, node: &Node) -> Checked<Node> {
    let wanted = match (shape, &node.value) {
        (Shape::Text | Shape::Quantity | Shape::TextOrList, Value::Text(_))
        | (Shape::Integer, Value::Integer(_))
        | (Shape::Flag, Value::Boolean(_)) => return Ok(node.clone()),
        (Shape::Quantity, Value::Integer(number)) => return Ok(same_place(node, Value::Text(number.to_string()))),
        (Shape::List | Shape::ListWithCommas | Shape::TextOrList, Value::List(items)) => {
            return texts(items).map(|()| node.clone());
        }
        (Shape::Text, _) => "a text in quotes",
        (Shape::Quantity, _) => "a text in quotes, or a whole number",
        (Shape::Integer, _) => "a whole number",
        (Shape::Flag, _) => "true or false",
        (Shape::List | Shape::ListWithCommas, _) => "a list of texts, such as [\"…\"]",
        (Shape::TextOrList, _) => "a text in quotes, or a list of them",
    };
    Err(fault(node, format!("must be {wanted}, not {}", node.value.kind())))
}

fn texts(items: &[Node]) -> Checked<()> {
    let wrong = items.iter().filter(|item| !matches!(item.value, Value::Text(_)));
    let faults: Vec<_> = wrong
        .map(|item| {
            let message = format!("must be a list of texts, but holds {}", item.value.kind());
            (item.origin.clone(), message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
}

fn variable(shape: Shape, node: &Node, raw: &str, parsed: &Result<Box<Value>, String>) -> Checked<Node> {
    let text = match parsed.as_deref() {
        Ok(Value::Text(text)) => text,
        _ => raw,
    };
    match (shape, parsed) {
        (Shape::Integer | Shape::Flag, Ok(value)) => plain(shape, &same_place(node, (**value).clone())),
        (Shape::Integer, Err(_)) => Err(fault(node, format!("must be a whole number, not `{raw}`"))),
        (Shape::Flag, Err(_)) => Err(fault(node, format!("must be true or false, not `{raw}`"))),
        (Shape::Text | Shape::Quantity, _) => Ok(same_place(node, Value::Text(text.to_owned()))),
        (_, Ok(value)) if matches!(**value, Value::List(_)) => plain(shape, &same_place(node, (**value).clone())),
        (_, Err(why)) if raw.trim_start().starts_with('[') => {
            Err(fault(node, format!("begins like a list, but is not TOML: {why}")))
        }
        (Shape::TextOrList, _) if !text.contains(',') => Ok(same_place(node, Value::Text(text.to_owned()))),
        (Shape::ListWithCommas, _) => Ok(list(node, std::iter::once(text))),
        (Shape::List | Shape::TextOrList, _) => Ok(list(node, text.split(','))),
    }
}

fn list<'t>(node: &Node, items: impl Iterator<Item = &'t str>) -> Node {
    let items = items
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| same_place(node, Value::Text(item.to_owned())));
    same_place(node, Value::List(items.collect()))
}

fn same_place(node: &Node, value: Value) -> Node {
    Node {
        value,
        origin: node.origin.clone(),
    }
}

/// A table.
pub(super) fn table(node: Node) -> Checked<Table> {
    match node.value {
        Value::Table(table) => Ok(table),
        _ => Err(fault(&node, format!("must be a table, not {}", node.value.kind()))),
    }
}

/// A list of tables, each with its place.
pub(super) fn tables(node: Node) -> Checked<Vec<(Origin, Table)>> {
    let value = match node.value.clone() {
        Value::Variable { parsed: Ok(value), .. } => *value,
        Value::Variable { parsed: Err(why), .. } => {
            return Err(fault(&node, format!("must be a list of tables in TOML: {why}")));
        }
        value => value,
    };
    let Value::List(items) = value else {
        let message = format!("must be a list of tables, not {}", value.kind());
        return Err(fault(&node, message));
    };
    let mut found = Vec::new();
    let mut faults = Vec::new();
    for item in items {
        let origin = item.origin.clone();
        match table(item) {
            Ok(table) => found.push((origin, table)),
            Err(Faults(more)) => faults.extend(more),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(Faults(faults))
    }
}
