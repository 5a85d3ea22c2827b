//! Where a text is that must not be everywhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files below a folder that hold a text.
///
/// # Errors
/// When something cannot be read.
pub fn holding(root: &Path, text: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() && contains(&fs::read(&path)?, text) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a text is among some bytes.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
