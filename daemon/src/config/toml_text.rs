//! The text of a config file as a tree with places.

use std::collections::BTreeSet;

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::{
    mistakes::Mistake,
    origin::{Origin, SourceFile},
    tree::{Entry, Node, Table, Value},
};

/// A file that was read as far as it could be.
pub(super) struct Parsed {
    pub(super) table: Table,
    pub(super) mistakes: Vec<Mistake>,
    /// Lines that are not TOML: what was made of them says nothing.
    pub(super) broken_lines: BTreeSet<usize>,
}

/// Reads TOML; what is no TOML is told, and the rest goes on.
pub(super) fn parse(file: &SourceFile, text: &str) -> Parsed {
    let places = Places::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = BTreeSet::new();
    let mistakes = errors.iter().map(|error| {
        let origin = places.at(error.span().map_or(0, |span| span.start));
        if let Origin::File { line, .. } = origin {
            broken_lines.extend(spoilt(text, line));
        }
        Mistake::new(origin, "", format!("this is not TOML: {}", message(error)))
    });
    let mistakes = mistakes.collect();
    Parsed {
        table: table(&places, root.into_inner()),
        mistakes,
        broken_lines,
    }
}

/// The lines that a break in one line makes meaningless: the line, and below a broken `[header` all up to the next one.
fn spoilt(text: &str, line: usize) -> impl Iterator<Item = usize> {
    let is_header = |text: &str| text.trim_start().starts_with('[');
    let mut below = text.lines().skip(line - 1);
    let broken_header = below.next().is_some_and(is_header);
    let more = below.take_while(move |text| broken_header && !is_header(text)).count();
    line..=line + more
}

/// Reads one value, as in a variable; places are those of the variable.
pub(super) fn parse_value(origin: &Origin, text: &str) -> Result<Value, String> {
    match DeValue::parse(text) {
        Ok(parsed) => Ok(value(&Places::Whole(origin.clone()), parsed.into_inner())),
        Err(error) => Err(message(&error)),
    }
}

fn message(error: &Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(", ")
}

fn table(places: &Places<'_>, parsed: DeTable<'_>) -> Table {
    parsed
        .into_iter()
        .map(|(key, value)| {
            let entry = Entry {
                key_at: places.at(key.span().start),
                node: node(places, value),
            };
            (key.into_inner().into_owned(), entry)
        })
        .collect()
}

fn node(places: &Places<'_>, parsed: Spanned<DeValue<'_>>) -> Node {
    Node {
        origin: places.at(parsed.span().start),
        value: value(places, parsed.into_inner()),
    }
}

fn value(places: &Places<'_>, parsed: DeValue<'_>) -> Value {
    match parsed {
        DeValue::String(text) => Value::Text(text.into_owned()),
        // What is too long for this is out of every key's range anyway.
        DeValue::Integer(number) => {
            Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Boolean(yes),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(mut items) => Value::List(
            items
                .iter_mut()
                .map(|item| {
                    let at = item.span();
                    let taken = std::mem::replace(item.get_mut(), DeValue::Boolean(false));
                    node(places, Spanned::new(at, taken))
                })
                .collect(),
        ),
        DeValue::Table(entries) => Value::Table(table(places, entries)),
    }
}

/// Byte offsets as lines and columns.
enum Places<'a> {
    Text {
        file: &'a SourceFile,
        text: &'a str,
        /// Offset of each line's first byte.
        starts: Vec<usize>,
    },
    /// The text is a variable's: it has one place.
    Whole(Origin),
}

impl<'a> Places<'a> {
    fn new(file: &'a SourceFile, text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self::Text {
            file,
            text,
            starts: std::iter::once(0).chain(after_breaks).collect(),
        }
    }

    fn at(&self, offset: usize) -> Origin {
        match self {
            Self::Whole(origin) => origin.clone(),
            Self::Text { file, text, starts } => {
                let line = starts.partition_point(|start| *start <= offset).max(1);
                let start = starts.get(line - 1).copied().unwrap_or(0);
                let before = text.get(start..offset).map_or(0, |before| before.chars().count());
                Origin::File {
                    file: (*file).clone(),
                    line,
                    column: before + 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Parsed {
        let file = SourceFile {
            index: 0,
            path: std::path::Path::new("f").into(),
        };
        parse(&file, text)
    }

    #[test]
    fn places_are_lines_and_columns() {
        let parsed = parse_text("[a]\n'é' = 1; \n[[b]]\nx = [\n  'q', 2]\n[[b]]\nc.d = 5\n");
        assert_eq!(parsed.mistakes.len(), 1, "{:?}", parsed.mistakes);
        let parsed = parse_text("[a]\n'é' = 1\n[[b]]\nx = [\n  'q', 2]\n[[b]]\nc.d = 5\n");
        assert!(parsed.mistakes.is_empty());
        let mut shown = Vec::new();
        show("", &parsed.table, &mut shown);
        assert_eq!(
            shown,
            [
                "a f:1:2 f:1:1",
                "a.é f:2:1 f:2:7",
                "b f:3:3 f:3:1",
                "b[0] f:3:1",
                "b[0].x f:4:1 f:4:5",
                "b[0].x[0] f:5:3",
                "b[0].x[1] f:5:8",
                "b[1] f:6:1",
                "b[1].c f:7:1 f:7:1",
                "b[1].c.d f:7:3 f:7:7",
            ]
        );
    }

    fn show(path: &str, table: &Table, out: &mut Vec<String>) {
        for (key, entry) in table {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let place = |origin: &Origin| origin.place().unwrap();
            out.push(format!("{path} {} {}", place(&entry.key_at), place(&entry.node.origin)));
            show_value(&path, &entry.node.value, out);
        }
    }

    fn show_value(path: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Table(inner) => show(path, inner, out),
            Value::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    out.push(format!("{path}[{number}] {}", item.origin.place().unwrap()));
                    show_value(&format!("{path}[{number}]"), &item.value, out);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_break_of_toml_is_told() {
        let parsed = parse_text("a = \n[b]\nc = 1\nc = 2\nd = 'x\n[e\nf = 1\ng = 2\n[h]\n");
        let shown: Vec<String> = parsed.mistakes.iter().map(ToString::to_string).collect();
        assert!(shown.len() >= 4, "{shown:#?}");
        assert!(
            shown
                .iter()
                .all(|line| line.contains("this is not TOML: ") && !line.contains('\n'))
        );
        let broken: Vec<usize> = parsed.broken_lines.into_iter().collect();
        assert_eq!(broken, [1, 4, 5, 6, 7, 8]);
    }
}
