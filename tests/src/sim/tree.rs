//! Listings of a commit.

use serde_json::{Value, json};

use super::access::Refusal;
use super::digest::{git_blob_hex, lfs_pointer, sha1_hex};
use super::repo::{Commit, Repo, Storage, StoredFile};
use super::wire::Response;
use super::world::Context;

/// One page of a listing. Folders come before files, so that a first page may hold no file at all.
pub(crate) fn list(context: &Context<'_>, repo: &Repo, revision: &str, folder: &str) -> Result<Response, Refusal> {
    let commit = context.commit(repo, revision)?;
    let recursive = context.request.query_flag("recursive");
    let expand = context.request.query_flag("expand");
    let folder = folder.trim_matches('/');
    let folders = commit.folders();
    if !folder.is_empty() && !folders.contains(folder) {
        let text = Some(format!("{folder} does not exist on \"{revision}\""));
        return Err(Refusal::EntryNotFound {
            commit: commit.sha.clone(),
            text,
        });
    }
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let inside = |path: &str| {
        path.strip_prefix(&prefix)
            .is_some_and(|rest| recursive || !rest.contains('/'))
    };

    let switches = context.switches;
    let default = if expand {
        switches.expanded_page_size
    } else {
        switches.page_size
    };
    let limit = context
        .request
        .query_value("limit")
        .and_then(|limit| limit.parse().ok());
    let size = limit.unwrap_or(default).clamp(1, default.max(1));

    // Entries cost a digest each, so only those of the page are made.
    let paths: Vec<(&str, Option<&StoredFile>)> = folders
        .iter()
        .filter(|path| inside(path))
        .map(|path| (path.as_str(), None))
        .chain(
            commit
                .files
                .iter()
                .filter(|(path, _)| inside(path))
                .map(|(path, file)| (path.as_str(), Some(file))),
        )
        .collect();
    let page = context.page(paths.len(), size);
    let mut entries = Vec::with_capacity(page.range.len());
    for (path, file) in &paths[page.range.clone()] {
        entries.push(match file {
            Some(file) => file_entry(context, &commit, path, file, expand)?,
            None => folder_entry(&commit, path, expand),
        });
    }
    Ok(page.link(Response::json(&Value::Array(entries))))
}

pub(crate) fn file_entry(
    context: &Context<'_>,
    commit: &Commit,
    path: &str,
    file: &StoredFile,
    expand: bool,
) -> Result<Value, Refusal> {
    let size = file.content.size();
    let mut entry = match file.storage {
        Storage::Plain => json!({ "type": "file", "oid": file.content.git_blob()?, "size": size, "path": path }),
        Storage::Linked => {
            let sha256 = file.content.sha256()?;
            let pointer = lfs_pointer(sha256, size);
            let lfs = json!({ "oid": sha256, "size": size, "pointerSize": pointer.len() });
            json!({ "type": "file", "oid": git_blob_hex(pointer.as_bytes()), "size": size, "path": path, "lfs": lfs })
        }
    };
    if let Some(hash) = context.shown_xet_hash(file)? {
        entry["xetHash"] = Value::String(hash);
    }
    if expand {
        entry["lastCommit"] = last_commit(commit);
        entry["securityFileStatus"] = json!({ "status": "safe", "avScan": null, "pickleImportScan": null });
    }
    Ok(entry)
}

pub(crate) fn folder_entry(commit: &Commit, path: &str, expand: bool) -> Value {
    let oid = sha1_hex(format!("tree {} {path}", commit.sha).as_bytes());
    let mut entry = json!({ "type": "directory", "oid": oid, "size": 0, "path": path });
    if expand {
        entry["lastCommit"] = last_commit(commit);
    }
    entry
}

fn last_commit(commit: &Commit) -> Value {
    json!({ "id": commit.sha, "title": commit.message, "date": "2026-02-19T11:08:40.000Z" })
}

impl Context<'_> {
    /// The Xet hash as the switches want it shown.
    pub(crate) fn shown_xet_hash(&self, file: &StoredFile) -> Result<Option<String>, Refusal> {
        if !self.switches.announce_xet {
            return Ok(None);
        }
        let hash = file.xet_hash()?;
        Ok(if self.switches.mask_xet {
            hash.map(|_| "*".repeat(64))
        } else {
            hash
        })
    }
}
