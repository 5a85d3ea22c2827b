//! Hashes every downloaded file once more, by this program and not by the daemon, and compares with the blob's name.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use hfetch_tests::sim::hex;
use sha1::Digest as _;

use crate::stage::{Stage, size};

/// Shows each file of a snapshot with its hash.
///
/// # Errors
/// When one is wrong, or the snapshot is empty.
pub(crate) fn snapshot(stage: &Stage, snapshot: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(snapshot, &mut files).with_context(|| format!("cannot read {}", snapshot.display()))?;
    files.sort();
    let mut wrong = 0_u32;
    for path in &files {
        let blob = std::fs::canonicalize(path).with_context(|| format!("{} leads nowhere", path.display()))?;
        let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = blob.metadata()?.len();
        let (kind, actual) = match name.len() {
            40 => (
                "git  ",
                hash(sha1::Sha1::new_with_prefix(format!("blob {bytes}\0")), &blob)?,
            ),
            _ => ("sha256", hash(sha2::Sha256::new(), &blob)?),
        };
        let right = actual == name;
        wrong += u32::from(!right);
        let file = path.strip_prefix(snapshot).unwrap_or(path).display();
        stage.checked(
            right,
            &format!("{kind:<6} {}…  {:>10}  {file}", &actual[..16], size(bytes)),
        )?;
    }
    ensure!(wrong == 0, "{wrong} files have other bytes than their names promise");
    ensure!(!files.is_empty(), "{} is empty", snapshot.display());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn hash<D: sha1::Digest>(mut hasher: D, path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (dir.path().join("blobs"), dir.path().join("snapshots/1/deep"));
        std::fs::create_dir(&blobs).unwrap();
        std::fs::create_dir_all(&snapshot).unwrap();
        // `printf hello | git hash-object --stdin`
        let name = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        std::fs::write(blobs.join(name), "hello").unwrap();
        std::os::unix::fs::symlink(format!("../../../blobs/{name}"), snapshot.join("a.txt")).unwrap();
        let root = dir.path().join("snapshots/1");
        super::snapshot(&Stage::new(), &root).unwrap();
        std::fs::write(blobs.join(name), "hallo").unwrap();
        super::snapshot(&Stage::new(), &root).unwrap_err();
        super::snapshot(&Stage::new(), &blobs.join("none")).unwrap_err();
    }
}
