//! `HFETCH_*`: every key as a variable, `__` between levels.

use super::{
    inputs::Environment,
    mistakes::Mistake,
    origin::Origin,
    toml_text,
    tree::{Entry, Node, Table, Value, merge},
};

const PREFIX: &str = "HFETCH_";

/// Variables of ours that are no keys.
const OTHERS: [&str; 6] = [
    "HFETCH_CUTS",
    "HFETCH_FILES",
    "HFETCH_KILLS",
    "HFETCH_NO_SKIP",
    "HFETCH_STEPS",
    "HFETCH_TEST_",
];

/// Kubernetes sets these for a service that is called `hfetch`.
const FOREIGN: [&str; 2] = ["HFETCH_SERVICE_", "HFETCH_PORT"];

/// Others that the configuration follows: where they cannot be read, going on without them would be a surprise.
const FOLLOWED: [&str; 8] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HOME",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
];

/// What the environment says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) table: Table,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
}

/// Reads all variables, in the order of their names: `HFETCH_STORAGE__CACHE` covers `HFETCH_STORAGE`.
pub(super) fn read(environment: &Environment) -> Said {
    let mut said = Said::default();
    for (name, value) in environment.iter() {
        let Some(key) = name.strip_prefix(PREFIX) else {
            if value.is_none() && FOLLOWED.contains(&name) {
                said.mistakes
                    .push(Mistake::new(Origin::variable(name), "", "is not UTF-8"));
            }
            continue;
        };
        if OTHERS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        if FOREIGN.iter().any(|foreign| name.starts_with(foreign)) {
            said.warnings.push(format!(
                "{name} looks like a variable of Kubernetes, not like one of ours: ignored"
            ));
            continue;
        }
        let origin = Origin::variable(name);
        let Some(raw) = value else {
            said.mistakes.push(Mistake::new(origin, "", "is not UTF-8"));
            continue;
        };
        let levels: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        if levels.iter().any(String::is_empty) {
            said.mistakes.push(Mistake::new(origin, "", "names no key"));
            continue;
        }
        let parsed = toml_text::parse_value(&origin, raw);
        // A table joins with others, so it must be one already here.
        let value = match parsed {
            Ok(Value::Table(table)) => Value::Table(table),
            parsed => Value::Variable {
                raw: raw.to_owned(),
                parsed: parsed.map(Box::new),
            },
        };
        merge(&mut said.table, nested(&levels, &origin, value));
    }
    said
}

fn nested(levels: &[String], origin: &Origin, value: Value) -> Table {
    let Some((first, rest)) = levels.split_first() else {
        return Table::new();
    };
    let value = match rest {
        [] => value,
        rest => Value::Table(nested(rest, origin, value)),
    };
    let entry = Entry {
        key_at: origin.clone(),
        node: Node {
            value,
            origin: origin.clone(),
        },
    };
    Table::from([(first.clone(), entry)])
}
