//! Reads one table of the configuration key by key: asks each value for its meaning, remembers where it came from, and tells
//! what nobody asked for.

use std::fmt::Debug;

use super::{
    keys,
    mistakes::Mistake,
    nearest,
    origin::Origin,
    settings::{Header, Setting},
    shape::{self, Checked, Faults},
    tree::{Entry, Node, Table, Value},
};

/// What was found so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) settings: Vec<Setting>,
    pub(super) warnings: Vec<String>,
}

/// A table while it is read. Ends with [`Section::finish`], which finds the unknown keys.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    header: Header,
    /// As [`keys::KEYS`] spells it: `users.NAME`.
    pattern: &'static str,
    /// As people see it: `users.alice`.
    path: String,
    at: Origin,
    rest: Table,
    asked: Vec<&'static str>,
}

impl Reader {
    /// Tells a mistake about a key.
    pub(super) fn mistake(&mut self, origin: Origin, key: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake::new(origin, key, message));
    }

    pub(super) fn faults(&mut self, key: &str, Faults(faults): Faults) {
        for (origin, message) in faults {
            self.mistake(origin, key, message);
        }
    }

    /// Takes `[name]`; empty when it is not there.
    pub(super) fn section(&mut self, root: &mut Table, name: &'static str) -> Section<'_> {
        let (at, rest) = self.take_table(root, name);
        self.open(Header::Table(vec![name.to_owned()]), name, name.to_owned(), at, rest)
    }

    /// Takes the tables of `[name.*]`: names, places, contents.
    pub(super) fn named(&mut self, root: &mut Table, name: &'static str) -> Vec<(String, Origin, Table)> {
        let (_, mut tables) = self.take_table(root, name);
        let names: Vec<String> = tables.keys().cloned().collect();
        let mut found = Vec::new();
        for inner in names {
            let Some(entry) = tables.remove(&inner) else { continue };
            let at = entry.key_at;
            match shape::table(entry.node) {
                Ok(table) => found.push((inner, at, table)),
                Err(faults) => self.faults(&format!("{name}.{}", super::settings::key_text(&inner)), faults),
            }
        }
        found
    }

    /// Takes the tables of `[[name]]`; `None` when there is no such key.
    pub(super) fn listed(&mut self, root: &mut Table, name: &'static str) -> Option<(Origin, Vec<(Origin, Table)>)> {
        let entry = root.remove(name)?;
        let at = entry.key_at;
        match shape::tables(entry.node) {
            Ok(tables) => Some((at, tables)),
            Err(faults) => {
                self.faults(name, faults);
                None
            }
        }
    }

    /// The value of a key that was read, as the default of another one.
    pub(super) fn in_force(&self, path: &str) -> Option<Node> {
        let setting = self.settings.iter().find(|setting| setting.path == path)?;
        Some(Node {
            value: setting.value.clone()?,
            origin: setting.origin.clone(),
        })
    }

    fn take_table(&mut self, root: &mut Table, name: &str) -> (Origin, Table) {
        let Some(entry) = root.remove(name) else {
            return (Origin::Default, Table::new());
        };
        let at = entry.key_at;
        match shape::table(entry.node) {
            Ok(table) => (at, table),
            Err(faults) => {
                self.faults(name, faults);
                (at, Table::new())
            }
        }
    }

    /// Begins to read a table.
    pub(super) fn open(
        &mut self,
        header: Header,
        pattern: &'static str,
        path: String,
        at: Origin,
        rest: Table,
    ) -> Section<'_> {
        Section {
            reader: self,
            header,
            pattern,
            path,
            at,
            rest,
            asked: Vec::new(),
        }
    }

    /// Finds what is left at the top when every section has been read.
    pub(super) fn unknown_sections(&mut self, root: Table) {
        for (name, entry) in root {
            let is_table = matches!(entry.node.value, Value::Table(_));
            let message = nearest::unknown_section(&name, &entry.key_at, is_table);
            self.mistake(entry.key_at, &super::settings::key_text(&name), message);
        }
    }
}

impl Section<'_> {
    /// The value of a key, or of its default. `None` after a mistake, which is told.
    pub(super) fn read<T: Debug>(
        &mut self,
        key: &'static str,
        default: impl Into<Node>,
        read: impl Fn(&Node) -> Checked<T>,
    ) -> Option<T> {
        let default = default.into();
        match self.take(key) {
            Some(node) => self.value(key, key, &node, read),
            None => self.value(key, key, &default, read),
        }
    }

    /// The value of a key that has no default: `Some(None)` when it is not set.
    pub(super) fn read_optional<T: Debug>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node) -> Checked<T>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            Some(node) => self.value(key, key, &node, read).map(Some),
            None => {
                self.remember(key, key, None, "-".to_owned(), Origin::Default);
                Some(None)
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn read_required<T: Debug>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node) -> Checked<T>,
    ) -> Option<T> {
        match self.take(key) {
            Some(node) => self.value(key, key, &node, read),
            None => {
                self.mistake(None, key, "is missing");
                None
            }
        }
    }

    /// Reads all keys of a table whose keys are names: each name with its place and its value, unless that is a mistake.
    pub(super) fn read_all<T: Debug>(&mut self, read: impl Fn(&Node) -> Checked<T>) -> Vec<(String, Entry, Option<T>)> {
        let mut found = Vec::new();
        for (name, entry) in std::mem::take(&mut self.rest) {
            let value = self.value("NAME", &name, &entry.node, &read);
            found.push((name, entry, value));
        }
        found
    }

    /// Where a key that is still to be read was written.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.rest.get(key).map(|entry| entry.node.origin.clone())
    }

    /// Tells a mistake about a key, at the key's place or else at the section's.
    pub(super) fn mistake(&mut self, origin: Option<Origin>, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        let origin = origin.unwrap_or_else(|| self.at.clone());
        self.reader.mistake(origin, &path, message);
    }

    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.reader.warnings.push(message.into());
    }

    /// Tells every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, entry) in &self.rest {
            let message = nearest::unknown_key(key, &entry.key_at, &self.asked, self.pattern, &self.path);
            self.reader.mistake(entry.key_at.clone(), &self.path_of(key), message);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.rest.remove(key).map(|Entry { node, .. }| node)
    }

    fn shape(&self, key: &str) -> keys::Shape {
        let known = keys::find(&format!("{}.{key}", self.pattern));
        debug_assert!(known.is_some(), "{}.{key} is not in keys::KEYS", self.pattern);
        known.map_or(keys::Shape::Text, |known| known.shape)
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}.{}", self.path, super::settings::key_text(key))
    }

    fn value<T: Debug>(
        &mut self,
        pattern_key: &str,
        key: &str,
        node: &Node,
        read: impl Fn(&Node) -> Checked<T>,
    ) -> Option<T> {
        let read = shape::conform(self.shape(pattern_key), node).and_then(|node| Ok((read(&node)?, node)));
        match read {
            Ok((value, node)) => {
                let checked = format!("{value:?}");
                self.remember(pattern_key, key, Some(node.value), checked, node.origin);
                Some(value)
            }
            Err(faults) => {
                let path = self.path_of(key);
                self.reader.faults(&path, faults);
                None
            }
        }
    }

    fn remember(&mut self, pattern_key: &str, key: &str, value: Option<Value>, checked: String, origin: Origin) {
        self.reader.settings.push(Setting {
            pattern: format!("{}.{pattern_key}", self.pattern),
            path: self.path_of(key),
            header: self.header.clone(),
            key: key.to_owned(),
            value,
            checked,
            origin,
        });
    }
}
