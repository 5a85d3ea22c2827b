//! Hashes every downloaded file once more, by this program and not by the daemon, and compares with what the Hub says.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use hfetch_tests::sim::hex;
use serde_json::Value;
use sha1::Digest as _;

use crate::stage::{Stage, size};

/// Shows each file of a finished job (as `hfctl show --json --files` prints it) with its hash.
///
/// # Errors
/// When one is wrong, or there is none.
pub(crate) fn files(stage: &Stage, folder: &Path, job: &Value) -> anyhow::Result<()> {
    let files = job["files"].as_array().context("the job has no list of files")?;
    let mut wrong = 0_u32;
    for file in files {
        let text = |key: &str| file[key].as_str().unwrap_or_default();
        let (name, digest) = (text("path"), text("digest"));
        let path = folder.join(name);
        let content = std::fs::canonicalize(&path).with_context(|| format!("{} leads nowhere", path.display()))?;
        let bytes = content.metadata()?.len();
        let (kind, actual) = match digest.len() {
            40 => (
                "git",
                hash(sha1::Sha1::new_with_prefix(format!("blob {bytes}\0")), &content)?,
            ),
            _ => ("sha256", hash(sha2::Sha256::new(), &content)?),
        };
        // In a cache the path is a link to a blob, which has the digest as its name.
        let is_link = path.symlink_metadata()?.is_symlink();
        let right = actual == digest && (!is_link || content.ends_with(digest));
        wrong += u32::from(!right);
        stage.checked(
            right,
            &format!("{kind:<6} {}…  {:>10}  {name}", &actual[..16], size(bytes)),
        )?;
    }
    ensure!(wrong == 0, "{wrong} files have other bytes than the Hub promised");
    ensure!(!files.is_empty(), "no file of the repository was selected");
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
        let (blobs, snapshot) = (dir.path().join("blobs"), dir.path().join("snapshots/1"));
        std::fs::create_dir(&blobs).unwrap();
        std::fs::create_dir_all(snapshot.join("deep")).unwrap();
        // `printf hello | git hash-object --stdin`
        let digest = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        std::fs::write(blobs.join(digest), "hello").unwrap();
        std::os::unix::fs::symlink(format!("../../../blobs/{digest}"), snapshot.join("deep/a.txt")).unwrap();
        std::fs::write(snapshot.join("plain.txt"), "hello").unwrap();
        let check = |name: &str| {
            let job = serde_json::json!({ "files": [{ "path": name, "digest": digest }] });
            files(&Stage::new(), &snapshot, &job)
        };
        check("deep/a.txt").unwrap();
        check("plain.txt").unwrap();
        check("missing.txt").unwrap_err();
        std::fs::write(blobs.join(digest), "hallo").unwrap();
        check("deep/a.txt").unwrap_err();
    }
}
