//! Calls on one repository, and who am I.

use serde_json::{Map, Value, json};

use super::access::{Caller, Refusal};
use super::digest::{git_blob_hex, lfs_pointer};
use super::repo::{Commit, Gated, Kind, Repo, Storage};
use super::route::{Call, RepoRef};
use super::tree;
use super::wire::{Response, form_pairs};
use super::world::{Context, Found};

/// Any time will do for a client; a fixed one keeps answers equal from run to run.
const SOME_TIME: &str = "2026-02-19T11:08:40.000Z";

pub(crate) fn call(context: &Context<'_>, reference: &RepoRef, call: &Call) -> Result<Response, Refusal> {
    let repo = match context.find(reference)? {
        Found::Repo(repo) => repo,
        Found::Moved(response) => return Ok(response),
    };
    match call {
        Call::Info { revision } => info(context, &repo, revision.as_deref().unwrap_or("main")),
        Call::Tree { .. } if !context.switches.has_tree => Err(Refusal::NoSuchRoute),
        Call::Tree { revision, folder } => tree::list(context, &repo, revision, folder),
        Call::PathsInfo { revision } => paths_info(context, &repo, revision),
        Call::Refs => Ok(refs(context, &repo)),
        Call::TreeSize { revision, folder } => {
            let commit = context.commit(&repo, revision)?;
            let folder = folder.trim_matches('/');
            let missing = || Refusal::EntryNotFound {
                commit: commit.sha.clone(),
                text: None,
            };
            let size = commit.size_below(folder).ok_or_else(missing)?;
            Ok(Response::json(&json!({ "path": folder, "size": size })))
        }
        Call::Commits { revision } => commits(context, &repo, revision),
        Call::AuthCheck => {
            context.caller.check_contents(&repo)?;
            Ok(Response::json(&json!({})))
        }
        Call::XetToken => Err(Refusal::NoSuchRoute),
    }
}

fn info(context: &Context<'_>, repo: &Repo, revision: &str) -> Result<Response, Refusal> {
    let commit = context.commit(repo, revision)?;
    let mut fields = summary(repo, &commit);
    if context.request.query_flag("blobs") {
        fields.insert("siblings".to_owned(), siblings_with_blobs(&commit)?);
    }
    if let (Some(limit), Some(Value::Array(siblings))) = (context.switches.siblings_limit, fields.get_mut("siblings")) {
        siblings.truncate(limit);
    }
    Ok(Response::json(&Value::Object(expanded(context, fields))))
}

/// Every field that info and search can show.
pub(crate) fn summary(repo: &Repo, commit: &Commit) -> Map<String, Value> {
    let (author, _) = repo.id.split_once('/').unwrap_or(("", ""));
    let gated = match repo.gated {
        Gated::No => json!(false),
        Gated::Auto => json!("auto"),
        Gated::Manual => json!("manual"),
    };
    let siblings: Vec<Value> = commit.files.keys().map(|path| json!({ "rfilename": path })).collect();
    let value = json!({
        "_id": repo.object_id(), "id": repo.id, "author": author, "sha": commit.sha,
        "lastModified": SOME_TIME, "createdAt": "2022-03-02T23:29:04.000Z",
        "private": repo.readers.is_some(), "gated": gated, "disabled": repo.disabled,
        "downloads": repo.downloads, "likes": repo.likes, "trendingScore": 0, "tags": repo.tags,
        "cardData": {}, "usedStorage": commit.size_below(""), "siblings": siblings,
    });
    let Value::Object(mut fields) = value else {
        return Map::new();
    };
    match repo.kind {
        Kind::Model => {
            fields.insert("modelId".to_owned(), json!(repo.id));
            fields.insert("config".to_owned(), json!({}));
            fields.insert("pipeline_tag".to_owned(), json!("text-generation"));
            fields.insert("library_name".to_owned(), json!("transformers"));
            fields.insert("spaces".to_owned(), json!([]));
        }
        Kind::Dataset => {}
        Kind::Space => {
            fields.insert("sdk".to_owned(), json!("static"));
            fields.insert("subdomain".to_owned(), json!(repo.id.replace('/', "-")));
            fields.insert("runtime".to_owned(), json!({ "stage": "RUNNING" }));
        }
    }
    fields
}

/// With `expand[]=…` only the named fields and the ids come back.
pub(crate) fn expanded(context: &Context<'_>, mut fields: Map<String, Value>) -> Map<String, Value> {
    let pairs = context.request.query_pairs();
    let named: Vec<&str> = pairs
        .iter()
        .filter(|(key, _)| key == "expand[]" || key == "expand")
        .map(|(_, value)| value.as_str())
        .collect();
    if !named.is_empty() {
        fields.retain(|key, _| matches!(key.as_str(), "_id" | "id" | "modelId") || named.contains(&key.as_str()));
    }
    fields
}

fn siblings_with_blobs(commit: &Commit) -> Result<Value, Refusal> {
    let mut siblings = Vec::with_capacity(commit.files.len());
    for (path, file) in &commit.files {
        let size = file.content.size();
        siblings.push(match file.storage {
            Storage::Plain => json!({ "rfilename": path, "blobId": file.content.git_blob()?, "size": size }),
            Storage::Linked => {
                let sha256 = file.content.sha256()?;
                let pointer = lfs_pointer(sha256, size);
                let lfs = json!({ "sha256": sha256, "size": size, "pointerSize": pointer.len() });
                json!({ "rfilename": path, "blobId": git_blob_hex(pointer.as_bytes()), "size": size, "lfs": lfs })
            }
        });
    }
    Ok(Value::Array(siblings))
}

fn paths_info(context: &Context<'_>, repo: &Repo, revision: &str) -> Result<Response, Refusal> {
    if context.request.method != "POST" {
        return Err(Refusal::NoSuchRoute);
    }
    let commit = context.commit(repo, revision)?;
    let body = String::from_utf8_lossy(&context.request.body);
    let is_json = context
        .request
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    let (paths, expand) = if is_json {
        let value: Value =
            serde_json::from_str(&body).map_err(|error| Refusal::BadRequest(format!("not JSON: {error}")))?;
        let paths = value["paths"].as_array().cloned().unwrap_or_default();
        let paths = paths
            .iter()
            .filter_map(|path| path.as_str().map(str::to_owned))
            .collect();
        (paths, value["expand"].as_bool().unwrap_or(false))
    } else {
        let pairs = form_pairs(&body);
        let expand = pairs
            .iter()
            .any(|(key, value)| key == "expand" && matches!(value.as_str(), "true" | "True"));
        let paths: Vec<String> = pairs
            .into_iter()
            .filter(|(key, _)| key == "paths")
            .map(|(_, path)| path)
            .collect();
        (paths, expand)
    };
    let folders = commit.folders();
    let mut entries = Vec::new();
    for path in &paths {
        let path = path.trim_end_matches('/');
        if let Some(file) = commit.files.get(path) {
            entries.push(tree::file_entry(context, &commit, path, file, expand)?);
        } else if folders.contains(path) {
            entries.push(tree::folder_entry(&commit, path, expand));
        }
    }
    Ok(Response::json(&Value::Array(entries)))
}

fn refs(context: &Context<'_>, repo: &Repo) -> Response {
    let under = |prefix: &str| -> Vec<Value> {
        let of_kind = repo
            .refs
            .iter()
            .filter_map(|(name, sha)| Some((name.strip_prefix(prefix)?, name, sha)));
        of_kind
            .map(|(short, name, sha)| json!({ "name": short, "ref": name, "targetCommit": sha }))
            .collect()
    };
    let mut value = json!({
        "branches": under("refs/heads/"), "converts": under("refs/convert/"), "tags": under("refs/tags/"),
    });
    if context.request.query_flag("include_prs") {
        value["pullRequests"] = Value::Array(under("refs/pr/"));
    }
    Response::json(&value)
}

fn commits(context: &Context<'_>, repo: &Repo, revision: &str) -> Result<Response, Refusal> {
    let head = context.commit(repo, revision)?;
    let last = repo
        .commits
        .iter()
        .position(|commit| commit.sha == head.sha)
        .unwrap_or_default();
    let number = |name: &str, default: usize| {
        context
            .request
            .query_value(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let (page, limit) = (number("p", 0), number("limit", 50).clamp(1, 1000));
    let history: Vec<Value> = repo.commits[..=last]
        .iter()
        .rev()
        .map(|commit| json!({ "id": commit.sha, "title": commit.message, "message": "", "date": SOME_TIME, "authors": [] }))
        .collect();
    let shown: Vec<Value> = history.iter().skip(page * limit).take(limit).cloned().collect();
    let mut response = Response::json(&Value::Array(shown)).with("X-Total-Count", history.len().to_string());
    if (page + 1) * limit < history.len() {
        let path = &context.request.path;
        let origin = context.link_origin();
        let link = format!("<{origin}{path}?p={}&limit={limit}>; rel=\"next\"", page + 1);
        response.headers.set("Link", link);
    }
    Ok(response)
}

pub(crate) fn whoami(context: &Context<'_>) -> Result<Response, Refusal> {
    let token = match &context.caller {
        Caller::User(token) => token,
        Caller::Invalid => return Err(Refusal::BadToken),
        Caller::Anonymous => return Err(Refusal::LoginNeeded),
    };
    Ok(Response::json(&json!({
        "type": "user", "id": super::digest::sha1_hex(token.user.as_bytes())[..24], "name": token.user,
        "fullname": token.user, "email": format!("{}@example.org", token.user), "emailVerified": true,
        "canPay": false, "isPro": false, "avatarUrl": "", "orgs": [],
        "auth": { "type": "access_token", "accessToken": {
            "displayName": "simulated", "role": token.role, "createdAt": SOME_TIME, "expiresAt": token.expires_at,
        } },
    })))
}
