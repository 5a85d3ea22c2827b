//! Paths as people write them: `~`, `$VARIABLE`, and which directories are the default ones (hub-protocol 5.1).

use std::path::{Component, Path, PathBuf};

use super::inputs::Environment;

/// A path of the configuration: absolute and without `..` once `~` and variables are replaced.
pub(super) fn configured(text: &str, environment: &Environment) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a zero byte".to_owned());
    }
    let (expanded, unset) = expand(text, environment);
    if let Some(name) = unset {
        return Err(format!("`{text}` needs ${name}, which is not set"));
    }
    let path = Path::new(&expanded);
    if !path.is_absolute() {
        return Err(format!("`{text}` must be an absolute path, or begin with ~/"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("`{text}` must not hold `..`"));
    }
    Ok(path.components().collect())
}

/// Where Python's `huggingface_hub` keeps its cache, and which variable says so; `None` without a home.
pub(super) fn user_cache(environment: &Environment, current_dir: &Path) -> Option<(PathBuf, Option<&'static str>)> {
    let said = |name: &'static str, below: &str| {
        let (text, _) = expand(environment.get(name)?, environment);
        Some((current_dir.join(text).join(below), Some(name)))
    };
    let found = said("HF_HUB_CACHE", "")
        .or_else(|| said("HUGGINGFACE_HUB_CACHE", ""))
        .or_else(|| said("HF_HOME", "hub"))
        .or_else(|| said("XDG_CACHE_HOME", "huggingface/hub"))
        .or_else(|| {
            let home = environment.get("HOME")?;
            Some((current_dir.join(home).join(".cache/huggingface/hub"), None))
        });
    found.map(|(path, name)| (plain(&path), name))
}

/// Without `.` and `..`, by the text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Replaces a leading `~` and every `$NAME` and `${NAME}`; an unset variable stays as it is, as in Python, and is named.
fn expand(text: &str, environment: &Environment) -> (String, Option<String>) {
    let mut unset = None;
    let mut done = String::new();
    let mut rest = text;
    if let Some(after) = text
        .strip_prefix('~')
        .filter(|after| after.is_empty() || after.starts_with('/'))
    {
        match environment.get("HOME") {
            Some(home) => {
                done.push_str(home.trim_end_matches('/'));
                rest = after;
            }
            None => unset = Some("HOME".to_owned()),
        }
    }
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        let (name, behind) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => {
                let end = after
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(after.len());
                after.split_at(end)
            }
        };
        match environment.get(name) {
            Some(value) => done.push_str(value),
            None => {
                done.push('$');
                done.push_str(&after[..after.len() - behind.len()]);
                unset.get_or_insert_with(|| name.to_owned());
            }
        }
        rest = behind;
    }
    done.push_str(rest);
    (done, unset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_python_looks() {
        let check = |variables: &[(&str, &str)], expected: Option<(&str, Option<&str>)>| {
            let environment = Environment::of(variables);
            let found = user_cache(&environment, Path::new("/cwd"));
            let found = found.as_ref().map(|(path, name)| (path.to_str().unwrap(), *name));
            assert_eq!(found, expected, "{variables:?}");
        };
        let home = ("HOME", "/h");
        check(&[], None);
        check(&[home], Some(("/h/.cache/huggingface/hub", None)));
        check(
            &[home, ("XDG_CACHE_HOME", "/x")],
            Some(("/x/huggingface/hub", Some("XDG_CACHE_HOME"))),
        );
        check(
            &[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")],
            Some(("/h/hf/hub", Some("HF_HOME"))),
        );
        check(
            &[home, ("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")],
            Some(("/old", Some("HUGGINGFACE_HUB_CACHE"))),
        );
        let new = |value| {
            [
                home,
                ("HUGGINGFACE_HUB_CACHE", "/old"),
                ("D", "/d"),
                ("HF_HUB_CACHE", value),
            ]
        };
        check(&new("/new"), Some(("/new", Some("HF_HUB_CACHE"))));
        check(&new(""), Some(("/old", Some("HUGGINGFACE_HUB_CACHE"))));
        check(&new("rel/./a/../b"), Some(("/cwd/rel/b", Some("HF_HUB_CACHE"))));
        check(&new("$D/x${D}y"), Some(("/d/x/dy", Some("HF_HUB_CACHE"))));
        check(&new("/a/$NO/b"), Some(("/a/$NO/b", Some("HF_HUB_CACHE"))));
        check(&new("~"), Some(("/h", Some("HF_HUB_CACHE"))));
        check(&new("~x/y"), Some(("/cwd/~x/y", Some("HF_HUB_CACHE"))));
    }

    #[test]
    fn configured_paths_are_absolute() {
        let environment = Environment::of(&[("HOME", "/h/"), ("D", "/d")]);
        let check = |text: &str, expected: Result<&str, &str>| match (configured(text, &environment), expected) {
            (Ok(path), Ok(expected)) => assert_eq!(path.to_str(), Some(expected), "{text}"),
            (Err(why), Err(fragment)) => assert!(why.contains(fragment), "{text}: {why}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("/a//b/./c/", Ok("/a/b/c"));
        check("~/models", Ok("/h/models"));
        check("$D/e", Ok("/d/e"));
        check("models", Err("absolute"));
        check("~x/y", Err("absolute"));
        check("/a/../b", Err("`..`"));
        check("$NO/b", Err("$NO"));
        check("/a\0b", Err("zero byte"));
        check("", Err("empty"));
    }
}
