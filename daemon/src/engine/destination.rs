//! Where the files of a job may go: into a cache, or into a directory that its user names.

use std::path::{Component, Path, PathBuf};

use super::error::CallError;
use crate::{
    config::{Config, Mode},
    model::Destination,
};

/// The destination of a wish; on a shared daemon only what the configuration allows.
pub(super) fn destination(
    config: &Config,
    mode: Mode,
    cache_dir: &str,
    local_dir: &str,
    preferred_cache_dir: &str,
) -> Result<Destination, CallError> {
    let caches = &config.storage.caches;
    match (cache_dir, local_dir) {
        ("", "") => {
            let preferred = clean("preferred_cache_dir", preferred_cache_dir)
                .ok()
                .filter(|path| mode == Mode::User || caches.contains(path));
            let default = caches.first().cloned();
            let path = preferred
                .or(default)
                .ok_or_else(|| CallError::Internal("no cache is configured".into()))?;
            Ok(Destination::Cache(path))
        }
        (text, "") => {
            let path = clean("cache_dir", text)?;
            if mode == Mode::System && !caches.contains(&path) {
                return Err(CallError::NotAllowed(format!(
                    "{text} is not one of the configured caches (storage.cache)"
                )));
            }
            Ok(Destination::Cache(path))
        }
        ("", text) => {
            let path = clean("local_dir", text)?;
            if caches.iter().any(|cache| path.starts_with(cache)) {
                return Err(CallError::invalid("local_dir", format!("{text} lies inside the cache")));
            }
            if mode == Mode::System && !config.storage.local_roots.iter().any(|root| path.starts_with(root)) {
                return Err(CallError::NotAllowed(format!(
                    "{text} is not below one of storage.local_roots"
                )));
            }
            Ok(Destination::LocalDir(path))
        }
        _ => Err(CallError::invalid(
            "local_dir",
            "either a local directory or a cache directory",
        )),
    }
}

/// An absolute path without `..`, in one spelling.
fn clean(field: &'static str, text: &str) -> Result<PathBuf, CallError> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !plain || text.contains('\0') {
        return Err(CallError::invalid(field, "must be an absolute path without `..`"));
    }
    Ok(path.components().collect())
}
