//! Tables over whole configurations: texts and variables in, keys or mistakes out.

mod mistakes;
mod reading;

use std::path::{Path, PathBuf};

use super::{Config, Mode, check, inputs::Context, inputs::Environment};

/// A configuration to be.
pub(super) struct Case<'a> {
    pub(super) mode: Mode,
    /// Called `a.toml`, `b.toml`, ...
    pub(super) texts: &'a [&'a str],
    /// On top of `HOME=/h`.
    pub(super) variables: &'a [(&'a str, &'a str)],
}

impl Case<'_> {
    pub(super) fn check(&self) -> (Option<Config>, Vec<String>) {
        let variables: Vec<_> = [("HOME", "/h")].into_iter().chain(self.variables.iter().copied()).collect();
        let environment = Environment::of(&variables);
        let context = Context {
            mode: self.mode,
            environment: &environment,
            current_dir: Path::new("/work"),
        };
        let names = ["a.toml", "b.toml", "c.toml"].map(PathBuf::from).into_iter();
        let texts: Vec<_> = names.zip(self.texts.iter().map(|text| Ok((*text).to_owned()))).collect();
        let (config, mut mistakes) = check(&context, &texts);
        mistakes.sort();
        assert!(config.is_some() || !mistakes.is_empty(), "nothing, and no mistake");
        (config, mistakes.iter().map(ToString::to_string).collect())
    }

    pub(super) fn config(&self) -> Config {
        match self.check() {
            (Some(config), mistakes) if mistakes.is_empty() => config,
            (_, mistakes) => panic!("{mistakes:#?}"),
        }
    }
}

pub(super) fn user<'a>(texts: &'a [&'a str]) -> Case<'a> {
    Case {
        mode: Mode::User,
        texts,
        variables: &[],
    }
}

pub(super) fn system<'a>(texts: &'a [&'a str]) -> Case<'a> {
    Case {
        mode: Mode::System,
        ..user(texts)
    }
}

pub(super) fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case { variables, ..user(&[]) }
}
