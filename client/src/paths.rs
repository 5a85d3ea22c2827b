//! Paths as the user writes them become absolute, and the caller's Hugging Face variables become paths. Touches no file:
//! symbolic links are not followed, because the daemon must see the path that the user means.

use std::path::{Component, Path, PathBuf};

use crate::error::CliError;

/// Looks a variable up; tests pass a table.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The real environment. Values that are not UTF-8 count as unset.
pub(crate) fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A variable that is set and not empty.
pub(crate) fn non_empty(env: Env<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

/// A Hugging Face boolean: `1`, `ON`, `YES`, `TRUE` in any case.
pub(crate) fn is_true(env: Env<'_>, name: &str) -> bool {
    env(name).is_some_and(|value| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
}

/// Expands `~`, joins to `cwd`, and drops `.` and `..` by spelling alone.
pub(crate) fn absolute(path: &str, cwd: &Path, env: Env<'_>) -> PathBuf {
    let mut result = PathBuf::new();
    for component in cwd.join(expand_home(path, env)).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

/// An absolute path as text for the wire.
pub(crate) fn absolute_text(path: &str, cwd: &Path, env: Env<'_>) -> Result<String, CliError> {
    if path.is_empty() {
        return Err(CliError::usage("an empty path does not name a directory"));
    }
    absolute(path, cwd, env)
        .into_os_string()
        .into_string()
        .map_err(|path| CliError::usage(format!("the path {} is not UTF-8", path.to_string_lossy())))
}

/// The caller's own cache directory as Python's huggingface_hub finds it; `None` when no variable says.
pub(crate) fn callers_cache(cwd: &Path, env: Env<'_>) -> Option<PathBuf> {
    non_empty(env, "HF_HUB_CACHE")
        .or_else(|| non_empty(env, "HUGGINGFACE_HUB_CACHE"))
        .map(|path| absolute(&expand_vars(&path, env), cwd, env))
        .or_else(|| hf_home(cwd, env).map(|home| home.join("hub")))
}

/// `HF_HOME`, when it is set.
pub(crate) fn hf_home(cwd: &Path, env: Env<'_>) -> Option<PathBuf> {
    non_empty(env, "HF_HOME").map(|home| absolute(&expand_vars(&home, env), cwd, env))
}

fn expand_home(path: &str, env: Env<'_>) -> PathBuf {
    match (path.strip_prefix('~'), non_empty(env, "HOME")) {
        (Some(""), Some(home)) => PathBuf::from(home),
        (Some(rest), Some(home)) if rest.starts_with('/') => Path::new(&home).join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// `$NAME` and `${NAME}` as Python's `expandvars` does: unknown names stay as they are.
pub(crate) fn expand_vars(text: &str, env: Env<'_>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        result.push_str(before);
        let body = &tail[1..];
        let (name, used) = match body.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = body
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(body.len());
                (&body[..end], end + 1)
            }
        };
        match env(name) {
            Some(value) if !name.is_empty() => result.push_str(&value),
            _ => result.push_str(&tail[..used]),
        }
        rest = &tail[used..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<'a>(vars: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn paths_become_absolute_by_spelling() {
        let env = table(&[("HOME", "/home/u")]);
        let check = |path: &str, expected: &str| {
            assert_eq!(
                absolute(path, Path::new("/cwd/dir"), &env),
                PathBuf::from(expected),
                "{path}"
            );
        };
        check("models", "/cwd/dir/models");
        check("./a/../b/", "/cwd/dir/b");
        check("../../../x", "/x");
        check("/abs/./p", "/abs/p");
        check("~/m", "/home/u/m");
        check("~", "/home/u");
        check("~other/m", "/cwd/dir/~other/m");
    }

    #[test]
    fn the_callers_cache_follows_hugging_face() {
        let check = |vars: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(
                callers_cache(Path::new("/w"), &table(vars)),
                expected.map(PathBuf::from),
                "{vars:?}"
            );
        };
        check(&[], None);
        check(&[("HF_HOME", "/hf")], Some("/hf/hub"));
        check(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "old")], Some("/w/old"));
        check(
            &[
                ("HF_HUB_CACHE", "$DATA/hub"),
                ("HUGGINGFACE_HUB_CACHE", "/o"),
                ("DATA", "/d"),
            ],
            Some("/d/hub"),
        );
        check(&[("HF_HUB_CACHE", "${DATA}x/$NOPE"), ("DATA", "/d")], Some("/dx/$NOPE"));
        check(
            &[("HF_HUB_CACHE", ""), ("HF_HOME", "~/hf"), ("HOME", "/h")],
            Some("/h/hf/hub"),
        );
    }

    #[test]
    fn booleans_are_those_of_hugging_face() {
        let check = |value: &str| is_true(&table(&[("X", value)]), "X");
        assert!(check("1") && check("on") && check("Yes") && check("TRUE"));
        assert!(!check("0") && !check("") && !check("2"));
    }
}
