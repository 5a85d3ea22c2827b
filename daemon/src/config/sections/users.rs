//! `[users.NAME]`: what one user may have; `[users.default]` is for everyone who is not named.

use std::collections::BTreeMap;

use crate::config::{
    inputs::Context,
    origin::Origin,
    places::Mode,
    section::Reader,
    settings::{Header, key_text},
    shape::Checked,
    tree::{Node, Table},
    values,
};
use crate::model::{Budget, BudgetPeriod, units::parse_size};

const DEFAULT: &str = "default";

/// `[users]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    default: UserOptions,
    named: BTreeMap<String, UserOptions>,
}

impl Users {
    /// The options of a user.
    pub fn of(&self, name: &str) -> UserOptions {
        self.named.get(name).unwrap_or(&self.default).clone()
    }

    /// Whether anybody has a budget.
    pub fn have_budgets(&self) -> bool {
        let mut all = self.named.values().chain([&self.default]);
        all.any(|user| user.budget.is_some())
    }
}

/// One of `[users]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserOptions {
    /// Jobs that are not over.
    pub max_queued: u64,
    /// Share of the bandwidth among those who want it.
    pub weight: u32,
    /// What may be downloaded; `None` is no bound.
    pub budget: Option<Budget>,
    /// Connections that bring bytes at a time, of all jobs together; `None` is no bound.
    pub max_connections: Option<u32>,
    /// Bytes that jobs at work may have to come before another one begins; `None` is no bound.
    pub max_active: Option<u64>,
    /// Bytes that jobs may keep on disk; `None` is no bound.
    pub max_disk: Option<u64>,
}

/// In the order in which they are read.
const KEYS: [&str; 6] = [
    "max_queued",
    "weight",
    "budget",
    "max_connections",
    "max_active",
    "max_disk",
];

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table, context: &Context<'_>) -> Option<Users> {
    let mut tables = reader.named(root, "users");
    let default = match tables.iter().position(|(name, ..)| name == DEFAULT) {
        Some(at) => tables.remove(at),
        None => (DEFAULT.to_owned(), Origin::Default, Table::new()),
    };
    // Of one's own daemon one is the only user.
    let max_queued = match context.mode {
        Mode::User => 1_000_000,
        Mode::System => 1_000,
    };
    let off = || Node::from("off");
    let built_in: [Node; KEYS.len()] = [max_queued.into(), 1.into(), off(), off(), off(), off()];
    let default = read_one(reader, default, built_in.clone());
    // What a user's table leaves open is as for everyone.
    let mut inherited = built_in;
    for (node, key) in inherited.iter_mut().zip(KEYS) {
        if let Some(said) = reader.in_force(&format!("users.{DEFAULT}.{key}")) {
            *node = said;
        }
    }
    let mut named = BTreeMap::new();
    let mut complete = true;
    for table in tables {
        let name = table.0.clone();
        match (read_one(reader, table, inherited.clone()), default.is_some()) {
            (Some(options), true) => {
                named.insert(name, options);
            }
            _ => complete = false,
        }
    }
    complete.then_some(())?;
    Some(Users {
        default: default?,
        named,
    })
}

fn read_one(
    reader: &mut Reader,
    (name, at, table): (String, Origin, Table),
    [max_queued, weight, budget, max_connections, max_active, max_disk]: [Node; KEYS.len()],
) -> Option<UserOptions> {
    let path = format!("users.{}", key_text(&name));
    let mut section = reader.open(
        Header::Table(vec!["users".to_owned(), name]),
        "users.NAME",
        path,
        at,
        table,
    );
    let max_queued = section.read("max_queued", max_queued, values::number(1..=1_000_000_000));
    let weight = section.read("weight", weight, values::number(1..=1_000));
    let budget = section.read("budget", budget, budget_of);
    let max_connections = section.read("max_connections", max_connections, connections_of);
    let max_active = section.read("max_active", max_active, size_of);
    let max_disk = section.read("max_disk", max_disk, size_of);
    section.finish();
    Some(UserOptions {
        max_queued: max_queued?,
        weight: weight?,
        budget: budget?,
        max_connections: max_connections?,
        max_active: max_active?,
        max_disk: max_disk?,
    })
}

fn is_off(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("off")
}

/// A number, or `off`.
fn connections_of(node: &Node) -> Checked<Option<u32>> {
    values::parsed(node, |text| match text.trim().parse() {
        _ if is_off(text) => Ok(None),
        Ok(number @ 1..=10_000) => Ok(Some(number)),
        _ => Err(format!("`{text}` must be `off`, or a number from 1 to 10000")),
    })
}

/// A size, or `off`.
fn size_of(node: &Node) -> Checked<Option<u64>> {
    values::parsed(node, |text| match is_off(text) {
        true => Ok(None),
        false => parse_size(text).map(Some).map_err(|why| why.to_string()),
    })
}

/// `500GiB/month`, `20GB/day` or `off`.
pub(in crate::config) fn budget_of(node: &Node) -> Checked<Option<Budget>> {
    values::parsed(node, |text| {
        if is_off(text) {
            return Ok(None);
        }
        let bad = || format!("`{text}` must be `off`, or a size for each day or month, such as 500GiB/month");
        let (size, period) = text.split_once('/').ok_or_else(bad)?;
        let period = match period.trim() {
            "day" => BudgetPeriod::Day,
            "month" => BudgetPeriod::Month,
            _ => return Err(bad()),
        };
        let bytes = parse_size(size).map_err(|why| why.to_string())?;
        Ok(Some(Budget { bytes, period }))
    })
}
