//! The table of well-known names that comes with the daemon.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::reference::Reference;
use crate::model::{RepoId, RepoKind};

const TEXT: &str = include_str!("builtin.toml");

static TABLE: LazyLock<Builtin> = LazyLock::new(|| Builtin::read(TEXT));

/// Short names in their compared form, each with its repository and kind.
#[derive(Debug, Clone, Default)]
pub struct Builtin {
    entries: BTreeMap<String, Reference>,
}

/// The file's sections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    #[serde(default)]
    models: BTreeMap<String, String>,
    #[serde(default)]
    datasets: BTreeMap<String, String>,
    #[serde(default)]
    spaces: BTreeMap<String, String>,
}

/// The table, read once.
pub fn builtin() -> &'static Builtin {
    &TABLE
}

impl Builtin {
    /// A test proves that every line is good, so a bad one is merely left out here.
    fn read(text: &str) -> Self {
        let sections: Sections = toml::from_str(text).unwrap_or_default();
        let kinds = [
            (RepoKind::Model, sections.models),
            (RepoKind::Dataset, sections.datasets),
            (RepoKind::Space, sections.spaces),
        ];
        let mut entries = BTreeMap::new();
        for (kind, names) in kinds {
            for (name, id) in names {
                if let Ok(repo_id) = RepoId::parse(&id) {
                    let reference = Reference {
                        kind: Some(kind),
                        ..Reference::bare(repo_id)
                    };
                    entries.insert(name, reference);
                }
            }
        }
        Self { entries }
    }

    /// Looks up a name in its compared form.
    pub fn get(&self, name: &str) -> Option<&Reference> {
        self.entries.get(name)
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Reference)> {
        self.entries.iter().map(|(name, reference)| (name.as_str(), reference))
    }
}

#[cfg(test)]
mod tests {
    use super::super::short::{check_alias_name, same_name};
    use super::*;

    #[test]
    fn every_line_is_good() {
        let sections: Sections = toml::from_str(TEXT).unwrap();
        let names: Vec<(&String, &String)> = sections
            .models
            .iter()
            .chain(&sections.datasets)
            .chain(&sections.spaces)
            .collect();
        for (name, id) in &names {
            assert_eq!(check_alias_name(name), Ok(()));
            assert_eq!(same_name(name), **name, "names are written in the compared form");
            assert!(RepoId::parse(id).is_ok() && id.contains('/'), "{id}");
        }
        // TOML refuses the same name twice in a section; this refuses it in two.
        assert_eq!(builtin().iter().count(), names.len());
        assert!(names.len() >= 60, "{}", names.len());
    }

    #[test]
    fn well_known_names() {
        let check = |name: &str, kind: RepoKind, id: &str| {
            let found = builtin().get(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((found.kind, found.repo_id.as_str()), (Some(kind), id));
        };
        check("llama-2", RepoKind::Model, "meta-llama/Llama-2-7b-hf");
        check("minilm", RepoKind::Model, "sentence-transformers/all-MiniLM-L6-v2");
        check("wikitext", RepoKind::Dataset, "Salesforce/wikitext");
        for id in ["gpt2", "bert-base-uncased", "t5-small", "roberta-base", "distilgpt2"] {
            assert!(
                builtin().get(id).is_none(),
                "{id} is an id that programs look for as it is"
            );
        }
    }
}
