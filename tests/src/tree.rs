//! Folders as data: what lies in a cache, whether it is sound, whether two are the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha1::Digest as _;

use crate::harness::Scratch;

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file: bytes and SHA-256.
    File(u64, String),
    /// A symbolic link and its target.
    Link(PathBuf),
}

/// All files and links below a folder, by path from it. Lock files and our own staging folders are left out.
///
/// # Errors
/// When something cannot be read.
pub fn entries(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let name = path.strip_prefix(root).map_err(io::Error::other)?.to_owned();
            if meta.is_symlink() {
                found.insert(name, Entry::Link(fs::read_link(&path)?));
            } else if meta.is_dir() {
                if path
                    .file_name()
                    .is_none_or(|name| name != ".locks" && name != ".hfetch")
                {
                    folders.push(path);
                }
            } else {
                let bytes = fs::read(&path)?;
                let hash: String = sha2::Sha256::digest(&bytes)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                found.insert(name, Entry::File(meta.len(), hash));
            }
        }
    }
    Ok(found)
}

/// Everything that is wrong with a cache: blobs whose bytes do not fit their name, links that lead nowhere, refs to snapshots
/// that are not there, names that Python clients would delete.
///
/// # Errors
/// When something cannot be read.
pub fn faults(cache: &Path) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    if !cache.exists() {
        return Ok(faults);
    }
    for (path, entry) in entries(cache)? {
        let text = path.display().to_string();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".incomplete") {
            faults.push(format!("{text} has a name that Python clients delete"));
        }
        match entry {
            Entry::Link(target) if !cache.join(&path).exists() => {
                faults.push(format!("{text} leads nowhere ({})", target.display()));
            }
            Entry::Link(_) => {}
            Entry::File(_, sha256) if folder == "blobs" => {
                let fits = match name.len() {
                    64 => sha256 == name,
                    40 => git_sha1(&fs::read(cache.join(&path))?) == name,
                    _ => false,
                };
                if !fits {
                    faults.push(format!("{text} has wrong bytes"));
                }
            }
            Entry::File(..) if text.contains("/refs/") => {
                let commit = fs::read_to_string(cache.join(&path))?;
                let repo = text.split('/').next().unwrap_or_default();
                if !cache.join(repo).join("snapshots").join(&commit).is_dir() {
                    faults.push(format!("{text} names the commit {commit}, which is not there"));
                }
            }
            Entry::File(..) => {}
        }
    }
    Ok(faults)
}

/// Everything below a folder of a user, but the daemon's own state and log: sizes and times of change.
///
/// # Errors
/// When something cannot be read.
pub fn beside_the_daemon(scratch: &Scratch) -> anyhow::Result<BTreeMap<PathBuf, (u64, SystemTime)>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![scratch.path("")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path == scratch.state() || path == scratch.path("hfetchd.log") {
                continue;
            }
            let meta = fs::symlink_metadata(&path)?;
            if meta.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (meta.len(), meta.modified()?));
        }
    }
    Ok(found)
}

fn git_sha1(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
