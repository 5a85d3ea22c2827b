//! The order in which a name finds its meaning: the user's alias, the config's, the built-in table, an id with a slash, and
//! last an id without one, which only the Hub can judge.

use std::collections::BTreeMap;

use super::builtin::{Builtin, builtin};
use super::reference::{BadName, Reference, parse};
use super::short::same_name;
use crate::model::{RepoKind, Revision};

/// How many near names are offered.
const SUGGESTED: usize = 5;

/// Where a meaning comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameSource {
    /// One of the user's own aliases.
    UserAlias,
    /// `[aliases]` of the configuration.
    ConfigAlias,
    /// The table that comes with the daemon.
    BuiltIn,
    /// Taken as it was written.
    Literal,
}

/// What a name means, as far as one can tell without the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// This is it.
    Found {
        /// Who says so.
        source: NameSource,
        /// The repository.
        reference: Reference,
    },
    /// An id without a slash that no table knows: the Hub must be asked whether it exists.
    AskHub(Reference),
}

/// An alias whose target names no repository.
#[derive(Debug, thiserror::Error)]
#[error("the alias `{name}` has a bad target")]
pub struct BadAlias {
    /// The alias.
    pub name: String,
    /// What is wrong with the target.
    #[source]
    pub why: BadName,
}

/// The tables that are the same for all users. Targets are repositories, never names, so there are no cycles.
#[derive(Debug, Clone)]
pub struct Names {
    /// By compared form: the name as written, its target.
    config: BTreeMap<String, (String, Reference)>,
    builtin: &'static Builtin,
}

impl Names {
    /// Takes the aliases of a checked configuration.
    ///
    /// # Errors
    /// With the first target that names no repository.
    pub fn new(config_aliases: &BTreeMap<String, String>) -> Result<Self, BadAlias> {
        let mut config = BTreeMap::new();
        for (name, target) in config_aliases {
            let reference = parse_target(name, target)?;
            config.insert(same_name(name), (name.clone(), reference));
        }
        Ok(Self {
            config,
            builtin: builtin(),
        })
    }

    /// Finds the meaning of a name without asking anyone. `kind_hint` is what the caller's flags say: an alias of another
    /// kind is passed over, and it fills in a kind that the meaning leaves open. `@revision` after an alias replaces the
    /// alias's own.
    ///
    /// # Errors
    /// When no table knows the text and it is no spelling of a repository either, or when the user's alias has a bad
    /// target.
    pub fn resolve_offline(
        &self,
        name: &str,
        kind_hint: Option<RepoKind>,
        user_aliases: &BTreeMap<String, String>,
    ) -> Result<Resolved, ResolveError> {
        let (short, revision) = match name.split_once('@') {
            Some((short, revision)) => (short, Some(revision)),
            None => (name, None),
        };
        if let Some((source, mut reference)) = self.look_up(short, kind_hint, user_aliases)? {
            if let Some(revision) = revision {
                reference.revision = Some(Revision::parse(revision).map_err(BadName::from)?);
            }
            reference.kind = reference.kind.or(kind_hint);
            return Ok(Resolved::Found { source, reference });
        }
        let mut reference = parse(name)?;
        reference.kind = reference.kind.or(kind_hint);
        // A web address of a legacy id names it as exactly as an id with a slash does.
        let exact = reference.repo_id.as_str().contains('/') || name.contains("://");
        Ok(match exact {
            true => Resolved::Found {
                source: NameSource::Literal,
                reference,
            },
            false => Resolved::AskHub(reference),
        })
    }

    fn look_up(
        &self,
        name: &str,
        kind_hint: Option<RepoKind>,
        user_aliases: &BTreeMap<String, String>,
    ) -> Result<Option<(NameSource, Reference)>, BadAlias> {
        let wanted = same_name(name);
        let fits =
            |reference: &Reference| reference.kind.is_none() || kind_hint.is_none() || reference.kind == kind_hint;
        let own = user_aliases.iter().find(|(alias, _)| same_name(alias) == wanted);
        if let Some((alias, target)) = own {
            let reference = parse_target(alias, target)?;
            if fits(&reference) {
                return Ok(Some((NameSource::UserAlias, reference)));
            }
        }
        let config = self.config.get(&wanted).map(|(_, reference)| reference);
        let tables = [
            (NameSource::ConfigAlias, config),
            (NameSource::BuiltIn, self.builtin.get(&wanted)),
        ];
        Ok(tables
            .into_iter()
            .filter_map(|(source, found)| Some((source, found?.clone())))
            .find(|(_, reference)| fits(reference)))
    }

    /// Aliases of the config, then the built-in names: the name, its target, whose it is. Shadowed ones are listed too.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Reference, NameSource)> {
        let config = self.config.values();
        config
            .map(|(name, reference)| (name.as_str(), reference, NameSource::ConfigAlias))
            .chain(
                self.builtin
                    .iter()
                    .map(|(name, reference)| (name, reference, NameSource::BuiltIn)),
            )
    }

    /// At most five names of all tables that look like `name`, best first.
    pub fn suggest(&self, name: &str, user_aliases: &BTreeMap<String, String>) -> Vec<String> {
        let wanted = same_name(name);
        let known = user_aliases
            .keys()
            .map(String::as_str)
            .chain(self.iter().map(|(name, ..)| name));
        let mut near: Vec<(f64, &str)> = known
            .map(|name| {
                let compared = same_name(name);
                // Half a name is a better clue than one wrong letter: `llama-3.1` stands for all its sizes.
                let part = if wanted.len() > 2 && compared.contains(&wanted) {
                    0.5
                } else {
                    0.0
                };
                (strsim::jaro_winkler(&compared, &wanted) + part, name)
            })
            .filter(|(score, _)| *score >= 0.85)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.dedup_by(|a, b| a.1 == b.1);
        near.into_iter()
            .take(SUGGESTED)
            .map(|(_, name)| name.to_owned())
            .collect()
    }
}

/// Why a name has no meaning.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text itself.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The user's alias.
    #[error(transparent)]
    Alias(#[from] BadAlias),
}

fn parse_target(name: &str, target: &str) -> Result<Reference, BadAlias> {
    parse(target).map_err(|why| BadAlias {
        name: name.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn the_order_of_the_places() {
        let names = Names::new(&map(&[
            ("ours", "org/ours"),
            ("llama-2", "mirror/llama"),
            ("data", "datasets/org/data@v1"),
        ]))
        .unwrap();
        let user = map(&[("Mine", "me/mine"), ("ours", "me/ours"), ("phi-2", "spaces/me/phi")]);
        let check = |name: &str, hint: Option<RepoKind>, expected: &str| {
            let shown = match names.resolve_offline(name, hint, &user) {
                Ok(Resolved::Found { source, reference }) => format!("{source:?} {reference}"),
                Ok(Resolved::AskHub(reference)) => format!("ask {reference}"),
                Err(bad) => format!("bad {bad}"),
            };
            assert_eq!(shown, expected, "{name}");
        };
        let dataset = Some(RepoKind::Dataset);
        let model = Some(RepoKind::Model);
        check("mine", None, "UserAlias me/mine");
        check("OURS", None, "UserAlias me/ours");
        check("llama 2", None, "ConfigAlias mirror/llama");
        check("Llama_3", None, "BuiltIn meta-llama/Meta-Llama-3-8B");
        check("data", None, "ConfigAlias datasets/org/data@v1");
        check("data@v2", None, "ConfigAlias datasets/org/data@v2");
        check("data", model, "ask data");
        check("mine", dataset, "UserAlias datasets/me/mine");
        check("phi-2", model, "BuiltIn microsoft/phi-2");
        check("phi-2", None, "UserAlias spaces/me/phi");
        check("wikitext", None, "BuiltIn datasets/Salesforce/wikitext");
        check("wikitext", dataset, "BuiltIn datasets/Salesforce/wikitext");
        check("bert", dataset, "ask datasets/bert");
        check("org/name", None, "Literal org/name");
        check("org/name", dataset, "Literal datasets/org/name");
        check("datasets/org/name", model, "Literal datasets/org/name");
        check("gpt2", None, "ask gpt2");
        check("gpt2@v1", None, "ask gpt2@v1");
        check("https://huggingface.co/gpt2", None, "Literal gpt2");
        check(
            "llama-2@..",
            None,
            "bad `..` is not a revision: a part is empty, begins with a dot or holds `..`",
        );
        check(
            "a b",
            None,
            "bad `a b` is not a repository id: only letters, digits, `_`, `.` and `-` are allowed",
        );
    }

    #[test]
    fn targets_are_repositories() {
        assert!(Names::new(&map(&[("x", "a/b/c")])).is_err());
        let names = Names::new(&map(&[])).unwrap();
        let broken = map(&[("x", "a/b/c")]);
        assert!(matches!(
            names.resolve_offline("x", None, &broken),
            Err(ResolveError::Alias(_))
        ));
        // A target is read as an id even when it looks like another alias.
        let chain = map(&[("x", "llama-2")]);
        match names.resolve_offline("x", None, &chain).unwrap() {
            Resolved::Found { reference, .. } => assert_eq!(reference.repo_id.as_str(), "llama-2"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn near_names() {
        let names = Names::new(&map(&[("our-model", "org/ours")])).unwrap();
        let near = |name: &str| names.suggest(name, &map(&[("my-model", "me/mine")]));
        assert_eq!(near("lama-2")[0], "llama-2");
        assert_eq!(near("our_modle")[0], "our-model");
        assert_eq!(near("mymodel")[0], "my-model");
        assert!(near("mixtral-8")[0].starts_with("mixtral-8x"));
        assert!(near("llama").len() == 5);
        assert!(near("zzzzzzzz").is_empty());
    }
}
